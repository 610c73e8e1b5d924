//go:build (amd64 || arm64) && !forkpath

package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hasVfork says that there is vfork. (The tag forkpath leaves it out, for tests of
// what other machines have.)
const hasVfork = true

// vfork makes a child that makes the n calls and ends at the first that fails and
// is not optional, with 111. One of the calls may make a second child: that goes on
// with the calls then, and the first ends. The thread stands still until the child
// has become its program or ended. With args it is by clone3, else by clone with
// flags, and tid for CLONE_PARENT_SETTID; the result is the kernel's: the pid,
// or from -4095 on an errno.
//
//go:noescape
func vfork(args *cloneArgs, flags uintptr, tid *uint32, calls *call, n uintptr, failed *failure) uintptr

// vfork makes a child that makes the calls and shares this process's memory until it
// is its program.
func (h *Slot) vfork(calls []call, w way) outcome {
	flags := w.flags()
	if !w.inSession {
		flags |= unix.CLONE_PARENT_SETTID
	}
	var args *cloneArgs
	if w.clone3 {
		h.outer = cloneArgs{flags: uint64(flags) | cloneClearSighand, exitSignal: uint64(unix.SIGCHLD), parentTID: uint64(uintptr(unsafe.Pointer(&h.tid)))}
		args = &h.outer
	}
	pid := vforkAndWait(h, args, flags|uintptr(unix.SIGCHLD), &calls[0], uintptr(len(calls)))
	if no := syscall.Errno(-pid); no < 4096 {
		return outcome{err: no}
	}
	return outcome{pid: int(pid)}
}

// vforkSilent makes a child whose end no signal tells.
func (h *Slot) vforkSilent(calls []call, w way) outcome {
	pid := vforkAndWait(h, nil, w.flags(), &calls[0], uintptr(len(calls)))
	if no := syscall.Errno(-pid); no < 4096 {
		return outcome{err: no}
	}
	return outcome{pid: int(pid)}
}

// vforkAndWait is vfork, with all signals held back, as one system call: a disk or a
// program that is slow to start holds up this goroutine only.
//
//go:nosplit
//go:norace
func vforkAndWait(h *Slot, args *cloneArgs, flags uintptr, calls *call, n uintptr) (pid uintptr) {
	all, own := ^uint64(0), uint64(0)
	entersyscall()
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&own)), maskSize, 0, 0)
	h.mask.Val[0] = own &^ uint64(unheld)
	pid = vfork(args, flags, &h.tid, calls, n, &h.failed)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&own)), 0, maskSize, 0, 0)
	exitsyscall()
	return pid
}

// vforkBriefly makes a child whose end no signal tells, and which ends at once, and
// collects it. The scheduler is not told: it would have others run meanwhile, and for
// that might make a thread, while the child takes the last room there is.
func (h *Slot) vforkBriefly(calls []call) syscall.Errno {
	return vforkAndCollect(h, way{vfork: true}.flags(), &calls[0], uintptr(len(calls)))
}

//go:nosplit
//go:norace
func vforkAndCollect(h *Slot, flags uintptr, calls *call, n uintptr) (no syscall.Errno) {
	all, own := ^uint64(0), uint64(0)
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&own)), maskSize, 0, 0)
	pid := vfork(nil, flags, &h.tid, calls, n, &h.failed)
	if no = syscall.Errno(-pid); no >= 4096 {
		no = 0
		unix.RawSyscall6(unix.SYS_WAIT4, pid, 0, unix.WCLONE, 0, 0, 0)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&own)), 0, maskSize, 0, 0)
	return no
}

// The runtime's own, which package syscall calls around each call that may
// block: what is between them needs no turn of the scheduler's.
//
//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()
