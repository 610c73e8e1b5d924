// Package child makes processes: by vfork, or by a plain fork where there is no other
// way, always in the best way that the kernel has not refused. What a child does before
// it is its program is a list of system calls, a value that the tests compare. A Probe
// is a child that runs no program: it only makes such calls.
package child

import "golang.org/x/sys/unix"

// Child is a process to be made of a program.
type Child struct {
	Path string
	Argv []string
	Env  []string
	// Files become the descriptors from 0 on; one that is to become i is i
	// itself or above all the others. 0 to 2 that stay what they are must not be
	// close-on-exec: those that a program is started with never are.
	Files []int
	// Notify, if not 0, becomes the descriptor NotifyAs, whatever Files says.
	Notify, NotifyAs int
	Dir              int  // descriptor of its working directory; 0 for this process's
	Session          bool // in a session that it leads
	NewPID           bool // as process 1 of a pid namespace of its own
	Group            int  // if not 0, the open cgroup.procs of the cgroup that it is to be in
	// Record, if not 0, is the descriptor of a file: before it becomes its program
	// the child writes its pid there, at state.ProcPID.
	Record int
	// Lock, if not 0, is the descriptor of a lock that the child holds until it is its
	// program, also when this process is killed meanwhile: in place of Record, where
	// that cannot be written.
	Lock int
	// Private are descriptors that the child closes first where it gets a copy of all
	// and the kernel cannot close most of them at once (before Linux 5.9).
	Private []int
	// Table, if not 0, is how many descriptors the child is to have room for. A
	// table that grows costs a program with threads up to a hundredth of a second
	// each time, in which it opens nothing.
	Table int
	// Born, if not nil, gets the time since boot at which the process was there,
	// where it can say that itself.
	Born *unix.Timespec
}

// DirError says that a child could not enter its working directory.
type DirError struct{ Err error }

func (d DirError) Error() string { return d.Err.Error() }

// Unwrap is what the system said.
func (d DirError) Unwrap() error { return d.Err }

// GroupError says that a child could not enter its cgroup.
type GroupError struct{ Err error }

func (g GroupError) Error() string { return g.Err.Error() }

// Unwrap is what the system said.
func (g GroupError) Unwrap() error { return g.Err }

// SpaceError says that a child could get no pid namespace of its own.
type SpaceError struct{ Err error }

func (s SpaceError) Error() string { return s.Err.Error() }

// Unwrap is what the system said.
func (s SpaceError) Unwrap() error { return s.Err }

// Start makes the process. It is syscall.ForkExec without the hundred calls that
// this makes for each, without its lock, which a program that is slow to be executed
// would hold, and with the limit of descriptors that files says.
func (c Child) Start(h *Slot, files *unix.Rlimit) (int, error) { return c.make(h, files, false) }

// StartInSession makes the process in a session and process group of its own
// that it does not lead, as under a runsv below runsvdir -P: a run script may
// then call setsid(1), which forks away where it is called by a leader. Who
// leads a session must have made it, so the child that does makes a second one,
// as a child of this process, and ends.
func (c Child) StartInSession(h *Slot, files *unix.Rlimit) (int, error) {
	return c.make(h, files, true)
}

// make makes the process in the best way that the kernel has not refused yet. A
// way that is refused is not tried again.
func (c Child) make(h *Slot, files *unix.Rlimit, inSession bool) (int, error) {
	if h == nil {
		h = NewSlot()
	}
	if err := h.prepare(c); err != nil {
		return 0, err
	}
	for {
		w := bestWay()
		w.lead = c.Session || inSession && refused[noParent].Load()
		w.inSession = inSession && !w.lead
		if refused[noSession].Load() {
			w.lead, w.inSession = false, false
		}
		if w.newPID = c.NewPID; w.newPID {
			if !w.vfork { // it would not know its number here
				return 0, SpaceError{unix.ENOSYS}
			}
			w.lead, w.inSession = w.lead || w.inSession, false
		}
		own, err := h.redirect(c)
		if err != nil {
			return 0, err
		}
		if !w.vfork {
			if err := h.openPipe(c.NotifyAs); err != nil {
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
			c.Record = 0
		case err == nil:
			if c.Born != nil && h.born != (unix.Timespec{}) {
				*c.Born = h.born
			}
			return pid, nil
		case failed == stepGroup:
			return 0, GroupError{err}
		case w.newPID && failed == stepMade && !isShort(err) && !(w.clone3 && err == unix.ENOSYS):
			return 0, SpaceError{err}
		case !refuse(w, failed, err):
			return 0, err
		}
	}
}
