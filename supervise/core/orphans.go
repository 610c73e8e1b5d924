package core

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// soon is how many clock ticks after its record a process has been made by, as
// a rule.
const soon = 100

// findMade finds the process that a killed core had made and not yet recorded
// whole. Its pid is in the record, where it could write it itself. Else it is
// looked for: one that has lost its parent, is younger than the record and,
// alive, has the service's working directory, or, dead, still has the name of its
// script. At most one process of a tree is in that state; what it has started
// itself is younger still.
func (s *service) findMade(prefix string, l state.Process) (pid int, ticks uint64, err error) {
	var dir unix.Stat_t
	if err := unix.Fstatat(s.dir.FD, strings.TrimSuffix("./"+prefix, "/"), &dir, 0); err != nil {
		return 0, 0, sys.Unless(sys.Absent, prefix, err)
	}
	script := "run"
	if l.Word == state.ProcFinishing {
		script = "finish"
	}
	parents, err := proc.Ancestors()
	if err != nil {
		return 0, 0, err
	}
	look := func(p int) error {
		st, ok, err := proc.StatOf(p)
		if err != nil {
			return err
		}
		if !ok && p == l.PID { // it wrote its pid itself, and is hidden or gone
			s, err := proc.See(l)
			if s.PidFD >= 0 {
				unix.Close(s.PidFD)
			}
			if s.Found {
				pid, ticks = p, l.Ticks
			}
			return err
		}
		if !ok || st.Ticks < l.Ticks || !parents[st.PPID] || pid != 0 && st.Ticks >= ticks {
			return nil
		}
		var cwd unix.Stat_t
		path := "/proc/" + strconv.Itoa(p) + "/cwd"
		switch {
		case l.PID != 0 && st.Ticks <= l.Ticks+soon:
		case st.State == 'Z' || st.State == 'X':
			if st.Comm != script {
				return nil
			}
		default:
			if err := unix.Stat(path, &cwd); err != nil {
				return sys.Unless(sys.Hides, path, err)
			}
			if cwd.Ino != dir.Ino || cwd.Dev != dir.Dev {
				return nil
			}
		}
		pid, ticks = p, st.Ticks
		return nil
	}
	if l.PID != 0 {
		err := look(l.PID)
		return pid, ticks, err
	}
	if ours, err := proc.IsOwn(); !ours {
		return 0, 0, err
	}
	err = proc.Each(look)
	return pid, ticks, err
}

// lostRecord says whether an earlier core may have been unable to write a record: it
// has come as far as to make the FIFOs, and has written nothing, as where the disk was
// full from the first start.
func (s *service) lostRecord(prefix string) bool {
	if st, err := s.dir.Stat(prefix + "supervise/status"); err == nil && st.Size == state.StatusSize {
		return false
	}
	st, err := s.dir.Stat(prefix + "supervise/proc")
	return (err != nil || st.Size < state.ProcSize) && s.dir.Has(prefix+"supervise/ok")
}

// orphanOf looks for the process of a unit whose record was lost: among those that have
// lost their parent the eldest with the unit's working directory.
func (s *service) orphanOf(prefix string) (l state.Process, ok bool, err error) {
	st, err := s.dir.Stat(strings.TrimSuffix("./"+prefix, "/"))
	if err != nil {
		return l, false, sys.Unless(sys.Absent, "./"+prefix, err)
	}
	all, err := s.core.findOrphans()
	if err != nil {
		return l, false, err
	}
	l, ok = all[[2]uint64{uint64(st.Dev), st.Ino}]
	l.Want = state.WantExit // its order is not known: the files decide
	return l, ok, nil
}

// orphans are processes that may be an earlier core's children, by the device and inode
// of their working directories.
type orphans struct {
	mu    sync.Mutex
	found map[[2]uint64]state.Process // nil before it was looked for them
}

// findOrphans are the processes, by their working directories, that may be an earlier
// core's children. It looks once in the life of a core, when there is reason.
func (c *Core) findOrphans() (map[[2]uint64]state.Process, error) {
	c.orphans.mu.Lock()
	defer c.orphans.mu.Unlock()
	if c.orphans.found != nil {
		return c.orphans.found, nil
	}
	all := map[[2]uint64]state.Process{}
	parents, err := proc.Ancestors()
	if err != nil {
		return nil, err
	}
	if ours, err := proc.IsOwn(); !ours {
		return all, err
	}
	err = proc.Each(func(pid int) error {
		st, found, err := proc.StatOf(pid)
		if err != nil || !found || !parents[st.PPID] || st.State == 'Z' {
			return err
		}
		var cwd unix.Stat_t
		path := "/proc/" + strconv.Itoa(pid) + "/cwd"
		if err := unix.Stat(path, &cwd); err != nil {
			return sys.Unless(sys.Hides, path, err)
		}
		at := [2]uint64{uint64(cwd.Dev), cwd.Ino}
		if known, ok := all[at]; !ok || st.Ticks < known.Ticks {
			all[at] = state.Process{Word: state.ProcRun, PID: pid, Ticks: st.Ticks}
		}
		return nil
	})
	if err == nil {
		c.orphans.found = all
	}
	return all, err
}
