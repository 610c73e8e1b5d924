package supervise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Life is what supervise/proc tells of a service's process: enough for the
// next core to find it again, or to know how it ended. It is one line of
// fields parted by single blanks, written whole by one write:
//
//	WORD PID TICKS BOOT CORE STATUS PIPE
//
// WORD is one of the Life words below. PID is the process (0 while it is being
// made, see below), TICKS its start in clock ticks since boot as in field 22 of
// /proc/PID/stat (while it is being made: the time before that), BOOT the
// kernel's boot id, CORE the process that wrote it (0: a runsv of one
// directory), STATUS the wait status of
// the last ./run, for ./finish, PIPE the inode of the pipe to the log service that
// ./run writes to. The file is written by the core before and
// after it makes a process and when one has ended, before the end can be seen
// in any other file; it is removed when the service is let go. So a line that
// is there while no core holds supervise/lock tells of a core that was killed.
//
// While a process is being made, the four bytes before the last four of the line
// are where it writes its pid itself, in the machine's byte order, before it
// becomes its program; until then there are blanks. So no program runs that no
// record tells of, whenever the core is killed. The core locks the file (flock) before
// it makes the process, and the process holds that lock until its pid is written (or,
// where it cannot be written, until it is its program); so no other core looks too
// early. (Where that cannot be, the next core looks for the process.)
type Life struct {
	Word   string
	PID    int
	Ticks  uint64
	Boot   string
	Core   int
	Status unix.WaitStatus
	Pipe   uint64
}

// The words of supervise/proc.
const (
	LifeMaking    = "making"        // ./run is about to be made
	LifeRun       = "run"           // PID is ./run
	LifeEnded     = "ended"         // ./run has ended, ./finish was not begun
	LifeFinishing = "making-finish" // ./finish is about to be made
	LifeFinish    = "finish"        // PID is ./finish
	LifeDown      = "down"          // nothing runs
)

// lifeSize is what every line is filled up to, so that one overwrites another.
const lifeSize = 128

// lifePID is where in the line a process that is being made writes its pid; no word before it is so long.
const lifePID = lifeSize - 8

func (l Life) bytes() (b [lifeSize]byte) {
	copy(b[:], blank)
	at := append(append(b[:0], l.Word...), ' ')
	at = append(strconv.AppendInt(at, int64(l.PID), 10), ' ')
	at = append(strconv.AppendUint(at, l.Ticks, 10), ' ')
	at = append(append(at, l.Boot...), ' ')
	at = append(strconv.AppendInt(at, int64(l.Core), 10), ' ')
	at = append(strconv.AppendUint(at, uint64(uint32(l.Status)), 10), ' ')
	strconv.AppendUint(at, l.Pipe, 10)
	return b
}

// blank is a record that tells nothing yet.
var blank = strings.Repeat(" ", lifeSize-1) + "\n"

// parseLife decodes supervise/proc; what is cut short or garbage is refused.
func parseLife(b []byte) (Life, bool) {
	if len(b) != lifeSize || b[lifeSize-1] != '\n' {
		return Life{}, false
	}
	made := string(b[lifePID : lifePID+4])
	f := strings.Fields(string(b[:lifePID]))
	if len(f) != 7 {
		return Life{}, false
	}
	pid, err1 := strconv.Atoi(f[1])
	ticks, err2 := strconv.ParseUint(f[2], 10, 64)
	core, err3 := strconv.Atoi(f[4])
	status, err4 := strconv.ParseUint(f[5], 10, 32)
	pipe, err5 := strconv.ParseUint(f[6], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil || pid < 0 || core < 0 {
		return Life{}, false
	}
	switch f[0] {
	case LifeRun, LifeFinish:
		if pid == 0 {
			return Life{}, false
		}
	case LifeMaking, LifeFinishing:
		if made != "    " {
			if pid = int(int32(binary.NativeEndian.Uint32([]byte(made)))); pid <= 0 {
				return Life{}, false
			}
		}
	case LifeEnded, LifeDown:
	default:
		return Life{}, false
	}
	return Life{f[0], pid, ticks, f[3], core, unix.WaitStatus(status), pipe}, true
}

// writeLife overwrites the file at path, relative to at, in place: one write
// of one size, so that a kill leaves the old line or the new one.
func writeLife(at int, path string, l Life) error {
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
func writeMaking(at int, path string, l Life) (m making, err error) {
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
func (m making) write(path string, l Life) error {
	line := l.bytes()
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

// readLife reads the file at path; ok is false where it is absent, garbage, or
// of an earlier boot.
func readLife(at int, path string) (l Life, ok bool) {
	fd, err := open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Life{}, false
	}
	defer unix.Close(fd)
	return readLifeFrom(fd)
}

// readSettled is readLife, or errBeingMade where the record may still change.
func readSettled(at int, path string) (l Life, ok bool, err error) {
	fd, err := open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Life{}, false, nil
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return Life{}, false, errBeingMade
	}
	l, ok = readLifeFrom(fd)
	return l, ok, nil
}

func readLifeFrom(fd int) (l Life, ok bool) {
	var b [lifeSize + 1]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return Life{}, false
	}
	l, ok = parseLife(b[:n])
	return l, ok && l.Boot == bootID()
}

// bootID names this run of the kernel; "-" where /proc is not there.
var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "-"
	}
	return strings.TrimSpace(string(b))
})

// ticksNow is the time since boot in the clock ticks of /proc/PID/stat, which
// are of 10 ms on every Linux.
func ticksNow() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ticksOf(ts)
}

func ticksOf(ts unix.Timespec) uint64 { return uint64(ts.Sec)*100 + uint64(ts.Nsec)/1e7 }

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	comm  string
	state byte
	ppid  int
	ticks uint64
	ws    unix.WaitStatus // of a zombie; 0 for who may not know it
}

// statOf reads /proc/PID/stat.
func statOf(pid int) (procStat, bool) {
	fd, err := open(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY, 0)
	if err != nil {
		return procStat{}, false
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil || n <= 0 {
		return procStat{}, false
	}
	return parseStat(buf[:n])
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
	st := procStat{string(b[l+1 : r]), f[0][0], ppid, ticks, 0}
	if len(f) > 49 {
		code, _ := strconv.ParseUint(string(f[49]), 10, 16)
		st.ws = unix.WaitStatus(code)
	}
	return st, err1 == nil && err2 == nil
}
