package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// stand is where a core is and whose: what a record is compared with.
type stand struct {
	world state.World
	tree  uint32
}

// worth is what a record counts for where it is read.
type worth byte

const (
	worthless    worth = iota // nothing: it is of another world or place
	worthProcess              // a process that still runs
	worthStopped              // the same, which is to be stopped: the directory has been replaced beside its supervise directory
	worthAll                  // all that it tells, where something of its tree still runs
)

// worthOf compares a record with where it was read.
func worthOf(l state.Process, w state.World, p state.Place) worth {
	differ := func(a, b uint32) bool { return a != 0 && b != 0 && a != b }
	switch {
	case differ(l.World.Boot, w.Boot), differ(l.World.Space&0xffff, w.Space&0xffff), differ(l.World.Space>>16, w.Space>>16):
		return worthless
	case l.Former, l.Place == p:
		return worthAll
	case l.Place.Dir == p.Dir:
		return worthProcess
	case l.Place.Lock == p.Lock:
		return worthStopped
	}
	return worthless
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
func judge(l state.Process, w worth, runs, mine, alive bool) verdict {
	switch {
	case w == worthless, w != worthAll && !runs:
		return verdict{}
	case w != worthAll:
		return verdict{counts: true, stop: w == worthStopped}
	case mine:
		return verdict{counts: true, order: true}
	case runs, alive:
		return verdict{counts: true, order: l.Want != WantExit}
	}
	return verdict{}
}

// What open(2) and the like answer where a file is not there, or is not for us.
var (
	absent = []error{unix.ENOENT, unix.ENOTDIR, unix.ESRCH}
	hides  = append(absent[:3:3], unix.EACCES, unix.EPERM)
)

// unless is nil for one of these errors: any other says nothing about what was
// looked for, only that it could not be looked for now.
func unless(these []error, what string, err error) error {
	if slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return fmt.Errorf("unable to read %s: %w", what, err)
}

// readWorld says which world this process is in.
func readWorld() (w state.World, err error) {
	const bootID = "/proc/sys/kernel/random/boot_id"
	b, err := Dir{unix.AT_FDCWD}.slurp(bootID, 64)
	if err != nil {
		if err = unless(hides, bootID, err); err != nil {
			return w, err
		}
	} else {
		w.Boot = state.Hash(strings.TrimSpace(string(b)))
	}
	if err := readClockShift(); err != nil {
		return w, err
	}
	w.Space, err = spaceOf()
	return w, err
}

// spaceOf names the pid namespace twice, in 16 bits each: by its inode and the start
// of its process 1, since inodes are given again; and by the inode of process 1 itself,
// which is there without /proc too. Of two runs that know different ones, as before and
// after /proc was mounted, nothing is compared that one of them does not know.
func spaceOf() (uint32, error) {
	half := func(s string) uint32 {
		n := state.Hash(s)
		return max((n>>16^n)&0xffff, 1)
	}
	const space = "/proc/self/ns/pid"
	var st unix.Stat_t
	var w uint32
	first, found, err := statOf(1)
	if err != nil {
		return 0, err
	}
	if found {
		err = unix.Stat(space, &st)
		if err == nil {
			w = half(strconv.FormatUint(st.Ino, 10) + " " + strconv.FormatUint(first.ticks, 10))
		} else if err = unless(hides, space, err); err != nil {
			return 0, err
		}
	}
	ino, err := processInode(1)
	if ino != 0 {
		w |= half(strconv.FormatUint(ino, 10)) << 16
	}
	return w, err
}

// processInode is the inode that pidfs (since Linux 6.9) gives to a process and to no
// other until the next boot; 0 where there is none.
func processInode(pid int) (uint64, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if passing(err) || err == unix.EINTR {
			return 0, fmt.Errorf("unable to look at process %d: %w", pid, err)
		}
		return 0, nil
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || int64(fs.Type) != unix.PID_FS_MAGIC || unix.Fstat(fd, &st) != nil {
		return 0, nil
	}
	return st.Ino, nil
}

// treeOf names a scanner's life, or that of the runsv of one directory, by its
// process: pid and start, or inode where /proc does not show it. A scanner keeps them
// over an upgrade. It is 0 where nothing tells one process from another with its pid.
func treeOf(pid int) (uint32, error) {
	st, found, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	start := st.ticks
	if !found {
		if start, err = processInode(pid); start == 0 || err != nil {
			return 0, err
		}
	}
	return state.Hash(strconv.Itoa(pid) + " " + strconv.FormatUint(start, 10)), nil
}

// here is where this core stands, found out once.
func (c *Core) here() (stand, error) {
	if at := c.at.Load(); at != nil {
		return *at, nil
	}
	var at stand
	var err error
	if at.world, err = readWorld(); err != nil {
		return at, err
	}
	whose := c.whose
	if whose == 0 {
		whose = os.Getpid()
	}
	if at.tree, err = treeOf(whose); err != nil {
		return at, err
	}
	c.at.Store(&at)
	return at, nil
}

// mineProc says that /proc was found to be this namespace's.
var mineProc atomic.Bool

// ownProc says whether /proc tells of the processes of this namespace: in a new one
// it does not until it is mounted anew.
func ownProc() (bool, error) {
	if mineProc.Load() {
		return true, nil
	}
	b := make([]byte, 16)
	n, err := unix.Readlink("/proc/self", b)
	if err != nil {
		return false, unless(hides, "/proc/self", err)
	}
	if string(b[:n]) != strconv.Itoa(os.Getpid()) {
		return false, nil
	}
	mineProc.Store(true)
	return true, nil
}

// identity names a file by device, inode and time of birth. It is 0 where there is
// none.
func identity(at int, path string) (uint32, error) {
	var st unix.Statx_t
	err := unix.Statx(at, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or rules against it
		var old unix.Stat_t
		if err = unix.Fstatat(at, path, &old, 0); err == nil {
			st.Ino, st.Dev_major, st.Dev_minor = old.Ino, unix.Major(uint64(old.Dev)), unix.Minor(uint64(old.Dev))
		}
	}
	switch {
	case unless(absent, path, err) == nil && err != nil:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("unable to open %s: %w", path, err)
	}
	b := strconv.AppendUint(nil, uint64(st.Dev_major)<<32|uint64(st.Dev_minor), 10)
	b = strconv.AppendUint(append(b, ' '), st.Ino, 10)
	if st.Mask&unix.STATX_BTIME != 0 {
		b = strconv.AppendInt(append(b, ' '), st.Btime.Sec, 10)
		b = strconv.AppendUint(append(b, '.'), uint64(st.Btime.Nsec), 10)
	}
	return state.Hash(string(b)), nil
}

// place is what the records of a unit are about. The service directory itself goes
// without its time of birth where its key says what it is: on an overlay that time
// changes when something is written in it.
func (s *service) place(prefix string) (p state.Place, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.dir.fd, &st); err != nil {
		return p, fmt.Errorf("unable to stat the directory: %w", err)
	}
	p.Dir = state.Hash(strconv.FormatUint(uint64(st.Dev), 10) + " " + strconv.FormatUint(st.Ino, 10))
	p.Lock, err = identity(s.dir.fd, prefix+"supervise/lock")
	return p, err
}

