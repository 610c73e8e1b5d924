// Package state is the byte formats of what a supervisor tells of a service:
// supervise/status and the words of supervise/stat, as runit laid them out, and
// supervise/proc, by which the next supervisor finds its process again.
// It is pure: it opens no file, starts no process and reads no clock. Who holds
// the files is said in package supervise.
package state

import (
	"encoding/binary"
	"strings"
	"time"

	"runitbox/fmt"
)

// TAIEpoch is the TAI64 label of the Unix epoch as runit counts it: 2^62 and
// the ten seconds that TAI was ahead in 1970, without leap seconds since.
const TAIEpoch = 1<<62 + 10

// State is where a service is in its life. The values are those of the last
// byte of supervise/status.
type State byte

// The states of a service.
const (
	Down State = iota
	Run
	Finish
)

// String is the state's word in supervise/stat and in sv's answers.
func (s State) String() string {
	switch s {
	case Down:
		return "down"
	case Run:
		return "run"
	case Finish:
		return "finish"
	}
	return fmt.Sprintf("state %d", byte(s))
}

// Want is the standing order of a service.
type Want byte

// The standing orders. On disk once and exit are told as down.
const (
	WantUp      Want = iota
	WantDown         // nothing shall run
	WantOnce         // what runs may run to its end, and is not started again
	WantExit         // nothing shall run, and the supervisor shall let go
	WantUnknown      // read from a status that tells neither up nor down
)

// commands are the bytes in supervise/control that give each standing order.
const commands = "udox"

// Command is the byte of the command that gives w, which is not WantUnknown.
func (w Want) Command() byte { return commands[w] }

// WantOf is the standing order that a command byte gives; ok is false where it
// gives none, and w is then WantUp.
func WantOf(b byte) (w Want, ok bool) {
	i := strings.IndexByte(commands, b)
	return Want(max(i, 0)), i >= 0
}

// StatusSize is the length of supervise/status in bytes; a reader refuses any
// other.
const StatusSize = 20

// Record is what supervise/status says of a service, as runit(8) laid it out
// after daemontools: TAI64N, pid, paused, want, term, state.
type Record struct {
	Since  time.Time // the last change to run or to down; microseconds are kept
	PID    int       // 0 where no process is
	Paused bool
	Want   Want
	Termed bool // a TERM was sent to the process that runs
	State  State
}

// Bytes is r as the StatusSize bytes of supervise/status. Once and exit are
// written as down; the time is cut to microseconds, and half of one is added.
func (r Record) Bytes() []byte {
	b := make([]byte, 0, StatusSize)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Since.Unix()+TAIEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Since.Nanosecond()/1000*1000+500))
	b = binary.LittleEndian.AppendUint32(b, uint32(r.PID))
	want := byte('d')
	if r.Want == WantUp {
		want = 'u'
	}
	return append(b, bit(r.Paused), want, bit(r.Termed), byte(r.State))
}

// ParseRecord is the record that b, the whole of supervise/status, tells. Any
// length but StatusSize is an error.
func ParseRecord(b []byte) (Record, error) {
	if len(b) != StatusSize {
		return Record{}, fmt.Errorf("bad format")
	}
	r := Record{
		Since:  time.Unix(int64(binary.BigEndian.Uint64(b)-TAIEpoch), int64(binary.BigEndian.Uint32(b[8:]))),
		PID:    int(binary.LittleEndian.Uint32(b[12:])),
		Paused: b[16] != 0,
		Want:   WantUnknown,
		Termed: b[18] != 0,
		State:  State(b[19]),
	}
	switch b[17] {
	case 'u':
		r.Want = WantUp
	case 'd':
		r.Want = WantDown
	}
	return r, nil
}

// Text is the line of supervise/stat, with its newline.
func (r Record) Text() string {
	s := r.State.String()
	if r.Paused {
		s += ", paused"
	}
	if r.Termed {
		s += ", got TERM"
	}
	if r.State != Down {
		switch r.Want {
		case WantDown, WantOnce:
			s += ", want down"
		case WantExit:
			s += ", want exit"
		}
	}
	return s + "\n"
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
