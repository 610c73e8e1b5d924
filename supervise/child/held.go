package child

// unheld are signals that this process blocks and its children shall not.
var unheld uintptr

// Unheld says that this process may block these signals (signal 1 is bit 0), as the program
// before it has held them: the children are made with a mask without them.
func Unheld(set uintptr) { unheld = set }
