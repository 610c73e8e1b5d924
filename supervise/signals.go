package supervise

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// defaultAction gives signals their default action, which ends the process as
// it would end any other program. The Go runtime catches all signals at start
// and ignores those that nobody asked for.
func defaultAction(sigs ...unix.Signal) {
	var action [64]byte // a sigaction of zeros is SIG_DFL without flags, whatever its layout
	for _, sig := range sigs {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}
