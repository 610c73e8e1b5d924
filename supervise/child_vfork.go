//go:build amd64 || arm64

package supervise

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = true

// unshared is what the thread that makes children is to have for itself. The
// children change their directory on their own.
const unshared = unix.CLONE_FILES

// vfork makes a child that makes the n calls and ends at the first that fails,
// with 111. One of the calls may make a second child: that goes on with the
// calls then, and the first ends. The thread stands still until the child has
// become its program or ended. With args it is by clone3, else by clone with
// flags, and tid for CLONE_PARENT_SETTID; the result is the kernel's: the pid,
// or from -4095 on an errno.
//
//go:noescape
func vfork(args *cloneArgs, flags uintptr, tid *uint32, calls *call, n uintptr, failed *failure) uintptr

// call is a system call: its number and arguments.
type call [5]uintptr

// failure is the errno of a child's call that failed, and how many calls were
// still to be made, with it.
type failure struct{ errno, left uintptr }

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
}

// cloneClearSighand has every signal that is caught do in the child what it
// does by default (Linux 5.5).
const cloneClearSighand = 1 << 32

// handed is what the calls of a child point to, for each of the threads that
// make one: a package's variable stays where it is, and so does what it leads to.
var handed [maxSpawners]struct {
	path    *byte
	argv    []*byte
	env     []*byte
	strings []string // env is of these
	mask    uint64
	limit   unix.Rlimit
	empty   [4]uintptr // the action of a signal by default
	tid     uint32     // the kernel writes the pid here before the process runs
	born    unix.Timespec
	inner   cloneArgs
	failed  failure
	calls   [16]call
}

// noClone3 says that the kernel, or whoever filters its calls, has no clone3.
var noClone3 atomic.Bool

// start makes the process.
func (c child) start(files *unix.Rlimit) (int, error) { return c.vfork(files, false) }

// startInSession makes the process in a session and process group of its own
// that it does not lead, as under a runsv below runsvdir -P: a run script may
// then call setsid(1), which forks away where it is called by a leader. Who
// leads a session must have made it, so the child that does makes a second one,
// as a child of this process, and ends.
func (c child) startInSession(files *unix.Rlimit) (int, error) { return c.vfork(files, true) }

