// Package supervise keeps service directories as their operator wants them.
// The rules are a table in machine.go; the files under supervise/ are the
// contract with everything made for runit.
package supervise

import (
	"encoding/binary"
	"fmt"
	"time"
)

// taiEpoch is the TAI64 label of the Unix epoch as runit counts it: 2^62 and
// the ten seconds that TAI was ahead in 1970, without leap seconds since.
const taiEpoch = 1<<62 + 10

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

// Bytes encodes r.
func (r Record) Bytes() []byte {
	b := make([]byte, 0, StatusSize)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Since.Unix()+taiEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Since.Nanosecond()/1000*1000+500))
	b = binary.LittleEndian.AppendUint32(b, uint32(r.PID))
	want := byte('d')
	if r.Want == WantUp {
		want = 'u'
	}
	return append(b, bit(r.Paused), want, bit(r.Termed), byte(r.State))
}

// ParseRecord decodes supervise/status. Anything but 20 bytes is an error.
func ParseRecord(b []byte) (Record, error) {
	if len(b) != StatusSize {
		return Record{}, fmt.Errorf("bad format")
	}
	r := Record{
		Since:  time.Unix(int64(binary.BigEndian.Uint64(b)-taiEpoch), int64(binary.BigEndian.Uint32(b[8:]))),
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

// Text is the line of supervise/stat.
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
