package scanner

import (
	"time"

	"golang.org/x/sys/unix"
)

// forget lets go of an entry and of what was kept for it.
func (s *Scanner) forget(e *entry) {
	for _, fd := range e.fds {
		unix.Close(fd)
	}
	delete(s.entries, e.key)
	delete(s.idle, e)
}

// dismiss has an entry exit: it is forgotten where the core has said that nothing of it runs.
func (s *Scanner) dismiss(e *entry) {
	e.dropped = true
	switch {
	case !s.idle[e]:
		s.enqueue(e)
	case e.refused:
		s.offer(e)
	default:
		s.forget(e)
	}
}

// dismissRefused has those exit that no core has, since none could open them.
func (s *Scanner) dismissRefused() {
	for e := range s.idle {
		if e.refused && !e.dropped {
			s.dismiss(e)
		}
	}
}

// anyRefused says whether there are entries that the core could not open, and has not
// opened since, as far as it has said so.
func (s *Scanner) anyRefused() bool {
	for _, e := range s.entries {
		if e.refused {
			return true
		}
	}
	return false
}

// reoffer offers again what the core has let go though it is still here.
func (s *Scanner) reoffer() {
	now := time.Now()
	for e := range s.idle {
		if s.isOffered(e) && !s.offerDue(e).After(now) {
			s.offer(e)
		}
	}
}

// isOffered says whether an entry that the core has let go is offered again. At the end only
// those are that may run and are to exit.
func (s *Scanner) isOffered(e *entry) bool {
	return s.stop == nil && s.leaving == nil || e.refused && e.dropped
}

// offerDue is when an entry that the core has let go is offered again.
func (s *Scanner) offerDue(e *entry) time.Time {
	return e.offered.Add(s.hasten(max(e.wait, time.Second)))
}

// offerLacking offers one of those that wait for descriptors, since some were
// given back, or since another that has waited was let in.
func (s *Scanner) offerLacking() {
	if s.stop != nil || s.leaving != nil {
		return
	}
	for e := range s.idle {
		if e.lacking && !e.dropped {
			s.offer(e)
			return
		}
	}
}
