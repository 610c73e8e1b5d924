package self

import (
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A supervisor that becomes another program loses what it has noted and not acted on, and a
// signal that comes before the new program has asked for it would end that. So signals are
// held: each thread that gets one blocks it and sends it to the process again, until no
// thread takes it and it is pending. The new program, in which they are blocked from the
// beginning, reads them from its signalfd.

// each are the signals of NotifyEach that can be held: signal 1 is bit 0. SIGCHLD cannot,
// and need not be: who begins looks for what has ended.
var each uintptr

// Held are the signals that Hold can hold: signal 1 is bit 0. Those that Go's runtime
// unblocks as it starts are only for a program in which it does not.
func Held(all bool) uintptr {
	if all {
		return each
	}
	return each &^ (1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGTERM-1))
}

// Hold has signals stay pending instead of being relayed, once the calling thread blocks
// them, or no longer. Those that have come before are relayed still.
func Hold(set uintptr, on bool) {
	relays.Lock()
	if relays.caught && relays.signalfd >= 0 {
		action := relays.like
		read := (*uintptr)(unsafe.Pointer(&relays.set)) // all of it, where signals are caught so
		if on {
			action[handlerAt] = holder()
			*read &^= set
		} else {
			action[handlerAt] = handler()
			*read |= set
		}
		for ; set != 0; set &= set - 1 {
			action.set(unix.Signal(bits.TrailingZeros64(uint64(set)) + 1))
		}
		unix.Signalfd(relays.signalfd, &relays.set, 0)
	}
	relays.Unlock()
}
