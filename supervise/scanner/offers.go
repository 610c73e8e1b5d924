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

// reoffer offers again what the core has let go though it is still here.
func (s *Scanner) reoffer() {
	if s.stop != nil || s.leaving != nil { // it is gone for good
		return
	}
	now := time.Now()
	for e := range s.idle {
		if !e.offerDue().After(now) {
			s.offer(e)
		}
	}
}

// offerDue is when an entry that the core has let go is offered again.
func (e *entry) offerDue() time.Time {
	return e.offered.Add(max(e.wait, time.Second))
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
