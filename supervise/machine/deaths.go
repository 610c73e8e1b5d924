package machine

import (
	"time"

	"runitbox/supervise/state"
)

// Rules are what a service says of what follows the ends of its ./run. The zero Rules are
// those of a service that says nothing.
type Rules struct {
	Deaths       int           // max-death-tally: how many ends are remembered; 0: none
	GiveUpAfter  int           // give-up: more ends than that; 0: it is never given up for that
	GiveUpWithin time.Duration // within that
	BackoffMin   time.Duration // backoff: the first rest
	BackoffMax   time.Duration // and the longest; 0: a rest is as runsv's
}

// Deaths are the last ends of a service that has Rules.
type Deaths struct {
	Times []time.Time
	Pause time.Duration // the last rest by back-off
}

// End is how a process has ended, as far as that decides what follows.
type End struct {
	Finish  bool // it is ./run, and there is a ./finish that is to run
	Refuses bool // it is ./finish, and has exited 125
	Told    bool // ./run was told to end, which is no failure
	At      time.Time
	Lived   time.Duration // since ./run began
}

// After takes an end, and says which event it is: the first that holds.
func (d *Deaths) After(s Status, e End, r Rules) Event {
	failed := s.Want == state.WantUp && !e.Told
	switch {
	case e.Finish:
		return Died
	case e.Refuses:
		*d = Deaths{}
		return Refused
	case failed && d.tooMany(r, e.At):
		*d = Deaths{}
		return TooMany
	case failed && d.backOff(r, e.Lived):
		return GoneBackoff
	}
	d.Pause = 0
	if e.Lived < time.Second {
		return GoneSoon
	}
	return Gone
}

// Rest is how long a service rests behind its last end, where it does.
func (d *Deaths) Rest() time.Duration {
	if d.Pause > 0 {
		return d.Pause
	}
	return time.Second
}

// tooMany takes an end, and says whether the service is to be given up with it.
func (d *Deaths) tooMany(r Rules, now time.Time) bool {
	if r.Deaths == 0 {
		return false
	}
	d.Times = append(d.Times, now)
	if n := len(d.Times) - max(r.Deaths, r.GiveUpAfter+1); n > 0 {
		d.Times = d.Times[n:]
	}
	last := len(d.Times) - 1
	return r.GiveUpAfter > 0 && last >= r.GiveUpAfter && now.Sub(d.Times[last-r.GiveUpAfter]) <= r.GiveUpWithin
}

// backOff sets the pause behind a life of that length, and says whether there is one of
// the service's own.
func (d *Deaths) backOff(r Rules, lived time.Duration) bool {
	if r.BackoffMax == 0 {
		return false
	}
	if d.Pause *= 2; d.Pause == 0 || lived >= r.BackoffMax {
		d.Pause = r.BackoffMin
	}
	d.Pause = min(d.Pause, r.BackoffMax)
	return true
}
