package supervise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// Life is what supervise/proc tells of a service's process: enough for the
// next core to find it again, or to know how it ended. It is one line of
// fields parted by single blanks, written whole by one write:
//
//	WORD PID TICKS WORLD PLACE TREE CORE STATUS PIPE
//
// WORD is one of the Life words below. PID is the process (0 while it is being
// made, see below), TICKS its start in clock ticks since boot as in field 22 of
// /proc/PID/stat (while it is being made: the time before that), WORLD and PLACE
// where it was written, TREE by whose life (all three in hexadecimal digits, see
// World, Place and treeOf), CORE the process that wrote it, STATUS the wait status of
// the last ./run, for ./finish, PIPE the inode of the pipe to the log service that
// ./run writes to. The last character of the line is the standing order, as the
// command that gives it: u, d, o or x. It is written by itself when it changes, before
// it is acted on. The file is written by the core before and
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
	World  World
	Place  Place
	Core   int
	Pipe   uint64
	Tree   uint32
	Status unix.WaitStatus
	Want   Want
	former bool // it is of the format before: WORD PID TICKS BOOT CORE STATUS PIPE
}

// The words of supervise/proc.
const (
	LifeMaking    = "making"        // ./run is about to be made
	LifeRun       = "run"           // PID is ./run
	LifeEnded     = "ended"         // ./run has ended, ./finish was not begun
	LifeFinishing = "making-finish" // ./finish is about to be made
	LifeFinish    = "finish"        // PID is ./finish
	LifeDown      = "down"          // nothing runs
	LifeHosted    = "hosted"        // PID runs this log service and others; STATUS is its number there
)

// lifeSize is what every line is filled up to, so that one overwrites another.
const lifeSize = 128

// lifePID is where in the line a process that is being made writes its pid, and
// lifeWant where the standing order is; what is before them is never so long.
const (
	lifePID  = lifeSize - 8
	lifeWant = lifeSize - 2
)

func (l Life) bytes() (b [lifeSize]byte) {
	copy(b[:], blank)
	at := append(append(b[:0], l.Word...), ' ')
	at = append(strconv.AppendInt(at, int64(l.PID), 10), ' ')
	at = append(strconv.AppendUint(at, l.Ticks, 10), ' ')
	at = appendHex(appendHex(at, l.World.Boot), l.World.Space)
	at = appendHex(appendHex(append(at, ' '), l.Place.Dir), l.Place.Lock)
	at = append(appendHex(append(at, ' '), l.Tree), ' ')
	at = append(strconv.AppendInt(at, int64(l.Core), 10), ' ')
	at = append(strconv.AppendUint(at, uint64(uint32(l.Status)), 10), ' ')
	strconv.AppendUint(at, l.Pipe, 10)
	b[lifeWant] = l.Want.Command()
	return b
}

// appendHex appends eight digits.
func appendHex(b []byte, n uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}

// parseHex takes a field of eight digits for each of its results apart.
func parseHex(field string) (a, b uint32, ok bool) {
	if len(field) != 16 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(field, 16, 64)
	return uint32(n >> 32), uint32(n), err == nil
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
	l := Life{former: len(f) == 7}
	var ok1, ok2, ok3 bool
	switch len(f) {
	case 7:
		l.World.Boot, ok1, ok2, ok3 = hash(f[3]), true, true, true
		f = append([]string{f[0], f[1], f[2], "", "", ""}, f[4:]...)
	case 9:
		var tree uint64
		var err error
		l.World.Boot, l.World.Space, ok1 = parseHex(f[3])
		l.Place.Dir, l.Place.Lock, ok2 = parseHex(f[4])
		tree, err = strconv.ParseUint(f[5], 16, 32)
		l.Tree, ok3 = uint32(tree), err == nil
		if ok3 {
			l.Want, ok3 = state.WantOf(b[lifeWant])
		}
	}
	if !ok1 || !ok2 || !ok3 {
		return Life{}, false
	}
	pid, err1 := strconv.Atoi(f[1])
	ticks, err2 := strconv.ParseUint(f[2], 10, 64)
	core, err3 := strconv.Atoi(f[6])
	status, err4 := strconv.ParseUint(f[7], 10, 32)
	pipe, err5 := strconv.ParseUint(f[8], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || err5 != nil || pid < 0 || core < 0 {
		return Life{}, false
	}
	switch f[0] {
	case LifeRun, LifeFinish, LifeHosted:
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
	l.Word, l.PID, l.Ticks, l.Core, l.Status, l.Pipe = f[0], pid, ticks, core, unix.WaitStatus(status), pipe
	return l, true
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

// tag is a record that could not be written, as the scanner keeps it among the names
// of descriptors.
func (l Life) tag(prefix string) string {
	b := l.bytes()
	fields := append(strings.Fields(string(b[:lifePID])), string(l.Want.Command()))
	return lifeTag + prefix + ":" + strings.Join(fields, ":")
}

// lifeTag is what such a tag begins with.
const lifeTag = "="

// lifeOfTag decodes it.
func lifeOfTag(tag string) (prefix string, l Life, ok bool) {
	text, found := strings.CutPrefix(tag, lifeTag)
	prefix, text, ok = strings.Cut(text, ":")
	at := strings.LastIndexByte(text, ':')
	if !found || !ok || at < 0 || at > lifePID || at+2 != len(text) {
		return "", Life{}, false
	}
	b := []byte(blank)
	copy(b, strings.ReplaceAll(text[:at], ":", " "))
	b[lifeWant] = text[at+1]
	l, ok = parseLife(b)
	return prefix, l, ok
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

// writeWant overwrites the standing order in the record at path. Where there is no
// record it is an error.
func writeWant(at int, path string, w Want) error {
	fd, err := open(at, path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte{w.Command()}, lifeWant); err != nil {
		return fmt.Errorf("unable to write %s: %w", path, err)
	}
	return nil
}

// readLife reads the file at path; ok is false where it is absent or garbage. What
// cannot be read at present is an error.
func readLife(at int, path string) (l Life, ok bool, err error) {
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
func readSettled(at int, path string) (l Life, ok bool, err error) {
	fd, err := open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO: // the last two are no files
		return Life{}, false, nil
	default:
		return Life{}, false, fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return Life{}, false, errBeingMade
	}
	return readLifeFrom(fd, path)
}

func readLifeFrom(fd int, path string) (l Life, ok bool, err error) {
	var b [lifeSize + 1]byte
	n, err := unix.Read(fd, b[:])
	if err == unix.EISDIR {
		return Life{}, false, nil
	}
	if err != nil {
		return Life{}, false, fmt.Errorf("unable to read %s: %w", path, err)
	}
	l, ok = parseLife(b[:n])
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
