package self

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Package os/signal takes two threads for itself, and the runtime a third to make
// these: more memory than all else that a supervisor has. So signals are caught by a
// handler of this package's own, where there is one in assembly: it notes the signal
// and writes to an eventfd, and one goroutine, which needs no thread while it waits for
// that, relays what was noted. The runtime's handlers are replaced and know nothing of it.
//
// The kernel hands a signal to one thread, for SIGCHLD the one that has made the child
// if it can. Where that waits for a disk it acts on the signal when the disk answers, and
// until then no other is told of it, nor of the next. But a signalfd(2) is, and has the
// signal then. So what is caught is read from one as well.

// What the handler shares with the goroutine.
var (
	noted   uint64     // the signals that have come: signal 1 is bit 0
	eventFD int32      //lint:ignore U1000 tells that some have; the assembly writes to it
	one     uint64 = 1 //lint:ignore U1000 the assembly writes it to the eventfd

	// runtimes is the runtime's own handler, for faults of the program itself.
	runtimes uintptr //lint:ignore U1000 the assembly reads it
)

// relays is to whom signals are relayed.
var relays struct {
	sync.Mutex
	begun    bool
	caught   bool          // by the own handler; else by os/signal
	signalfd int           // -1: there is none
	set      unix.Sigset_t // what it tells of
	to       [65][]chan<- os.Signal
	like     sigaction // what the runtime has signals do: the flags and the way back are right
}

// Notify relays signals to c, but for those that are ignored, since whoever
// started the process wants them to be, here and in the children.
func Notify(c chan<- os.Signal, sigs ...unix.Signal) {
	for _, sig := range sigs {
		if !Ignored(sig) {
			Catch(c, sig)
		}
	}
}

// Catch relays signals to c, ignored or not. Nobody waits for c: as with os/signal a signal
// that there is no room for is lost.
func Catch(c chan<- os.Signal, sigs ...unix.Signal) {
	relays.Lock()
	defer relays.Unlock()
	if !relays.begun {
		relays.begun, relays.signalfd = true, -1
		relays.caught = begin()
	}
	defer readPending(sigs)
	for _, sig := range sigs {
		relays.to[sig] = append(relays.to[sig], c)
		if !relays.caught {
			signal.Notify(c, sig)
			continue
		}
		action := relays.like
		action[handlerAt] = handler()
		action.set(sig)
	}
}

// begin opens the eventfd and has it read, and says whether it could.
func begin() bool {
	if handler() == 0 || !relays.like.get(unix.SIGURG) || relays.like.handler() < 2 { // which the runtime needs itself, and catches in any case
		return false
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return false
	}
	eventFD, runtimes = int32(fd), relays.like.handler()
	readPending(nil)
	if relays.signalfd < 0 { // a signal that is blocked would not be told of; os/signal unblocks it
		unix.Close(fd)
		return false
	}
	go relay(os.NewFile(uintptr(fd), "signals"))
	return true
}

// relay relays what was noted, whenever the eventfd tells of some.
func relay(events *os.File) {
	var count [8]byte
	for {
		if _, err := events.Read(count[:]); err != nil {
			return
		}
		relays.Lock()
		passNoted()
		relays.Unlock()
	}
}

// passNoted passes on what was noted. The relays are locked, here and below.
func passNoted() {
	come := atomic.SwapUint64(&noted, 0)
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if come&(1<<(sig-1)) != 0 {
			pass(sig)
		}
	}
}

// pass passes a signal on.
func pass(sig unix.Signal) {
	for _, c := range relays.to[sig] {
		select {
		case c <- sig:
		default:
		}
	}
}

// readPending has the signals read from the signalfd as well.
func readPending(sigs []unix.Signal) {
	const bits = 8 * unsafe.Sizeof(relays.set.Val[0])
	for _, sig := range sigs {
		relays.set.Val[uintptr(sig-1)/bits] |= 1 << (uintptr(sig-1) % bits)
	}
	fd, err := unix.Signalfd(relays.signalfd, &relays.set, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil || fd == relays.signalfd {
		return
	}
	relays.signalfd = fd
	go func() {
		f := os.NewFile(uintptr(fd), "signalfd")
		conn, err := f.SyscallConn()
		if err != nil {
			return
		}
		conn.Read(func(fd uintptr) bool {
			relays.Lock() // Flush finds each either here or passed on
			defer relays.Unlock()
			var info unix.SignalfdSiginfo
			for {
				_, err := unix.Read(int(fd), unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
				if err != nil {
					return false // until there is one
				}
				pass(unix.Signal(info.Signo))
			}
		})
		runtime.KeepAlive(f)
	}()
}

// CatchRest has no signal that another process sends end this one: those that nobody has
// asked for do nothing. Process 1 needs that.
func CatchRest() {
	none := make(chan os.Signal, 1)
	Catch(none)
	if !relays.caught {
		signal.Notify(none)
		return
	}
	for sig := unix.Signal(1); sig <= 64; sig++ {
		var action sigaction
		if !action.get(sig) || action.handler() != runtimes && action.handler() != 0 { // it does something already
			continue
		}
		switch sig {
		case unix.SIGURG, unix.SIGPROF, 32, 33, 34: // the runtime's own, and C's
		case unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV:
			action[handlerAt] = fromOthers()
			action.set(sig)
		default:
			action = relays.like
			action[handlerAt] = handler()
			action.set(sig)
		}
	}
}

// Ignored says whether a signal is ignored.
func Ignored(sig unix.Signal) bool {
	const sigIgn = 1
	var action sigaction
	return action.get(sig) && action.handler() == sigIgn
}

// IgnorePipe keeps a lost stderr from killing the process. The signal is caught rather
// than ignored: children would inherit that. The runtime, which ends a program that
// writes to a lost standard error, is told that it is ignored.
func IgnorePipe() {
	if Ignored(unix.SIGPIPE) {
		return
	}
	signal.Ignore(unix.SIGPIPE)
	Catch(make(chan os.Signal, 1), unix.SIGPIPE)
}

// sigaction is the kernel's, which is no longer than this.
type sigaction [8]uintptr

// handler is what a signal is handled by: 0 is the default, 1 ignores it.
func (a *sigaction) handler() uintptr { return a[handlerAt] }

// get reads what a signal does, and says whether it could.
func (a *sigaction) get(sig unix.Signal) bool {
	_, _, no := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(a)), maskSize, 0, 0)
	return no == 0
}

// set makes a signal do so.
func (a *sigaction) set(sig unix.Signal) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(a)), 0, maskSize, 0, 0)
}
