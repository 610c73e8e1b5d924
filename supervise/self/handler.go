//go:build amd64 || arm64

package self

// note is a signal handler that notes the signal and writes to an eventfd. It is never called from Go.
//
//lint:ignore U1000 the kernel calls it
func note()

// handler is the address of note.
func handler() uintptr

// hold is a signal handler that has its thread block the signals that are held. It counts
// threads at a holdSignal, and sends any other signal to the process again, for which it then
// waits. It is never called from Go.
//
//lint:ignore U1000 the kernel calls it
func hold()

// holder is the address of hold.
func holder() uintptr

// notFault is a signal handler that passes to the runtime's what the kernel tells of the
// program itself, and nothing that another process has sent. It is never called from Go.
//
//lint:ignore U1000 the kernel calls it
func notFault()

// fromOthers is the address of notFault.
func fromOthers() uintptr
