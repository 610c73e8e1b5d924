package state

import (
	"bytes"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ended is the end of one ./run, as supervise/history tells it. The file has a line of
// EndedSize bytes for each of the last EndedMost ends, in any order: the next one
// overwrites the oldest. A line is of fields parted by single blanks,
//
//	TIME LIVED STATUS
//
// when it ended, in nanoseconds since 1970, how long it had run, in nanoseconds, and its
// wait status; behind them it is filled up with blanks.
type Ended struct {
	At     time.Time
	Lived  time.Duration
	Status unix.WaitStatus
}

// EndedSize is how long a line of supervise/history is, and EndedMost how many there are.
const (
	EndedSize = 64
	EndedMost = 20
)

// Bytes is e as a line.
func (e Ended) Bytes() (b [EndedSize]byte) {
	for i := range b {
		b[i] = ' '
	}
	b[EndedSize-1] = '\n'
	at := append(strconv.AppendInt(b[:0], e.At.UnixNano(), 10), ' ')
	at = append(strconv.AppendInt(at, int64(e.Lived), 10), ' ')
	strconv.AppendUint(at, uint64(uint32(e.Status)), 10)
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
	if len(line) != EndedSize || len(f) != 3 {
		return Ended{}, false
	}
	at, err1 := strconv.ParseInt(f[0], 10, 64)
	lived, err2 := strconv.ParseInt(f[1], 10, 64)
	status, err3 := strconv.ParseUint(f[2], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil || lived < 0 {
		return Ended{}, false
	}
	return Ended{time.Unix(0, at), time.Duration(lived), unix.WaitStatus(status)}, true
}

// NextEnded is which line of supervise/history, whose whole is b, the next end overwrites:
// one behind the last, or the oldest.
func NextEnded(b []byte) int {
	n := len(b) / EndedSize
	if n < EndedMost {
		return n
	}
	oldest, at := 0, int64(0)
	for i := range EndedMost {
		e, ok := parseEnded(string(b[i*EndedSize : (i+1)*EndedSize]))
		if !ok {
			return i
		}
		if when := e.At.UnixNano(); i == 0 || when < at {
			oldest, at = i, when
		}
	}
	return oldest
}
