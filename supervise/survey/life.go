package survey

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// End is the end of one life of a service.
type End struct {
	At     time.Time
	Status unix.WaitStatus
	Lived  time.Duration // 0 where that is not known
}

// Life is what is known of the past of a service.
//
// A core that keeps a history in its record is to be read here: all that tells of
// ends, restarts and flapping goes by this value.
type Life struct {
	Ends     []End // the last ones, the newest last
	Restarts int   // in the last hour, -1 where nobody counts them
}

// Last is the newest end.
func (l Life) Last() (e End, known bool) {
	if len(l.Ends) == 0 {
		return End{}, false
	}
	return l.Ends[len(l.Ends)-1], true
}

// lifeOf is the past of the service at path, whose state is rec. Without a history
// the record tells the end of a service that is down.
func lifeOf(path string, rec state.Record) Life {
	l := Life{Restarts: -1}
	if rec.State == state.Run {
		return l
	}
	p, ok := recordOf(path)
	// The record of one that was never started has the status 0 too.
	ended := p.Word == state.ProcEnded || p.Word == state.ProcFinish || p.Word == state.ProcFailed || p.Word == state.ProcDown && (p.Status != 0 || rec.Want == state.WantUp)
	if ok && ended {
		l.Ends = []End{{At: rec.Since, Status: p.Status}}
	}
	return l
}
