package child

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// call is a system call that a child makes before it becomes its program. The
// assembly knows how it is laid out.
type call struct {
	number uintptr
	args   [6]uintptr
	// optional says that the child goes on where the call fails.
	optional uintptr
	step     childStep
}

// childStep is what a call is for.
type childStep uintptr

// The steps of a child, in their order.
const (
	stepMade    childStep = iota // what is not the child's: that it is made
	stepSignal                   // a signal that is caught does what it does by default
	stepSession                  // a session of its own
	stepDeath                    // it ends with this process, which would not know of the next child
	stepFork                     // a second child, which goes on; the first ends
	stepTell                     // its pid, to this process
	stepBorn                     // the time
	stepGroup                    // a cgroup
	stepPart                     // descriptors that are not its own are closed
	stepRecord                   // its pid, into the record
	stepUnlock                   // the record, which is locked, is closed
	stepEnter                    // the working directory
	stepFile                     // a descriptor of the program's
	stepTable                    // room for descriptors
	stepLimit                    // the limit of descriptors
	stepMask                     // the signal mask
	stepExec                     // the program
)

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

// Slot is what one child at a time is made with: all that its calls point to,
// and descriptors that lie low and beside each other, through which it gets those
// that are to be its own.
type Slot struct {
	low [6]int // 0: it has none, and the child gets what is to be its own where it is
	any int    // a descriptor to put into low, so that it stays taken

	path    *byte
	argv    []*byte
	env     []*byte
	strings []string // env is of these
	mask    unix.Sigset_t
	limit   unix.Rlimit
	empty   [8]uintptr // the action of a signal by default
	tid     uint32     // the pid of the child, before it runs its program
	born    unix.Timespec
	outer   cloneArgs
	inner   cloneArgs
	failed  failure
	pipe    [2]int // through which the child tells where it shares no memory; 0: none
	self    byte   // what says to cgroup.procs that the writer is meant
	taken   int    // how many of low are in use
	room    [24]call
	calls   []call
}

// NewSlot is a slot without descriptors. It is not on a stack, which may move while
// the kernel writes to it.
//
//go:noinline
func NewSlot() *Slot { return new(Slot) }

// PID is that of the child that is being made with a slot, or was last, and 0 where it is
// not known, as where there is no vfork. Others may ask for it meanwhile.
func (h *Slot) PID() int { return int(atomic.LoadUint32(&h.tid)) }

// prepare takes what the child's program is to be given.
func (h *Slot) prepare(c Child) (err error) {
	if h.path, err = syscall.BytePtrFromString(c.Path); err != nil {
		return err
	}
	if h.argv, err = syscall.SlicePtrFromStrings(c.Argv); err != nil {
		return err
	}
	if h.env == nil || len(c.Env) != len(h.strings) || unsafe.SliceData(c.Env) != unsafe.SliceData(h.strings) {
		if h.env, err = syscall.SlicePtrFromStrings(c.Env); err != nil {
			return err
		}
		h.strings = c.Env
	}
	return nil
}

// redirect puts what is to be the child's into the slot's low descriptors: the
// kernel sizes the child's table after the highest descriptor that it takes along,
// for as long as the child lives. With the thousands of descriptors of a large tree
// that takes longer than all the rest.
func (h *Slot) redirect(c Child) (own Child, err error) {
	c.Files = slices.Clone(c.Files)
	if h.low[0] == 0 {
		return c, nil
	}
	put := func(fd *int) {
		if h.taken == len(h.low) || unix.Dup3(*fd, h.low[h.taken], unix.O_CLOEXEC) != nil {
			err = unix.EBADF
			return
		}
		*fd = h.low[h.taken]
		h.taken++
	}
	for i := range c.Files {
		if c.Files[i] != i {
			put(&c.Files[i])
		}
	}
	for _, fd := range []*int{&c.Dir, &c.Record, &c.Lock, &c.Notify} {
		if *fd != 0 {
			put(fd)
		}
	}
	if err != nil {
		h.restore()
	}
	return c, err
}

// restore has the low descriptors hold nothing.
func (h *Slot) restore() {
	for _, fd := range h.low[:h.taken] {
		unix.Dup3(h.any, fd, unix.O_CLOEXEC)
	}
	h.taken = 0
}

// add appends a call.
func (h *Slot) add(s childStep, number uintptr, args ...uintptr) *call {
	h.calls = append(h.calls, call{number: number, step: s})
	c := &h.calls[len(h.calls)-1]
	copy(c.args[:], args)
	return c
}

