package scanner

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ending is the end of a scanner: what it returns, and when at the latest.
type ending struct {
	status   int
	deadline time.Time
	begun    time.Time
	heard    bool // the core has read all that it was told
}

// endingIn is an end that begins now, and has so much time.
func endingIn(limit time.Duration, status int) *ending {
	now := time.Now()
	return &ending{status: status, begun: now, deadline: now.Add(limit)}
}

// end ends the scanner: at once where the core knows what it is to do without it.
// Process 1 stops its tree first.
func (s *Scanner) end(status int, stops bool) {
	switch {
	case s.stop != nil:
		return
	case stops:
		s.speakAside() // that of the tree's log service is to end
		s.stop = endingIn(s.StopTime, status)
	case s.leaving != nil && s.leaving.status >= status:
		return
	default:
		s.leaving = endingIn(leaveTime, status)
	}
	if status != 0 && !stops {
		for _, e := range s.entries {
			s.dismiss(e)
		}
	}
	if s.core == 0 { // no pause: there is little time
		s.startCore()
	}
}

// leaveTime is how long it waits at the end until the core has read what it is told, and
// leaveMost how long where one core after the other is killed meanwhile.
const (
	leaveTime = 2 * time.Second
	leaveMost = 10 * time.Second
)

// grantTime gives a core that has begun the whole time to read what it is told. One that
// dies as it begins gets none.
func (s *Scanner) grantTime() {
	if l := s.leaving; l != nil && time.Since(l.begun) < leaveMost {
		l.deadline = time.Now().Add(leaveTime)
	}
}

// leavesNone says whether the scanner ends and the core is to have all services exit.
func (s *Scanner) leavesNone() bool { return s.leaving != nil && s.leaving.status != 0 }

// dismissesAll says whether all services are to exit: so it is with a stop, too.
func (s *Scanner) dismissesAll() bool { return s.stop != nil || s.leavesNone() }

// known says whether the core can be told all that it is to do when the scanner is gone: the
// directory was looked at once. What is in it may run since an earlier runsvdir.
func (s *Scanner) known() bool { return s.scanned }

// askLast asks the core to say when it has read all that was sent: of one that was killed
// the socket takes messages for a while yet, and nobody else would tell the next core.
func (s *Scanner) askLast() {
	o := &s.outgoing
	if o.asked || !s.known() || len(o.queue) > 0 {
		return
	}
	o.questions++
	o.asked = s.tell("last", strconv.Itoa(o.questions), "0", "") == nil
}

// heardLast takes the answer. Who has answered may have been killed right behind that.
func (s *Scanner) heardLast(question string) {
	if o := &s.outgoing; s.leaving != nil && o.asked && question == strconv.Itoa(o.questions) {
		s.leaving.heard = true
		s.reap()
	}
}

// isOver says whether it is the end, and with which status. What a core has refused is
// waited for: it could be told so again.
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
	told := s.leaving.heard && (s.leaving.status == 0 || !s.anyRefused())
	return s.leaving.status, s.known() && (len(s.entries) == 0 || told)
}
