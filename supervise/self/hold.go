package self

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program that becomes another by execve loses each signal that one of its threads has
// taken and that was not acted on. What no thread takes, because all block it, stays pending
// and is the new program's. So signals are held before: each thread is told to block them, and
// one that gets such a signal first blocks it and sends it to the process again. The new
// program, in which they are blocked from its first instruction on, reads them from its
// signalfd.

// What hold, the handler, shares with Go.
var (
	holding    uintptr      // the signals that are held: signal 1 is bit 0
	holdSignal uint32  = 63 // by which a thread is told to block them: nobody else uses this one
	heldBy     uint32       // how many threads were told and do
)

var (
	each   uintptr   // the signals of NotifyEach that can be held, likewise
	before sigaction // what the signal by which threads are told did
)

// Each are the signals that NotifyEach was called with: signal 1 is bit 0. SIGCHLD is not
// one of them, since a program that begins looks for what has ended anyway.
func Each() uintptr { return each }

// Hold has signals of Each stay pending instead of being relayed. What has come before is
// relayed still, and nothing that comes later. It says whether it could: for that it needs a
// handler in assembly, and a signalfd.
func Hold(set uintptr) bool {
	relays.Lock()
	defer relays.Unlock()
	if !relays.caught || relays.signalfd < 0 || set == 0 {
		return false
	}
	holding = set
	before.get(unix.Signal(holdSignal))
	handleBy(holder(), set|1<<(holdSignal-1))
	read := relays.set
	*(*uintptr)(unsafe.Pointer(&read)) &^= set
	unix.Signalfd(relays.signalfd, &read, 0)
	tellThreads()
	return true
}

// Release has all that was held be relayed again, from the signalfd: threads block it still.
func Release() {
	relays.Lock()
	defer relays.Unlock()
	if holding == 0 {
		return
	}
	handleBy(handler(), holding)
	before.set(unix.Signal(holdSignal))
	unix.Signalfd(relays.signalfd, &relays.set, 0)
	holding = 0
}

// handleBy has the signals of a set be handled by the handler at that address.
func handleBy(handler, set uintptr) {
	action := relays.like
	action[handlerAt] = handler
	for sig := unix.Signal(1); set != 0; sig++ {
		if set&1 != 0 {
			action.set(sig)
		}
		set >>= 1
	}
}
