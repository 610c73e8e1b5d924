// Package proc finds processes again: the record of one, supervise/proc, as a file,
// what /proc and pidfds say of a process, and in which world its pid means it.
package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// TicksNow is the time since boot in the clock ticks of /proc/PID/stat, which
// are of 10 ms on every Linux.
func TicksNow() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return TicksOf(ts)
}

// TicksOf is a time since boot in these ticks.
func TicksOf(ts unix.Timespec) uint64 {
	return uint64(ts.Sec)*100 + uint64(ts.Nsec)/1e7 - uint64(clockShift.Load())
}

// clockShift is by how many ticks this process's time namespace has shifted the time
// since boot, in /proc/PID/stat as well: all ticks here are those of the machine, so
// that records mean the same in each.
var clockShift atomic.Int64

// readClockShift finds it out. A line of the file is like "boottime -100 0".
func readClockShift() error {
	const offsets = "/proc/self/timens_offsets"
	b, err := sys.Slurp(unix.AT_FDCWD, offsets, 256)
	if err != nil {
		return sys.Unless(sys.Hides, offsets, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "boottime" {
			continue
		}
		sec, err1 := strconv.ParseInt(f[1], 10, 64)
		nsec, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil {
			clockShift.Store(sec*100 + nsec/1e7)
		}
	}
	return nil
}

// Stat is what /proc/PID/stat says of a process.
type Stat struct {
	Comm   string
	State  byte
	PPID   int
	Ticks  uint64
	Status unix.WaitStatus // of a zombie; 0 for who may not know it
}

// StatOf reads /proc/PID/stat. It is not found where there is no such process, or
// /proc hides it or is another namespace's; what cannot be read at present is an error.
func StatOf(pid int) (st Stat, found bool, err error) {
	if ours, err := IsOwn(); !ours {
		return Stat{}, false, err
	}
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	fd, err := sys.Open(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return Stat{}, false, sys.Unless(sys.Hides, path, err)
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return Stat{}, false, sys.Unless(sys.Hides, path, err)
	}
	st, found = parseStat(buf[:max(n, 0)])
	return st, found, nil
}

// parseStat takes a line of /proc/PID/stat apart; the name in parentheses may
// hold anything.
func parseStat(b []byte) (Stat, bool) {
	l, r := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if l < 0 || r < l {
		return Stat{}, false
	}
	st := Stat{Comm: string(b[l+1 : r])}
	n := 0
	var err error
	for f := range bytes.FieldsSeq(b[r+1:]) {
		switch n++; n { // as proc(5) counts them, less two
		case 1:
			if st.State = f[0]; len(f) != 1 {
				return Stat{}, false
			}
		case 2:
			st.PPID, err = strconv.Atoi(string(f))
		case 20:
			var e error
			st.Ticks, e = strconv.ParseUint(string(f), 10, 64)
			err = errors.Join(err, e)
			st.Ticks -= uint64(clockShift.Load())
		case 50:
			code, _ := strconv.ParseUint(string(f), 10, 16)
			st.Status = unix.WaitStatus(code)
		}
	}
	if n < 20 {
		return Stat{}, false
	}
	return st, err == nil
}

// mineProc says that /proc was found to be this namespace's.
var mineProc atomic.Bool

// IsOwn says whether /proc tells of the processes of this namespace: in a new one
// it does not until it is mounted anew.
func IsOwn() (bool, error) {
	if mineProc.Load() {
		return true, nil
	}
	b := make([]byte, 16)
	n, err := unix.Readlink("/proc/self", b)
	if err != nil {
		return false, sys.Unless(sys.Hides, "/proc/self", err)
	}
	if string(b[:n]) != strconv.Itoa(os.Getpid()) {
		return false, nil
	}
	mineProc.Store(true)
	return true, nil
}

// Path is the path of something that /proc shows of a process, such as fd/1; "", which
// leads nowhere, where /proc is another namespace's: another process has the number there.
func Path(pid int, what string) string {
	if ours, err := IsOwn(); !ours || err != nil {
		return ""
	}
	return "/proc/" + strconv.Itoa(pid) + "/" + what
}

// Arguments are the command line of a process; none where it has none, or /proc does not tell.
func Arguments(pid int) []string {
	b, err := os.ReadFile(Path(pid, "cmdline"))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// Sight is what can be seen of a process that a record tells of.
type Sight struct {
	Found bool // it is there
	Dead  bool // and is a corpse
	PidFD int  // and is held by this, where the kernel gives one; else -1
	PPID  int
}

// See looks for the process that a record names, by pid and start.
func See(l state.Process) (s Sight, err error) {
	pid, ticks := l.PID, l.Ticks
	s.PidFD = -1
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		s.PidFD = fd
	case err == unix.ESRCH:
		return s, nil
	case sys.Passing(err) || err == unix.EINTR:
		return s, fmt.Errorf("unable to look at process %d: %w", pid, err)
	}
	st, found, err := StatOf(pid) // read behind the pidfd: it is of one process
	if found {
		s.Found, s.Dead, s.PPID = st.Ticks == ticks, st.State == 'Z' || st.State == 'X', st.PPID
	} else if err == nil {
		s.Found, s.PPID, err = s.hidden(l)
	}
	if (err != nil || !s.Found) && s.PidFD >= 0 {
		unix.Close(s.PidFD)
		s.PidFD = -1
	}
	return s, err
}

// hidden says whether a process is there that /proc does not show: by its pidfd,
// with its parent, which must be one that a killed core's child comes to, or the
// core that has let go of it; else, before Linux 6.13, by whether it could be sent a
// signal.
func (s Sight) hidden(l state.Process) (found bool, ppid int, err error) {
	if s.PidFD >= 0 {
		info := unix.PidfdInfo{}
		switch err := unix.IoctlPidfdInfo(s.PidFD, &info); err {
		case nil:
			parents, err := Ancestors()
			ppid = int(info.Ppid)
			return parents[ppid] || ppid == l.Core, ppid, err
		case unix.ESRCH:
			return false, 0, nil
		}
	}
	return unix.Kill(l.PID, 0) != unix.ESRCH, 0, nil
}

// Each calls look for each process that /proc shows, but for this one.
func Each(look func(pid int) error) error {
	dir, err := os.Open("/proc")
	if err != nil {
		return sys.Unless(sys.Hides, "/proc", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() {
			if err := look(pid); err != nil {
				return err
			}
		}
	}
	return nil
}

// Ancestors are the processes that may have inherited a killed core's child:
// process 1, or a subreaper above this process.
func Ancestors() (map[int]bool, error) {
	all := map[int]bool{1: true}
	for pid := os.Getppid(); pid > 1 && !all[pid]; {
		all[pid] = true
		parent, err := parentOf(pid)
		if err != nil {
			return nil, err
		}
		pid = parent
	}
	return all, nil
}

// openPidfd opens a process; the descriptor is -1 where there is none, for the process or by
// the kernel. An error is for now only.
func openPidfd(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		return fd, nil
	case sys.Passing(err) || err == unix.EINTR:
		return -1, fmt.Errorf("unable to look at process %d: %w", pid, err)
	}
	return -1, nil
}

// parentOf is a process's parent, as /proc tells it or else, since Linux 6.13, its pidfd; 0
// where neither does.
func parentOf(pid int) (int, error) {
	st, found, err := StatOf(pid)
	if err != nil || found {
		return st.PPID, err
	}
	fd, err := openPidfd(pid)
	if fd < 0 {
		return 0, err
	}
	defer unix.Close(fd)
	info := unix.PidfdInfo{}
	if unix.IoctlPidfdInfo(fd, &info) != nil {
		return 0, nil
	}
	return int(info.Ppid), nil
}