// vfork makes the process. It is syscall.ForkExec without the hundred calls
// that this makes for each, with the limit of descriptors that files says; each
// thread that is in it has a slot of its own.
func (c child) vfork(files *unix.Rlimit, inSession bool) (int, error) {
	h := &handed[c.slot]
	var err error
	if h.path, err = syscall.BytePtrFromString(c.path); err != nil {
		return 0, err
	}
	if h.argv, err = syscall.SlicePtrFromStrings(c.argv); err != nil {
		return 0, err
	}
	if h.env == nil || len(c.env) != len(h.strings) || unsafe.SliceData(c.env) != unsafe.SliceData(h.strings) {
		if h.env, err = syscall.SlicePtrFromStrings(c.env); err != nil {
			return 0, err
		}
		h.strings = c.env
	}
	const sigSetMask, maskSize = 2, 8
	old := noClone3.Load()
	none, all := uintptr(0), ^uint64(0)
	h.tid, h.failed, h.born = 0, failure{}, unix.Timespec{}
	const flags = unix.CLONE_VM | unix.CLONE_VFORK
	outer := cloneArgs{flags: flags | cloneClearSighand, exitSignal: uint64(unix.SIGCHLD)}
	h.inner = cloneArgs{flags: flags | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID, parentTID: uint64(uintptr(unsafe.Pointer(&h.tid)))}
	if !inSession {
		outer.flags |= unix.CLONE_PARENT_SETTID
		outer.parentTID = h.inner.parentTID
	}

	calls := h.calls[:0]
	if old {
		for sig := uintptr(1); sig <= 64; sig++ {
			if sig != uintptr(unix.SIGKILL) && sig != uintptr(unix.SIGSTOP) && caught(sig) {
				calls = append(calls, call{unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&h.empty)), none, maskSize})
			}
		}
	}
	if c.session || inSession {
		calls = append(calls, call{unix.SYS_SETSID})
	}
	if inSession {
		// It is gone with its parent, so that nothing is made that nobody knows of.
		calls = append(calls, call{unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), none, none})
		if old {
			calls = append(calls, call{unix.SYS_CLONE, uintptr(h.inner.flags) | uintptr(unix.SIGCHLD), none, uintptr(unsafe.Pointer(&h.tid)), none})
		} else {
			calls = append(calls, call{unix.SYS_CLONE3, uintptr(unsafe.Pointer(&h.inner)), unsafe.Sizeof(h.inner)})
		}
	}
	if c.born != nil {
		calls = append(calls, call{unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&h.born))})
	}
	if c.record != 0 {
		calls = append(calls, call{unix.SYS_PWRITE64, uintptr(c.record), uintptr(unsafe.Pointer(&h.tid)), unsafe.Sizeof(h.tid), lifePID})
	}
	if c.dir != 0 {
		calls = append(calls, call{unix.SYS_FCHDIR, uintptr(c.dir)})
	}
	for i, fd := range c.files {
		if i == fd {
			calls = append(calls, call{unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0})
		} else {
			calls = append(calls, call{unix.SYS_DUP3, uintptr(fd), uintptr(i), 0})
		}
	}
	if files != nil {
		h.limit = *files
		calls = append(calls, call{unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&h.limit)), none})
	}
	calls = append(calls,
		call{unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&h.mask)), none, maskSize},
		call{unix.SYS_EXECVE, uintptr(unsafe.Pointer(h.path)), uintptr(unsafe.Pointer(&h.argv[0])), uintptr(unsafe.Pointer(&h.env[0]))})

	var pid uintptr
	runtime.LockOSThread()
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&h.mask)), maskSize, 0, 0)
	own := h.mask
	h.mask &^= unheld
	if old {
		pid = vfork(nil, uintptr(outer.flags&^cloneClearSighand)|uintptr(unix.SIGCHLD), &h.tid, &calls[0], uintptr(len(calls)), &h.failed)
	} else {
		pid = vfork(&outer, 0, nil, &calls[0], uintptr(len(calls)), &h.failed)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&own)), 0, maskSize, 0, 0)
	runtime.UnlockOSThread()

	if no := syscall.Errno(-pid); no < 4096 {
		if !old && (no == unix.ENOSYS || no == unix.EPERM || no == unix.EINVAL) {
			noClone3.Store(true)
			return c.vfork(files, inSession)
		}
		return 0, no
	}
	made := int(pid)
	if inSession {
		collect(made) // the leader
		if made = int(h.tid); made == 0 && h.failed.errno == 0 {
			return 0, unix.EAGAIN // somebody has killed it
		}
	}
	if h.failed.errno == 0 {
		if c.born != nil {
			*c.born = ticksOf(h.born)
		}
		return made, nil
	}
	if made != 0 {
		collect(made)
	}
	err = syscall.Errno(h.failed.errno)
	switch calls[len(calls)-int(h.failed.left)][0] {
	case unix.SYS_PWRITE64: // a disk in trouble keeps nothing from starting
		c.record = 0
		return c.vfork(files, inSession)
	case unix.SYS_FCHDIR:
		err = dirError{err}
	}
	return 0, err
}

// collect waits for a child that has ended.
func collect(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// held are signals that a scanner holds back while it becomes another program,
// which they would end: blocked, they wait until that asks for them. (The Go
// runtime unblocks HUP, INT and TERM as it starts.)
const held = 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGALRM-1)

// unheld are signals that this process blocks and its children shall not.
var unheld uint64

// holdSignals blocks them in the calling thread, for the program that it is
// about to become, until it is released.
func holdSignals() (release func()) {
	runtime.LockOSThread()
	set := unix.Sigset_t{Val: [16]uint64{held}}
	var before unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before)
	return func() {
		unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}
}

// heldBefore says that the program before this one has held its signals. Go
// unblocks those that are asked for in one thread of its own; the children are
// made with a mask without them.
func heldBefore() { unheld = held }

// caught says whether a signal has a handler.
func caught(sig uintptr) bool {
	var action [8]uintptr // the handler first; 0 is the default, 1 ignores
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	return action[0] > 1
}
