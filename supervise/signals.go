package supervise

import (
	"os"
	"os/signal"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notify relays signals to c, but for those that are ignored, since whoever
// started the process wants them to be, here and in the children.
func notify(c chan<- os.Signal, sigs ...os.Signal) {
	for _, sig := range sigs {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

// notifyEach relays signals to c as they are taken from it. Each waits in a place
// of its own: a storm of one must not cost another.
func notifyEach(c chan<- os.Signal, sigs ...os.Signal) {
	for _, sig := range sigs {
		waits := make(chan os.Signal, 1)
		signal.Notify(waits, sig)
		go func() {
			for sig := range waits {
				c <- sig
			}
		}()
	}
}

// defaultAction gives signals their default action, which ends the process as
// it would end any other program, unless they are ignored. The Go runtime
// catches all signals at start and ignores those that nobody asked for.
func defaultAction(sigs ...unix.Signal) {
	var action [64]byte // a sigaction of zeros is SIG_DFL without flags, whatever its layout
	for _, sig := range sigs {
		if signal.Ignored(sig) {
			continue
		}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}

// notifyDeaths relays SIGCHLD to c: always, or only while it is turned on, so
// that otherwise a death wakes nobody but who waits for it.
func notifyDeaths(c chan os.Signal, always bool) (turn func(on bool)) {
	signal.Notify(c, unix.SIGCHLD)
	if always {
		return func(bool) {}
	}
	var caught [64]byte // as in defaultAction
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, uintptr(unsafe.Pointer(&caught)), 8, 0, 0)
	defaultAction(unix.SIGCHLD)
	return func(on bool) {
		if on {
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&caught)), 0, 8, 0, 0)
		} else {
			defaultAction(unix.SIGCHLD)
		}
	}
}
