package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// writeLife overwrites the file at path, relative to at, in place: one write
// of one size, so that a kill leaves the old line or the new one.
func writeLife(at int, path string, l state.Process) error {
	m, err := openMaking(at, path)
	if err != nil {
		return err
	}
	defer m.close()
	return m.write(path, l)
}

// making is the record of a process that is being made, held open for writing.
type making struct{ fd int }

func openMaking(at int, path string) (m making, err error) {
	m.fd, err = open(at, path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return making{fd: -1}, fmt.Errorf("unable to open %s: %w", path, err)
	}
	return m, nil
}

// writeMaking writes the record of a process that is about to be made, and locks it
// until this process and the child have closed it, also where it cannot be written.
// The error is errBeingMade where another process still has it locked.
func writeMaking(at int, path string, l state.Process) (m making, err error) {
	if m, err = openMaking(at, path); err != nil {
		m.fd, _ = open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	}
	// Where a file system has no locks nobody else is kept from looking too early.
	if m.fd >= 0 && unix.Flock(m.fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		m.close()
		return making{fd: -1}, errBeingMade
	}
	if err != nil {
		return m, err
	}
	return m, m.write(path, l)
}

// errBeingMade says that an earlier supervisor's process has not come as far as its
// program yet.
var errBeingMade = errors.New("a process of an earlier supervisor is still being made")

// write overwrites the record.
func (m making) write(path string, l state.Process) error {
	line := l.Bytes()
	if _, err := unix.Pwrite(m.fd, line[:], 0); err != nil {
		return fmt.Errorf("unable to write %s: %w", path, err)
	}
	return nil
}

func (m making) close() {
	if m.fd >= 0 {
		unix.Close(m.fd)
	}
}

// writeWant overwrites the standing order in the record at path. Where there is no
// record it is an error.
func writeWant(at int, path string, w Want) error {
	fd, err := open(at, path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte{w.Command()}, state.ProcWant); err != nil {
		return fmt.Errorf("unable to write %s: %w", path, err)
	}
	return nil
}

// readLife reads the file at path; ok is false where it is absent or garbage. What
// cannot be read at present is an error.
func readLife(at int, path string) (l state.Process, ok bool, err error) {
	l, ok, err = readSettled(at, path)
	if err == errBeingMade {
		fd := -1
		if fd, err = open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0); err == nil {
			defer unix.Close(fd)
			l, ok, err = readLifeFrom(fd, path)
		}
	}
	return l, ok, err
}

// readSettled is readLife, or errBeingMade where the record may still change.
func readSettled(at int, path string) (l state.Process, ok bool, err error) {
	fd, err := open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO: // the last two are no files
		return state.Process{}, false, nil
	default:
		return state.Process{}, false, fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return state.Process{}, false, errBeingMade
	}
	return readLifeFrom(fd, path)
}

func readLifeFrom(fd int, path string) (l state.Process, ok bool, err error) {
	var b [state.ProcSize + 1]byte
	n, err := unix.Read(fd, b[:])
	if err == unix.EISDIR {
		return state.Process{}, false, nil
	}
	if err != nil {
		return state.Process{}, false, fmt.Errorf("unable to read %s: %w", path, err)
	}
	l, ok = state.ParseProcess(b[:n])
	return l, ok, nil
}

// ticksNow is the time since boot in the clock ticks of /proc/PID/stat, which
// are of 10 ms on every Linux.
func ticksNow() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ticksOf(ts)
}

func ticksOf(ts unix.Timespec) uint64 {
	return uint64(ts.Sec)*100 + uint64(ts.Nsec)/1e7 - uint64(clockShift.Load())
}

// clockShift is by how many ticks this process's time namespace has shifted the time
// since boot, in /proc/PID/stat as well: all ticks here are those of the machine, so
// that records mean the same in each.
var clockShift atomic.Int64

// readClockShift finds it out. A line of the file is like "boottime -100 0".
func readClockShift() error {
	const offsets = "/proc/self/timens_offsets"
	b, err := Dir{unix.AT_FDCWD}.slurp(offsets, 256)
	if err != nil {
		return unless(hides, offsets, err)
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

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	comm  string
	state byte
	ppid  int
	ticks uint64
	ws    unix.WaitStatus // of a zombie; 0 for who may not know it
}

// statOf reads /proc/PID/stat. It is not found where there is no such process, or
// /proc hides it or is another namespace's; what cannot be read at present is an error.
func statOf(pid int) (st procStat, found bool, err error) {
	if ours, err := ownProc(); !ours {
		return procStat{}, false, err
	}
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	fd, err := open(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return procStat{}, false, unless(hides, path, err)
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return procStat{}, false, unless(hides, path, err)
	}
	st, found = parseStat(buf[:max(n, 0)])
	return st, found, nil
}

// parseStat takes a line of /proc/PID/stat apart; the name in parentheses may
// hold anything.
func parseStat(b []byte) (procStat, bool) {
	l, r := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if l < 0 || r < l {
		return procStat{}, false
	}
	f := bytes.Fields(b[r+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return procStat{}, false
	}
	ppid, err1 := strconv.Atoi(string(f[1]))
	ticks, err2 := strconv.ParseUint(string(f[19]), 10, 64)
	st := procStat{string(b[l+1 : r]), f[0][0], ppid, ticks - uint64(clockShift.Load()), 0}
	if len(f) > 49 {
		code, _ := strconv.ParseUint(string(f[49]), 10, 16)
		st.ws = unix.WaitStatus(code)
	}
	return st, err1 == nil && err2 == nil
}
