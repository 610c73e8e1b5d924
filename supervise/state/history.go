package state

import (
	"bytes"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ended is the end of one ./run, as supervise/history tells it, or that one which runs
// has said that it is ready. The file has a line of EndedSize bytes for each of the last
// ends, in any order: the next one overwrites the oldest. A line is of fields parted by
// single blanks,
//
//	TIME LIVED STATUS MONOTONIC READY MEMORY CPU WHY
//
// when it ended and how long it had run, its wait status, when it ended by the monotonic
// clock, after what time it was ready, the most memory that it had in KiB, the processor
// time that it used in microseconds, and "oom" where the kernel has killed it for lack
// of memory, "told" where it had been told to end. All times but CPU are in nanoseconds, TIME since 1970. What is not known or
// not so is "-"; so is STATUS in the line of a ./run that runs and is ready, whose end
// overwrites it: its TIME is when it became that. Behind them the line is filled up with
// blanks.
type Ended struct {
	At        time.Time
	Lived     time.Duration
	Status    unix.WaitStatus
	Runs      bool // it has not ended, but is ready
	Monotonic time.Duration
	Ready     time.Duration // from its start; 0: it has not said so
	Memory    int64         // KiB; 0: neither this nor CPU is known
	CPU       time.Duration
	OOM       bool
	Told      bool
}

// EndedSize is how long a line of supervise/history is, and EndedMost how many there are
// where the service does not say it.
const (
	EndedSize = 128
	EndedMost = 20
)

// StatusUnknown stands for the wait status of a process whose end nobody was told; no
// real status has its value.
const StatusUnknown unix.WaitStatus = 0xffff0000

// EndedLimit is how long supervise/history can be, for as many ends as a service may
// have remembered.
const EndedLimit = 4096 * EndedSize

// Bytes is e as a line.
func (e Ended) Bytes() (b [EndedSize]byte) {
	for i := range b {
		b[i] = ' '
	}
	b[EndedSize-1] = '\n'
	at := b[:0]
	number := func(n int64) {
		if n <= 0 {
			at = append(at, '-')
		} else {
			at = strconv.AppendInt(at, n, 10)
		}
		at = append(at, ' ')
	}
	number(e.At.UnixNano())
	number(int64(e.Lived))
	if e.Runs {
		number(0)
	} else {
		at = append(strconv.AppendUint(at, uint64(e.Status), 10), ' ')
	}
	number(int64(e.Monotonic))
	number(int64(e.Ready))
	number(e.Memory)
	number(int64(e.CPU / time.Microsecond))
	word := "-"
	switch {
	case e.OOM:
		word = "oom"
	case e.Told:
		word = "told"
	}
	copy(b[len(at):], word)
	return b
}

// ParseHistory is what b, the whole of supervise/history, tells, the oldest end first. A
// line that is garbage is left out.
func ParseHistory(b []byte) (all []Ended) {
	for line := range bytes.Lines(b) {
		if e, ok := parseEnded(string(line)); ok {
			all = append(all, e)
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	return all
}

func parseEnded(line string) (e Ended, ok bool) {
	f := strings.Fields(line)
	if len(line) != EndedSize || len(f) != 8 {
		return Ended{}, false
	}
	var n [7]int64
	for i := range n {
		if f[i] == "-" {
			continue
		}
		var err error
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil || n[i] < 0 {
			return Ended{}, false
		}
	}
	return Ended{At: time.Unix(0, n[0]), Lived: time.Duration(n[1]), Status: unix.WaitStatus(n[2]), Runs: f[2] == "-", Monotonic: time.Duration(n[3]),
		Ready: time.Duration(n[4]), Memory: n[5], CPU: time.Duration(n[6]) * time.Microsecond, OOM: f[7] == "oom", Told: f[7] == "told"}, true
}

// NextEnded is which line of supervise/history, whose whole is b, the next end overwrites:
// that of the ./run that runs, one behind the last, or, where there are most of them, the
// oldest.
func NextEnded(b []byte, most int) int {
	n := len(b) / EndedSize
	next, oldest := n, int64(0)
	for i := range n {
		e, ok := parseEnded(string(b[i*EndedSize : (i+1)*EndedSize]))
		if !ok || e.Runs {
			return i
		}
		if when := e.At.UnixNano(); n >= most && (next == n || when < oldest) {
			next, oldest = i, when
		}
	}
	return next
}

// A life that ends by itself is a short one up to shortLife; a program that ends well may
// have done what it was to do, unless it took no more than idleLife. What was started
// again later than longRest after its end has a new beginning.
const (
	shortLife = 30 * time.Second
	idleLife  = 3 * time.Second
	longRest  = 5 * time.Minute
)

// Flaps is how many of the last ends, the newest last, make up a loop of short lives that
// a service is in, whose status is rec; 0 if it is in none.
func Flaps(ends []Ended, rec Record, now time.Time) (n int) {
	if rec.Want == WantDown || rec.State == Run && now.Sub(rec.Since) >= shortLife {
		return 0
	}
	next := rec.Since
	for _, e := range slices.Backward(ends) {
		if e.Told || e.Lived >= shortLife || e.Status == 0 && e.Lived >= idleLife || next.Sub(e.At) > longRest {
			break
		}
		n++
		next = e.At.Add(-e.Lived)
	}
	if n < 2 {
		return 0
	}
	return n
}