// sight is what can be seen of a process that a record tells of.
type sight struct {
	found bool // it is there
	dead  bool // and is a corpse
	pidfd int  // and is held by this, where the kernel gives one; else -1
	ppid  int
}

// see looks for the process that a record names, by pid and start.
func see(l state.Process) (s sight, err error) {
	pid, ticks := l.PID, l.Ticks
	s.pidfd = -1
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		s.pidfd = fd
	case err == unix.ESRCH:
		return s, nil
	case passing(err) || err == unix.EINTR:
		return s, fmt.Errorf("unable to look at process %d: %w", pid, err)
	}
	st, found, err := statOf(pid) // read behind the pidfd: it is of one process
	if found {
		s.found, s.dead, s.ppid = st.ticks == ticks, st.state == 'Z' || st.state == 'X', st.ppid
	} else if err == nil {
		s.found, s.ppid, err = s.hidden(l)
	}
	if (err != nil || !s.found) && s.pidfd >= 0 {
		unix.Close(s.pidfd)
		s.pidfd = -1
	}
	return s, err
}

// hidden says whether a process is there that /proc does not show: by its pidfd,
// with its parent, which must be one that a killed core's child comes to, or the
// core that has let go of it; else, before Linux 6.13, by whether it could be sent a
// signal.
func (s sight) hidden(l state.Process) (found bool, ppid int, err error) {
	if s.pidfd >= 0 {
		info := unix.PidfdInfo{}
		switch err := unix.IoctlPidfdInfo(s.pidfd, &info); err {
		case nil:
			parents, err := ancestors()
			ppid = int(info.Ppid)
			return parents[ppid] || ppid == l.Core, ppid, err
		case unix.ESRCH:
			return false, 0, nil
		}
	}
	return unix.Kill(l.PID, 0) != unix.ESRCH, 0, nil
}
