package state

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is what supervise/proc tells of a service's process: enough for the
// next core to find it again, or to know how it ended. It is one line of
// fields parted by single blanks, written whole by one write:
//
//	WORD PID TICKS WORLD PLACE TREE CORE STATUS PIPE
//
// WORD is one of the words below. PID is the process (0 while it is being
// made, see below), TICKS its start in clock ticks since boot as in field 22 of
// /proc/PID/stat (while it is being made: the time before that), WORLD and PLACE
// where it was written, TREE by which supervisor, and after which other (all three in
// hexadecimal digits, 16 each; of TREE eight are a hash of that supervisor's process, and
// eight the same of the first in the line of those that took over from one another, which
// are not there in older records), CORE the process that wrote it, STATUS
// the wait status of the last ./run, for ./finish, PIPE the inode of the pipe to the
// log service that ./run writes to. The last character of the line is the standing
// order, as the command that gives it: u, d, o or x. It is written by itself when it
// changes, before it is acted on. The character before that tells readiness in the same
// way: n for a ./run that has yet to say that it is ready, r for one that has; a blank
// where the service does not say it. The file is written by the core before and
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
type Process struct {
	Word   string
	PID    int
	Ticks  uint64
	World  World
	Place  Place
	Core   int
	Pipe   uint64
	Tree   uint32
	Line   uint32 // the first tree of those that have taken over from one another, down to Tree
	Status unix.WaitStatus
	Want   Want
	Ready  Readiness // of ./run, where the service tells that
	Former bool      // it is of the format before, which is only read: WORD PID TICKS BOOT CORE STATUS PIPE
}

// World is where process ids mean what a record says: a run of the kernel and a pid
// namespace in it. What cannot be told, where /proc is not there or hides it, is 0.
type World struct {
	Boot  uint32 // a hash of the boot id
	Space uint32 // two hashes of 16 bits of which process 1 it has
}

// Place is what a record is about: hashes of the service directory and of the file
// that is locked for it, by device, inode and time of birth. A copy of a directory,
// a snapshot of it and what is restored from a backup is another place; a bind mount
// and the directory under another name is the same.
type Place struct{ Dir, Lock uint32 }

// The words of supervise/proc.
const (
	ProcMaking    = "making"        // ./run is about to be made
	ProcRun       = "run"           // PID is ./run
	ProcEnded     = "ended"         // ./run has ended, ./finish was not begun
	ProcFinishing = "making-finish" // ./finish is about to be made
	ProcFinish    = "finish"        // PID is ./finish
	ProcDown      = "down"          // nothing runs
	ProcFailed    = "failed"        // nothing runs, and the service was given up
	ProcHosted    = "hosted"        // PID runs this log service and others; STATUS is its number there
	ProcWaits     = "waits"         // nothing runs until what the service needs is ready
)

// ProcSize is what every line is filled up to, so that one overwrites another.
const ProcSize = 128

// ProcPID is where in the line a process that is being made writes its pid, and
// ProcWant where the standing order is; what is before them is never so long.
const (
	ProcPID  = ProcSize - 8
	ProcWant = ProcSize - 2
	// ProcReady is where readiness is.
	ProcReady = ProcSize - 3
)

// Readiness is whether ./run has said that it is ready, as the record tells it.
type Readiness byte

// What is known of it.
const (
	NotSaid  Readiness = 0   // the service does not say it
	NotReady Readiness = 'n' // it is to say it, and has not
	IsReady  Readiness = 'r'
)

// Byte is the readiness as a character of the record.
func (r Readiness) Byte() byte {
	if r == NotSaid {
		return ' '
	}
	return byte(r)
}

// Number is that of a log service in the process that it shares with others; 0 where it has
// one of its own.
func (p Process) Number() int {
	if p.Word != ProcHosted {
		return 0
	}
	return int(p.Status)
}

// unwritten is what the four bytes at ProcPID are while no process has written there.
const unwritten = "    "

// Blank is a record that tells nothing yet.
var Blank = strings.Repeat(" ", ProcSize-1) + "\n"

