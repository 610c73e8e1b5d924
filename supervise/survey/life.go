package survey

import (
	"time"

	"runitbox/supervise/client"
	"runitbox/supervise/state"
)

// End is the end of one life of a service. What is not known of it is 0.
type End = state.Ended

// Life is what is known of the past of a service.
type Life struct {
	Ends     []End         // the last ones, the newest last
	Restarts int           // ends in the last hour, of the last ones; -1 where nobody notes them
	Flaps    int           // how many of the last ends make up the loop that it is in; 0: it is in none
	Ready    time.Duration // of what runs: after which time it was ready; 0: it has not said so
}

// Last is the newest end.
func (l Life) Last() (e End, known bool) {
	if len(l.Ends) == 0 {
		return End{}, false
	}
	return l.Ends[len(l.Ends)-1], true
}

// lifeOf is the past of the service that r has reached, whose state is rec. Without a
// history the record tells the end of a service that is down.
func lifeOf(r *client.Remote, rec state.Record, p state.Process) Life {
	l := Life{Restarts: -1}
	now := time.Now()
	if b, err := r.History(); err == nil {
		l.Restarts = 0
		for _, e := range state.ParseHistory(b) {
			if e.Runs {
				if born := e.At.Add(-e.Lived); rec.State == state.Run && rec.Since.Sub(born).Abs() < time.Second {
					l.Ready = e.Ready
				}
				continue
			}
			l.Ends = append(l.Ends, e)
			if now.Sub(e.At) < time.Hour {
				l.Restarts++
			}
		}
		if len(l.Ends) > 0 {
			l.Flaps = state.Flaps(l.Ends, rec, now)
			return l
		}
	}
	if rec.State == state.Run {
		return l
	}
	// The record of one that was never started has the status 0 too.
	ended := p.Word == state.ProcEnded || p.Word == state.ProcFinish || p.Word == state.ProcFailed || p.Word == state.ProcDown && (p.Status != 0 || rec.Want == state.WantUp)
	if ended {
		l.Ends = []End{{At: rec.Since, Status: p.Status}}
	}
	return l
}
