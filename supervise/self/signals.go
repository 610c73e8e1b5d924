// Package self is what a supervisor does about its own process: which signals it gets,
// and how many descriptors it may have.
package self

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// NotifyEach relays signals to c as they are taken from it. Each waits in a place
// of its own: a storm of one must not cost another. Hold keeps them for another program.
func NotifyEach(c chan<- os.Signal, sigs ...unix.Signal) {
	for _, sig := range sigs {
		if sig != unix.SIGCHLD {
			each |= 1 << (sig - 1)
		}
		waits := make(chan os.Signal, 1)
		ways = append(ways, waits)
		Catch(waits, sig)
		go func() {
			for sig := range waits {
				c <- sig
			}
		}()
	}
}

// ways are where signals wait that NotifyEach relays.
var ways []chan<- os.Signal

// Flush has a nil follow each signal that has come before and that NotifyEach relays, and says
// how many of these there will be.
func Flush() int {
	relays.Lock()
	defer relays.Unlock()
	passNoted()
	for _, waits := range ways {
		go func() { waits <- nil }()
	}
	return len(ways)
}

// DefaultAction gives signals their default action, which ends the process as
// it would end any other program, unless they are ignored. The Go runtime
// catches all signals at start and ignores those that nobody asked for.
func DefaultAction(sigs ...unix.Signal) {
	var byDefault sigaction // of zeros is SIG_DFL without flags, whatever its layout
	for _, sig := range sigs {
		if !Ignored(sig) {
			byDefault.set(sig)
		}
	}
}

// NotifyDeaths relays SIGCHLD to c: always, or only while it is turned on, so
// that otherwise a death wakes nobody but who waits for it.
func NotifyDeaths(c chan os.Signal, always bool) (turn func(on bool)) {
	Catch(c, unix.SIGCHLD)
	if always {
		return func(bool) {}
	}
	var caught sigaction
	caught.get(unix.SIGCHLD)
	DefaultAction(unix.SIGCHLD)
	return func(on bool) {
		if on {
			caught.set(unix.SIGCHLD)
		} else {
			DefaultAction(unix.SIGCHLD)
		}
	}
}

// OnThread has f run on a thread that is not the process's first (of whose end the
// kernel tells nobody while there are others) and that does nothing else.
func OnThread(f func(tid int) error) error {
	over := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with f
		if tid := unix.Gettid(); tid != unix.Getpid() {
			over <- f(tid)
			return
		}
		placed := make(chan bool)
		go func() { // on another, while this one is taken
			runtime.LockOSThread()
			placed <- true
			over <- f(unix.Gettid())
		}()
		<-placed
		runtime.UnlockOSThread()
	}()
	return <-over
}
