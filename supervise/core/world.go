package core

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// origin is where a core is and whose: what a record is compared with.
type origin struct {
	world state.World
	tree  uint32
}

// trust is what a record counts for where it is read.
type trust byte

const (
	untrusted    trust = iota // nothing: it is of another world or place
	trustProcess              // a process that still runs
	trustStopped              // the same, which is to be stopped: the directory has been replaced beside its supervise directory
	trustAll                  // all that it tells, where something of its tree still runs
)

// trustOf compares a record with where it was read.
func trustOf(l state.Process, w state.World, p state.Place) trust {
	differ := func(a, b uint32) bool { return a != 0 && b != 0 && a != b }
	switch {
	case differ(l.World.Boot, w.Boot), differ(l.World.Space&0xffff, w.Space&0xffff), differ(l.World.Space>>16, w.Space>>16):
		return untrusted
	case l.Former, l.Place == p:
		return trustAll
	case l.Place.Dir == p.Dir:
		return trustProcess
	case l.Place.Lock == p.Lock:
		return trustStopped
	}
	return untrusted
}

// verdict is what an earlier core's record means to the one that reads it.
type verdict struct {
	counts bool // else the files alone decide, as if there were no record
	order  bool // its standing order holds; else the files decide about that
	stop   bool // its process is to end, and to be started again
}

// judge says what a record means. runs says whether its process still runs, mine
// whether it is of this tree, and alive whether something of its tree still runs or
// its core has handed the service over. An order to exit is one to a supervisor, not
// to the one that comes after it.
func judge(l state.Process, w trust, runs, mine, alive bool) verdict {
	switch {
	case w == untrusted, w != trustAll && !runs:
		return verdict{}
	case w != trustAll:
		return verdict{counts: true, stop: w == trustStopped}
	case mine:
		return verdict{counts: true, order: true}
	case runs, alive:
		return verdict{counts: true, order: l.Want != state.WantExit}
	}
	return verdict{}
}

// judge says what the records of the service and its log service mean.
func (s *service) judge(all ...*priorState) error {
	at, err := s.core.here()
	if err != nil {
		return err
	}
	alive := s.takenOver
	for _, was := range all {
		if was.runs && was.trust == trustAll {
			alive = true
			s.core.lives(was.record)
		}
	}
	for i, was := range all {
		if !was.ok {
			continue
		}
		mine := was.record.Tree == at.tree && at.tree != 0 && !was.record.Former
		if !mine && !alive && was.trust == trustAll {
			if alive, err = s.core.survives(was.record); err != nil {
				return err
			}
		}
		if was.verdict = judge(was.record, was.trust, was.runs, mine, alive); !was.verdict.counts {
			was.close()
			was.ok = false
			s.clearRecord(s.units()[i].prefix)
		} else if was.trust == trustAll && !s.takenOver {
			s.core.succeed(was.record)
		}
	}
	return nil
}

// here is where this core stands, found out once.
func (c *Core) here() (origin, error) {
	if at := c.at.Load(); at != nil {
		return *at, nil
	}
	var at origin
	var err error
	if at.world, err = proc.ReadWorld(); err != nil {
		return at, err
	}
	whose := c.whose
	if whose == 0 {
		whose = os.Getpid()
	}
	if at.tree, err = proc.TreeOf(whose); err != nil {
		return at, err
	}
	c.at.Store(&at)
	return at, nil
}

// identity names a file by device, inode and time of birth. It is 0 where there is
// none.
func identity(at int, path string) (uint32, error) {
	name, _, err := identify(at, path)
	return name, err
}

// fileNumber is by what the kernel tells one file that is there from another.
type fileNumber struct{ dev, ino uint64 }

// identify is identity, with the file's number.
func identify(at int, path string) (name uint32, file fileNumber, err error) {
	var st unix.Statx_t
	err = unix.Statx(at, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or rules against it
		var old unix.Stat_t
		if err = unix.Fstatat(at, path, &old, 0); err == nil {
			st.Ino, st.Dev_major, st.Dev_minor = old.Ino, unix.Major(uint64(old.Dev)), unix.Minor(uint64(old.Dev))
		}
	}
	switch {
	case err == nil:
	case sys.Unless(sys.Absent, path, err) == nil:
		return 0, file, nil
	default:
		return 0, file, fmt.Errorf("unable to open %s: %w", path, err)
	}
	file = fileNumber{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
	b := strconv.AppendUint(nil, uint64(st.Dev_major)<<32|uint64(st.Dev_minor), 10)
	b = strconv.AppendUint(append(b, ' '), st.Ino, 10)
	if st.Mask&unix.STATX_BTIME != 0 {
		b = strconv.AppendInt(append(b, ' '), st.Btime.Sec, 10)
		b = strconv.AppendUint(append(b, '.'), uint64(st.Btime.Nsec), 10)
	}
	return state.Hash(string(b)), file, nil
}

// place is what the records of a unit are about. The service directory itself goes
// without its time of birth where its key says what it is: on an overlay that time
// changes when something is written in it.
func (s *service) place(prefix string) (p state.Place, err error) {
	p, _, err = s.placeAndFile(prefix)
	return p, err
}

// placeAndFile is place, with the file that is locked there.
func (s *service) placeAndFile(prefix string) (p state.Place, lock fileNumber, err error) {
	if s.placeDir == 0 {
		var st unix.Stat_t
		if err := unix.Fstat(s.dir.FD, &st); err != nil {
			return p, lock, fmt.Errorf("unable to stat the directory: %w", err)
		}
		s.placeDir = state.Hash(strconv.FormatUint(uint64(st.Dev), 10) + " " + strconv.FormatUint(st.Ino, 10))
	}
	p.Dir = s.placeDir
	p.Lock, lock, err = identify(s.at(prefix), prefix+"supervise/lock")
	return p, lock, err
}