// Bytes is p as the whole of supervise/proc.
func (p Process) Bytes() (b [ProcSize]byte) {
	copy(b[:], Blank)
	at := append(append(b[:0], p.Word...), ' ')
	at = append(strconv.AppendInt(at, int64(p.PID), 10), ' ')
	at = append(strconv.AppendUint(at, p.Ticks, 10), ' ')
	at = appendHex(appendHex(at, p.World.Boot), p.World.Space)
	at = appendHex(appendHex(append(at, ' '), p.Place.Dir), p.Place.Lock)
	at = append(appendHex(appendHex(append(at, ' '), p.Tree), p.Line), ' ')
	at = append(strconv.AppendInt(at, int64(p.Core), 10), ' ')
	at = append(strconv.AppendUint(at, uint64(uint32(p.Status)), 10), ' ')
	strconv.AppendUint(at, p.Pipe, 10)
	b[ProcWant] = p.Want.Command()
	b[ProcReady] = p.Ready.Byte()
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

// ParseProcess is the record that b, the whole of supervise/proc, tells; what is cut
// short or garbage is refused.
func ParseProcess(b []byte) (p Process, ok bool) {
	if len(b) != ProcSize || b[ProcSize-1] != '\n' {
		return Process{}, false
	}
	if p, ok = parseFields(strings.Fields(string(b[:ProcPID])), b[ProcWant]); !ok {
		return Process{}, false
	}
	if r := Readiness(b[ProcReady]); r == NotReady || r == IsReady {
		p.Ready = r
	}
	made := string(b[ProcPID : ProcPID+4])
	if making := p.Word == ProcMaking || p.Word == ProcFinishing; making && made != unwritten {
		if p.PID = int(int32(binary.NativeEndian.Uint32([]byte(made)))); p.PID <= 0 {
			return Process{}, false
		}
	}
	return p, true
}

// parseFields is the record of the fields of a line and its standing order, which the
// format before did not have.
func parseFields(f []string, want byte) (p Process, ok bool) {
	switch len(f) {
	case 7:
		p.Former, p.World.Boot = true, Hash(f[3])
		f = append(f[:3:3], f[4:]...)
	case 9:
		if ok = p.parseOrigin(f[3], f[4], f[5]); ok {
			p.Want, ok = WantOf(want)
		}
		if !ok {
			return Process{}, false
		}
		f = append(f[:3:3], f[6:]...)
	default:
		return Process{}, false
	}
	var status uint64
	var errs [5]error
	p.Word = f[0]
	p.PID, errs[0] = strconv.Atoi(f[1])
	p.Ticks, errs[1] = strconv.ParseUint(f[2], 10, 64)
	p.Core, errs[2] = strconv.Atoi(f[3])
	status, errs[3] = strconv.ParseUint(f[4], 10, 32)
	p.Pipe, errs[4] = strconv.ParseUint(f[5], 10, 64)
	p.Status = unix.WaitStatus(status)
	if errs != [5]error{} || p.PID < 0 || p.Core < 0 {
		return Process{}, false
	}
	switch p.Word {
	case ProcRun, ProcFinish, ProcHosted:
		return p, p.PID != 0
	case ProcMaking, ProcFinishing, ProcEnded, ProcDown, ProcFailed, ProcWaits:
		return p, true
	}
	return Process{}, false
}

// parseOrigin takes the fields that say where and by whom the record was written.
func (p *Process) parseOrigin(world, place, tree string) (ok bool) {
	if p.World.Boot, p.World.Space, ok = parseHex(world); !ok {
		return false
	}
	if p.Place.Dir, p.Place.Lock, ok = parseHex(place); !ok {
		return false
	}
	if len(tree) > 8 {
		p.Tree, p.Line, ok = parseHex(tree)
		return ok
	}
	n, err := strconv.ParseUint(tree, 16, 32)
	p.Tree, p.Line = uint32(n), uint32(n)
	return err == nil
}

// parseHex takes a field of eight digits for each of its results apart.
func parseHex(field string) (a, b uint32, ok bool) {
	if len(field) != 16 {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(field, 16, 64)
	return uint32(n >> 32), uint32(n), err == nil
}

// tagged is what a tag of a record begins with.
const tagged = "="

// Tag is p in one word, for a record that could not be written: the scanner keeps it
// as the name of a descriptor. The prefix says of what in the service it is the record.
func (p Process) Tag(prefix string) string {
	b := p.Bytes()
	fields := append(strings.Fields(string(b[:ProcPID])), string(p.Want.Command()))
	return tagged + prefix + ":" + strings.Join(fields, ":")
}

// ParseTag is what such a tag tells; ok is false where it is none.
func ParseTag(tag string) (prefix string, p Process, ok bool) {
	text, found := strings.CutPrefix(tag, tagged)
	f := strings.Split(text, ":")
	last := len(f) - 1
	if !found || last < 1 || len(f[last]) != 1 {
		return "", Process{}, false
	}
	p, ok = parseFields(f[1:last], f[last][0])
	return f[0], p, ok
}

// Hash is FNV-1a, and never 0.
func Hash(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return max(h, 1)
}
