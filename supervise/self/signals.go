// Package self is what a supervisor does about its own process: which signals it gets,
// and how many descriptors it may have.
package self

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NotifyEach relays signals to c as they are taken from it. Each waits in a place
// of its own: a storm of one must not cost another.
func NotifyEach(c chan<- os.Signal, sigs ...unix.Signal) {
	for _, sig := range sigs {
		waits := make(chan os.Signal, 1)
		Catch(waits, sig)
		go func() {
			for sig := range waits {
				c <- sig
			}
		}()
	}
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

// BlockSignals keeps the calling goroutine on a thread that gets no signals until it is
// released: for what may hang on a file system. A thread that waits there where
// nothing wakes it would be given a signal of the process like any other, and would
// keep it for as long.
func BlockSignals() (release func()) {
	runtime.LockOSThread()
	set := unix.Sigset_t{}
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	// Those that tell the runtime of a fault in the program itself stay.
	const bits = 8 * unsafe.Sizeof(set.Val[0])
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT} {
		set.Val[uintptr(sig-1)/bits] &^= 1 << (uintptr(sig-1) % bits)
	}
	var before unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &set, &before)
	return func() {
		unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}
}

// NotifyDeaths relays SIGCHLD to c: always, or only while it is turned on, so
// that otherwise a death wakes nobody but who waits for it.
func NotifyDeaths(c chan os.Signal, always bool) (turn func(on bool)) {
	Catch(c, unix.SIGCHLD)
	if always {
		RelayPending(c, unix.SIGCHLD)
		return func(bool) {}
	}
	var caught sigaction
	caught.get(unix.SIGCHLD)
	DefaultAction(unix.SIGCHLD)
	end := func() {}
	return func(on bool) {
		if on {
			end = RelayPending(c, unix.SIGCHLD)
			caught.set(unix.SIGCHLD)
		} else {
			DefaultAction(unix.SIGCHLD)
			end()
		}
	}
}

// RelayPending relays to c signals that would come late otherwise. The kernel hands
// a signal to one thread, for SIGCHLD the one that has made the child if it can.
// Where that waits for a disk it acts on the signal when the disk answers, and
// until then no other is told of it, nor of the next. But a signalfd(2) is, and
// has the signal then. What is caught already must be relayed by Catch as well.
func RelayPending(c chan<- os.Signal, sigs ...unix.Signal) (end func()) {
	var set unix.Sigset_t
	for _, sig := range sigs {
		bits := uint(unsafe.Sizeof(set.Val[0])) * 8
		set.Val[uint(sig-1)/bits] |= 1 << (uint(sig-1) % bits)
	}
	fd, err := unix.Signalfd(-1, &set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		return func() {}
	}
	f := os.NewFile(uintptr(fd), "signalfd")
	go func() {
		var info unix.SignalfdSiginfo
		for {
			b := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
			if _, err := f.Read(b); err != nil {
				return
			}
			select {
			case c <- unix.Signal(info.Signo):
			default:
			}
		}
	}()
	return func() { f.Close() }
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
