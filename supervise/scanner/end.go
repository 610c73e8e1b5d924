package scanner

import (
	"time"

	"golang.org/x/sys/unix"
)

// ending is the end of a scanner: what it returns, and when at the latest.
type ending struct {
	status   int
	deadline time.Time
	begun    time.Time
}

// end ends the scanner: at once where the core knows what it is to do without it.
// Process 1 stops its tree first.
func (s *Scanner) end(status int, stops bool) {
	switch {
	case s.stop != nil:
		return
	case stops:
		s.speakAside() // that of the tree's log service is to end
		s.stop = &ending{status, time.Now().Add(s.StopTime), time.Now()}
	case s.leaving != nil && s.leaving.status >= status:
		return
	default:
		s.leaving = &ending{status, time.Now().Add(leaveTime), time.Now()}
	}
	if status != 0 && !stops {
		for _, e := range s.entries {
			if e.dropped = true; s.idle[e] {
				s.forget(e)
			} else {
				s.enqueue(e)
			}
		}
	}
	if s.core == 0 { // no pause: there is little time
		s.startCore()
	}
}

// leaveTime is how long it waits at the end until the core takes what it is told.
const leaveTime = 2 * time.Second

// IsOver says whether it is the end, and with which status.
func (s *Scanner) isOver() (status int, over bool) {
	switch {
	case s.stop != nil:
		return s.stop.status, !s.command.runs() && s.core == 0 && s.restart == nil && !s.starting || !time.Now().Before(s.stop.deadline)
	case s.leaving == nil:
		return 0, false
	case !time.Now().Before(s.leaving.deadline):
		if s.leaving.status != 0 && s.core != 0 { // it does not read: so all exit when it goes on
			unix.Kill(s.core, unix.SIGTERM)
		}
		return s.leaving.status, true
	}
	known := s.scanned || s.leaving.status != 0
	return s.leaving.status, known && (len(s.entries) == 0 || s.link != nil && len(s.outgoing.queue) == 0)
}
