package procenv

import (
	"syscall"
	"unsafe"
)

// What the process was given before Go's runtime changed it: the runtime
// catches signals that were ignored, unblocks some that were blocked, and puts
// /dev/null where there was no descriptor. A program run from here would find
// it so, unlike one that runit ran. And the runtime starts only where it may
// have some 700 MB of addresses and four threads, although it uses little of
// them. So, on the machines that there is an entry in assembly for, all this is
// written down at the very first, with the soft limits out of the way, and put
// back at the last. A plain go build leaves the entry out; then nothing is put
// back, because nothing is known.
var (
	recorded bool
	ignored  uint64     // the signals ignored: signal 1 is bit 0
	blocked  uint64     // the signals blocked, likewise
	closed   uint32     // which of the descriptors 0 to 2 were closed
	action   [8]uintptr //lint:ignore U1000 room for a struct of the kernel's, for the assembly

	raised = [3]uint32{uint32(AS), uint32(Data), uint32(NProc)}
	given  [3]syscall.Rlimit // the limits that they had
)

// restoreSignals ignores and blocks what was ignored and blocked.
func restoreSignals() {
	if !recorded {
		return
	}
	const sigIgnore, setMask = 1, 2
	for sig := range 64 {
		if ignored&(1<<sig) != 0 {
			sigaction(sig+1, sigIgnore)
		}
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&blocked)), 0, 8, 0, 0)
}

// Ignored lists the signals that were ignored when the process began, for a
// program that lives on and wants its children to be as it was; none where the
// entry is left out.
func Ignored() []syscall.Signal {
	var sigs []syscall.Signal
	for sig := range syscall.Signal(64) {
		if ignored&(1<<sig) != 0 {
			sigs = append(sigs, sig+1)
		}
	}
	return sigs
}

// resetSignals makes signals do what they do to a program that cares for none:
// the runtime lets some end the process in ways of its own, and some not at
// all. It leaves HUP and INT ignored where they were.
func resetSignals() {
	for sig := 1; sig <= 64; sig++ {
		if sig != int(syscall.SIGHUP) && sig != int(syscall.SIGINT) {
			sigaction(sig, 0)
		}
	}
	restoreSignals()
}

func sigaction(sig int, handler uintptr) {
	act := [8]uintptr{handler} // longer than any machine's
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

// restoreStdio closes what was closed.
func restoreStdio() {
	for fd := range 3 {
		if wasClosed(fd) {
			syscall.Close(fd)
		}
	}
}

// wasClosed says whether descriptor fd was closed from the beginning.
func wasClosed(fd int) bool { return closed&(1<<fd) != 0 }

// opened says that descriptor fd is there from now on, whatever it was.
func opened(fd int) { closed &^= 1 << fd }

// givenLimit is the limit that a resource had before it was raised.
func givenLimit(r Resource) (limit syscall.Rlimit, ok bool) {
	for i := range raised {
		if recorded && raised[i] == uint32(r) {
			return given[i], given[i].Cur != given[i].Max
		}
	}
	return limit, false
}

// whileGiven calls f under the limit that the process was given, and lets no
// thread be made meanwhile.
func whileGiven(r Resource, f func() error) error {
	limit, ok := givenLimit(r)
	if !ok {
		return f()
	}
	beforeExec()
	defer afterExec()
	if err := syscall.Setrlimit(int(r), &limit); err != nil {
		return err
	}
	err := f()
	limit.Cur = limit.Max
	syscall.Setrlimit(int(r), &limit) // up to the hard limit: as it was a moment ago
	return err
}

// RestoreLimits gives a process that stays as it is the limits that it was
// given.
func RestoreLimits() {
	for _, r := range raised {
		if limit, ok := givenLimit(Resource(r)); ok {
			syscall.Setrlimit(int(r), &limit)
		}
	}
}
