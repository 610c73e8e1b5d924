package supervise

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
)

// child is a process to be made of a program.
type child struct {
	path string
	argv []string
	env  []string
	// files become the descriptors from 0 on; one that is to become i is i
	// itself or above all the others.
	files   []int
	dir     int  // descriptor of its working directory; 0 for this process's
	session bool // in a session that it leads
	// record, if not 0, is the descriptor of a file: before it becomes its program
	// the child writes its pid there, at lifePID.
	record int
	// lock, if not 0, is the descriptor of a lock that the child holds until it is its
	// program, also when this process is killed meanwhile: in place of record, where
	// that cannot be written.
	lock int
	// private are descriptors that the child closes first where it gets a copy of all
	// and the kernel cannot close most of them at once (before Linux 5.9).
	private []int
	// table, if not 0, is how many descriptors the child is to have room for. A
	// table that grows costs a program with threads up to a hundredth of a second
	// each time, in which it opens nothing.
	table int
	// born, if not nil, gets the time, in the ticks of ticksNow, at which the
	// process was there, where it can say that itself.
	born *uint64
}

// dirError says that a child could not enter its working directory.
type dirError struct{ error }

// fileLimits are the limits of descriptors: what the process was started with,
// which its children get back, and what it has raised them to.
type fileLimits struct {
	given *unix.Rlimit // nil where children get what the runtime says
	most  int
}

// raiseFiles raises the limit of descriptors to what the kernel allows, past
// the hard limit where the process may do that.
func raiseFiles() (l fileLimits) {
	if given, ok := givenFiles(); ok {
		l.given = &given
	}
	l.raise()
	return l
}

func (l *fileLimits) raise() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		l.most = math.MaxInt32
		return
	}
	most := []uint64{lim.Max}
	if b, err := os.ReadFile("/proc/sys/fs/nr_open"); err == nil {
		if n, err := strconv.ParseUint(string(b[:max(0, len(b)-1)]), 10, 64); err == nil && n > lim.Max {
			most = []uint64{n, lim.Max}
		}
	}
	for _, n := range most {
		next := unix.Rlimit{Cur: n, Max: n}
		if l.given != nil && unix.Setrlimit(unix.RLIMIT_NOFILE, &next) == nil {
			lim = next
			break
		}
	}
	l.most = int(min(lim.Cur, math.MaxInt32))
}

// lower puts the limit back that the process was started with, for a program
// that takes its place.
func (l *fileLimits) lower() {
	if l.given != nil {
		unix.Setrlimit(unix.RLIMIT_NOFILE, l.given)
	}
}

// givenFiles is the limit of descriptors that the process was started with. The
// Go runtime raises the soft one and keeps what it was to itself; but it puts
// it back before it executes a program, also where there is none.
func givenFiles() (lim unix.Rlimit, ok bool) {
	syscall.Exec("", nil, nil)
	return lim, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil
}

// start makes the process. It is syscall.ForkExec without the hundred calls that
// this makes for each, without its lock, which a program that is slow to be executed
// would hold, and with the limit of descriptors that files says.
func (c child) start(h *hand, files *unix.Rlimit) (int, error) { return c.make(h, files, false) }

// startInSession makes the process in a session and process group of its own
// that it does not lead, as under a runsv below runsvdir -P: a run script may
// then call setsid(1), which forks away where it is called by a leader. Who
// leads a session must have made it, so the child that does makes a second one,
// as a child of this process, and ends.
func (c child) startInSession(h *hand, files *unix.Rlimit) (int, error) {
	return c.make(h, files, true)
}

// make makes the process in the best way that the kernel has not refused yet. A
// way that is refused is not tried again.
func (c child) make(h *hand, files *unix.Rlimit, inSession bool) (int, error) {
	if h == nil {
		h = newHand()
	}
	if err := h.prepare(c); err != nil {
		return 0, err
	}
	for {
		w := bestWay()
		w.lead = c.session || inSession && refused[noParent].Load()
		w.inSession = inSession && !w.lead
		if refused[noSession].Load() {
			w.lead, w.inSession = false, false
		}
		own, err := h.redirect(c)
		if err != nil {
			return 0, err
		}
		if !w.vfork {
			if err := h.openPipe(); err != nil {
				h.restore()
				return 0, err
			}
		}
		calls := h.program(own, files, w)
		made := h.run(calls, w)
		h.restore()
		pid, failed, err := h.interpret(calls, w, made)
		switch {
		case failed == stepRecord: // a disk in trouble keeps nothing from starting
			c.record = 0
		case err == nil:
			if c.born != nil && h.born != (unix.Timespec{}) {
				*c.born = proc.TicksOf(h.born)
			}
			return pid, nil
		case !refuse(w, failed, err):
			return 0, err
		}
	}
}

// held are signals that a scanner holds back while it becomes another program,
// which they would end: blocked, they wait until that asks for them. (The Go
// runtime unblocks HUP, INT and TERM as it starts.)
const held = 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGALRM-1)

// unheld are signals that this process blocks and its children shall not.
var unheld uintptr

// holdSignals blocks them in the calling thread, for the program that it is
// about to become, until it is released.
func holdSignals() (release func()) {
	runtime.LockOSThread()
	set := unix.Sigset_t{}
	set.Val[0] = held
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
