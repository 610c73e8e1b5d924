//go:build amd64 || arm64

package supervise

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = true

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

// hand is what one child at a time is made with: all that its calls point to,
// and low descriptors, through which it gets those that are to be its own.
type hand struct {
	low [2]int // 0: it has none, and the child is to have a copy of all descriptors
	end int    // above the low ones of all hands
	any int    // a descriptor to put into low, so that it stays taken

	path    *byte
	argv    []*byte
	env     []*byte
	strings []string // env is of these
	mask    uint64
	limit   unix.Rlimit
	empty   [4]uintptr // the action of a signal by default
	tid     uint32     // the kernel writes the pid here before the process runs
	born    unix.Timespec
	outer   cloneArgs
	inner   cloneArgs
	failed  failure
	room    [16]call
}

// noUnshare says that the kernel, or whoever filters its calls, has no
// CLOSE_RANGE_UNSHARE.
var noUnshare atomic.Bool

// What rt_sigprocmask(2) and rt_sigaction(2) take.
const sigSetMask, maskSize = 2, 8

// noClone3 says that the kernel, or whoever filters its calls, has no clone3.
var noClone3 atomic.Bool

// start makes the process.
func (c child) start(h *hand, files *unix.Rlimit) (int, error) { return c.vfork(h, files, false) }

// startInSession makes the process in a session and process group of its own
// that it does not lead, as under a runsv below runsvdir -P: a run script may
// then call setsid(1), which forks away where it is called by a leader. Who
// leads a session must have made it, so the child that does makes a second one,
// as a child of this process, and ends.
func (c child) startInSession(h *hand, files *unix.Rlimit) (int, error) {
	return c.vfork(h, files, true)
}

// Lead is for machines where the leader of a session is a program of its own.
func Lead([]string) bool { return false }

// vfork makes the process. It is syscall.ForkExec without the hundred calls
// that this makes for each, with the limit of descriptors that files says.
//
// A child gets a copy of its parent's descriptor table, and the kernel sizes
// that after the highest descriptor open, for as long as the child lives. With
// the thousands of descriptors of a large tree that takes longer than all the
// rest. So the child first shares the table, and then parts from it with the
// lowest descriptors alone.
func (c child) vfork(h *hand, files *unix.Rlimit, inSession bool) (int, error) {
	if h == nil {
		h = &hand{}
	}
	defer runtime.KeepAlive(h)
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
	own := slices.Clone(c.files)
	shares := h.low[0] != 0 && !noUnshare.Load()
	if shares {
		n := 0
		for i, fd := range own {
			switch {
			case fd == i:
			case n == len(h.low) || unix.Dup3(fd, h.low[n], unix.O_CLOEXEC) != nil:
				return 0, unix.EBADF
			default:
				own[i] = h.low[n]
				n++
			}
		}
		defer func() {
			for _, fd := range h.low[:n] {
				unix.Dup3(h.any, fd, unix.O_CLOEXEC)
			}
		}()
	}
	old := noClone3.Load()
	none := uintptr(0)
	h.tid, h.failed, h.born = 0, failure{}, unix.Timespec{}
	flags := uint64(unix.CLONE_VM | unix.CLONE_VFORK)
	if shares {
		flags |= unix.CLONE_FILES
	}
	h.outer = cloneArgs{flags: flags | cloneClearSighand, exitSignal: uint64(unix.SIGCHLD)}
	h.inner = cloneArgs{flags: flags | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID, parentTID: uint64(uintptr(unsafe.Pointer(&h.tid)))}
	if !inSession {
		h.outer.flags |= unix.CLONE_PARENT_SETTID
		h.outer.parentTID = h.inner.parentTID
	}

	calls := h.room[:0]
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
	if shares {
		calls = append(calls, call{unix.SYS_CLOSE_RANGE, uintptr(h.end), math.MaxUint32, unix.CLOSE_RANGE_UNSHARE})
	}
	for i, fd := range own {
		if i == fd {
			calls = append(calls, call{unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0})
		} else {
			calls = append(calls, call{unix.SYS_DUP3, uintptr(fd), uintptr(i), 0})
		}
	}
	if shares { // what other hands have in the low ones
		calls = append(calls, call{unix.SYS_CLOSE_RANGE, uintptr(len(own)), math.MaxUint32, 0})
	}
	if c.table > len(own) {
		calls = append(calls, call{unix.SYS_DUP3, uintptr(len(own) - 1), uintptr(c.table - 1), unix.O_CLOEXEC})
	}
	if files != nil {
		h.limit = *files
		calls = append(calls, call{unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&h.limit)), none})
	}
	calls = append(calls,
		call{unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&h.mask)), none, maskSize},
		call{unix.SYS_EXECVE, uintptr(unsafe.Pointer(h.path)), uintptr(unsafe.Pointer(&h.argv[0])), uintptr(unsafe.Pointer(&h.env[0]))})

	pid := vforkAndWait(h, old, &calls[0], uintptr(len(calls)))
	if no := syscall.Errno(-pid); no < 4096 {
		if !old && (no == unix.ENOSYS || no == unix.EPERM || no == unix.EINVAL) {
			noClone3.Store(true)
			return c.vfork(h, files, inSession)
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
		return c.vfork(h, files, inSession)
	case unix.SYS_FCHDIR:
		err = dirError{err}
	case unix.SYS_CLOSE_RANGE:
		if err == unix.ENOSYS || err == unix.EPERM || err == unix.EINVAL {
			noUnshare.Store(true)
			return c.vfork(h, files, inSession)
		}
	}
	return 0, err
}

// vforkAndWait is vfork, with h and all signals held back, as one system call: a
// disk or a program that is slow to start holds up this goroutine only.
//
//go:nosplit
//go:norace
func vforkAndWait(h *hand, old bool, calls *call, n uintptr) (pid uintptr) {
	all, own := ^uint64(0), uint64(0)
	entersyscall()
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&own)), maskSize, 0, 0)
	h.mask = own &^ unheld
	if old {
		pid = vfork(nil, uintptr(h.outer.flags&^cloneClearSighand)|uintptr(unix.SIGCHLD), &h.tid, calls, n, &h.failed)
	} else {
		pid = vfork(&h.outer, 0, nil, calls, n, &h.failed)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&own)), 0, maskSize, 0, 0)
	exitsyscall()
	return pid
}

// The runtime's own, which package syscall calls around each call that may
// block: what is between them needs no turn of the scheduler's.
//
//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// hands are those that a process has; who needs more does without, and the child
// gets a copy of all descriptors.
type hands chan *hand

// newHands takes low descriptors for each hand: a process calls it before it
// opens many. any is a descriptor that stays open.
func newHands(any int) hands {
	all := make([]*hand, crewMax)
	end := 0
	for i := range all {
		all[i] = &hand{any: any}
		for j := range all[i].low {
			fd, err := unix.FcntlInt(uintptr(any), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				break
			}
			all[i].low[j] = fd
			end = max(end, fd+1)
		}
	}
	hs := make(hands, len(all))
	for _, h := range all {
		if h.end = end; h.low[1] != 0 {
			hs <- h
		}
	}
	return hs
}

func (hs hands) take() *hand {
	select {
	case h := <-hs:
		return h
	default:
		return nil
	}
}

func (hs hands) put(h *hand) {
	if h != nil {
		hs <- h
	}
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
