package procenv

import (
	"syscall"
	"unsafe"
)

// What the process was given before Go's runtime changed it: the runtime
// catches signals that were ignored, unblocks some that were blocked, and puts
// /dev/null where there was no descriptor. A program run from here would find
// it so, unlike one that runit ran. So, on the machines that there is an entry
// in assembly for, this is written down at the very first and put back at the
// last. A plain go build leaves the entry out; then nothing is put back.
var (
	recorded bool
	ignored  uint64     // the signals ignored: signal 1 is bit 0
	blocked  uint64     // the signals blocked, likewise
	closed   uint32     // which of the descriptors 0 to 2 were closed
	action   [8]uintptr // the kernel's struct sigaction: the handler is first
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