// program is what the child of c does, which has its descriptors from redirect.
//
// What may hang (a record, a directory or a program on a disk that does not answer)
// comes when the child has nothing of others any more: neither the link to the
// scanner nor a lock. Its own record, which is locked, it has until its pid is there;
// so no other core believes that too early, whenever this one is killed.
func (h *Slot) program(c Child, files *unix.Rlimit, w way) []call {
	h.calls = h.room[:0]
	h.failed, h.born = failure{}, unix.Timespec{}
	atomic.StoreUint32(&h.tid, 0)
	if !w.clone3 {
		h.resetSignals()
	}
	if w.lead || w.inSession {
		h.add(stepSession, unix.SYS_SETSID)
	}
	if w.inSession {
		h.add(stepDeath, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)).optional = 1
		h.forkAgain(w)
	}
	if !w.vfork {
		h.add(stepTell, unix.SYS_WRITE, uintptr(h.pipe[1]), uintptr(unsafe.Pointer(&h.tid)), unsafe.Sizeof(h.tid))
	}
	if c.Born != nil {
		h.add(stepBorn, unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&h.born))).optional = 1
	}
	if c.Group != 0 { // which it has until it parts with what is not its own
		h.self = '0'
		h.add(stepGroup, unix.SYS_WRITE, uintptr(c.Group), uintptr(unsafe.Pointer(&h.self)), 1)
	}
	h.part(c, w)
	if c.Record != 0 {
		h.add(stepRecord, unix.SYS_PWRITE64, append([]uintptr{uintptr(c.Record), uintptr(unsafe.Pointer(&h.tid)), unsafe.Sizeof(h.tid)}, offset(state.ProcPID)...)...)
		h.add(stepUnlock, unix.SYS_CLOSE, uintptr(c.Record)).optional = 1
	}
	if c.Dir != 0 {
		h.add(stepEnter, unix.SYS_FCHDIR, uintptr(c.Dir))
	}
	for i, fd := range c.Files {
		switch {
		case i != fd:
			h.add(stepFile, unix.SYS_DUP3, uintptr(fd), uintptr(i), 0)
		case i > 2: // the standard ones this program has got by an exec itself
			h.add(stepFile, unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0)
		}
	}
	switch {
	case c.Notify == 0:
	case c.Notify == c.NotifyAs:
		h.add(stepFile, unix.SYS_FCNTL, uintptr(c.Notify), unix.F_SETFD, 0)
	default:
		h.add(stepFile, unix.SYS_DUP3, uintptr(c.Notify), uintptr(c.NotifyAs), 0)
	}
	if c.Table > len(c.Files) {
		h.add(stepTable, unix.SYS_DUP3, uintptr(len(c.Files)-1), uintptr(c.Table-1), unix.O_CLOEXEC).optional = 1
	}
	if files != nil {
		h.limit = *files
		h.add(stepLimit, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&h.limit))).optional = 1
	}
	h.add(stepMask, unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&h.mask)), 0, maskSize)
	h.add(stepExec, unix.SYS_EXECVE, uintptr(unsafe.Pointer(h.path)), uintptr(unsafe.Pointer(&h.argv[0])), uintptr(unsafe.Pointer(&h.env[0])))
	return h.calls
}

// resetSignals has each signal that is caught do what it does by default.
func (h *Slot) resetSignals() {
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig != uintptr(unix.SIGKILL) && sig != uintptr(unix.SIGSTOP) && caught(sig) {
			h.add(stepSignal, unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&h.empty)), 0, maskSize)
		}
	}
}

// forkAgain has the child make another, as a child of this process.
func (h *Slot) forkAgain(w way) {
	flags := w.flags() | unix.CLONE_PARENT
	tid := uintptr(unsafe.Pointer(&h.tid))
	switch {
	case w.clone3:
		h.inner = cloneArgs{flags: uint64(flags | unix.CLONE_PARENT_SETTID), parentTID: uint64(tid)}
		h.add(stepFork, sysClone3, uintptr(unsafe.Pointer(&h.inner)), unsafe.Sizeof(h.inner))
	case w.vfork:
		h.add(stepFork, unix.SYS_CLONE, flags|unix.CLONE_PARENT_SETTID|uintptr(unix.SIGCHLD), 0, tid)
	default:
		first := cloneArguments(flags | uintptr(unix.SIGCHLD))
		h.add(stepFork, unix.SYS_CLONE, first[:]...)
	}
}

// sysClone3 is clone3's number, which is the same on all machines but Alpha.
const sysClone3 = 435

