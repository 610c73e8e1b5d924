package quick

// The numbers of the system calls on this machine, and a flag that each has its own of.
const (
	sysFaccessat    = 48
	sysOpenat       = 56
	sysClose        = 57
	sysRead         = 63
	sysWrite        = 64
	sysExitGroup    = 94
	sysClockGettime = 113

	onlyDirectory = 0o40000
)