// flags are those of both of a child's clones.
func (w way) flags() uintptr {
	flags := uintptr(0)
	if w.vfork {
		flags |= unix.CLONE_VM | unix.CLONE_VFORK
	}
	if w.shares {
		flags |= unix.CLONE_FILES
	}
	if w.newPID {
		flags |= unix.CLONE_NEWPID
	}
	return flags
}

// part has the child part from what descriptors are not its own: first all above
// the last of them, which a table that is shared until then is copied without; then
// those between.
//
// Where the kernel cannot close that many at once the child has a copy of all
// descriptors until its program is executed: then it closes those by which it could
// be taken for this process. What it has until then, also where that is killed, are
// the locks and pipes of the other services.
func (h *Slot) part(c Child, w way) {
	if !w.range_ {
		for _, fd := range c.Private {
			h.add(stepPart, unix.SYS_CLOSE, uintptr(fd)).optional = 1
		}
		return
	}
	fds := make([]int, 0, 16)
	for i, fd := range c.Files {
		fds = append(fds, i, fd)
	}
	for _, fd := range [...]int{c.Dir, c.Record, c.Lock, c.Notify, h.pipe[1]} {
		if fd != 0 {
			fds = append(fds, fd)
		}
	}
	for i := range fds { // so few, and nearly in order, that slices.Sort would take longer
		for j := i; j > 0 && fds[j] < fds[j-1]; j-- {
			fds[j], fds[j-1] = fds[j-1], fds[j]
		}
	}
	unshare := uintptr(0)
	if w.shares {
		unshare = unix.CLOSE_RANGE_UNSHARE
	}
	h.add(stepPart, unix.SYS_CLOSE_RANGE, uintptr(fds[len(fds)-1]+1), math.MaxUint32, unshare)
	for i := 1; i < len(fds); i++ {
		if fds[i] > fds[i-1]+1 {
			h.add(stepPart, unix.SYS_CLOSE_RANGE, uintptr(fds[i-1]+1), uintptr(fds[i]-1), 0)
		}
	}
}

// outcome is what is known of a child when it is made: its pid, or why there is
// none.
type outcome struct {
	pid int
	err error
}

// run makes a child that makes the calls. It returns when the child has become its
// program or has ended.
func (h *Slot) run(calls []call, w way) outcome {
	defer runtime.KeepAlive(h)
	if w.vfork {
		return h.vfork(calls, w)
	}
	return h.fork(calls)
}

// interpret says what came of a child: its pid, or the step that failed and why.
func (h *Slot) interpret(calls []call, w way, made outcome) (pid int, failed childStep, err error) {
	if made.err != nil {
		return 0, stepMade, made.err
	}
	pid = made.pid
	if w.inSession {
		collect(pid) // the leader
		if pid = int(h.tid); pid == 0 && h.failed.errno == 0 {
			return 0, stepMade, unix.EAGAIN // somebody has killed it
		}
	}
	if h.failed.errno == 0 {
		return pid, stepMade, nil
	}
	if pid != 0 {
		collect(pid)
	}
	err = syscall.Errno(h.failed.errno)
	if failed = calls[len(calls)-int(h.failed.left)].step; failed == stepEnter {
		err = DirError{err}
	}
	return 0, failed, err
}

// Slots are those that a process has; who needs more gets one without descriptors.
type Slots chan *Slot

// NewSlots takes low descriptors for each of n slots: a process calls it before it
// opens many. any is a descriptor that stays open.
func NewSlots(any, n int) Slots {
	hs := make(Slots, n)
	for range n {
		h := NewSlot()
		h.any = any
		for j := range h.low {
			fd, err := unix.FcntlInt(uintptr(any), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				h.close(j)
				return hs
			}
			h.low[j] = fd
		}
		hs <- h
	}
	return hs
}

// close closes the first n low descriptors.
func (h *Slot) close(n int) {
	for _, fd := range h.low[:n] {
		unix.Close(fd)
	}
}

// Take is a free slot, or one without descriptors.
func (hs Slots) Take() *Slot {
	select {
	case h := <-hs:
		return h
	default:
		return NewSlot()
	}
}

// Put gives a slot back.
func (hs Slots) Put(h *Slot) {
	if h.low[0] != 0 {
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

// caught says whether a signal has a handler.
func caught(sig uintptr) bool {
	var action [8]uintptr // the handler: 0 is the default, 1 ignores
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), maskSize, 0, 0)
	return action[handlerAt] > 1
}
