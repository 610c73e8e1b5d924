package core

import (
	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/state"
)

// evKind is what an event of a service's channel tells.
type evKind byte

const (
	evReadable   evKind = iota // supervise/control of who has bytes
	evSpawned                  // pid was made
	evUnmade                   // a process could not be made
	evUnexecuted               // it could not be executed
	evDied                     // pid has ended with ws; when that is recorded proc may go
	evRested                   // the rest of who is over
	evCommand                  // cmd, as if read from supervise/control
	evDetach                   // close everything, touch no process: another core takes over
	evRepair                   // what could not be written is to be tried again
	evGuard                    // supervise/ is to be watched for removals
	evRemoved                  // something was removed from it
	evReady                    // what was missing for a start is there
	evStash                    // the scanner has yet to get its descriptors
	evSlow                     // a process takes its time to be made
)

// event is what happens to a service.
type event struct {
	kind   evKind
	role   role
	cmd    machine.Event
	who    *unit
	pid    int
	ws     unix.WaitStatus
	err    error
	number int            // of the rest
	rec    *state.Process // the record of a control script
	proc   *process       // nil: nobody keeps it
}

// post has an event handled, after those before it. It never waits.
func (s *service) post(ev event) {
	m := &s.mail
	m.Lock()
	defer m.Unlock()
	if m.over {
		return
	}
	m.queue = append(m.queue, ev)
	if !m.owned {
		m.owned = true
		s.core.pool.runFirst(s.work)
	}
}

// take takes the next event out of the queue. Where there is none the caller lets
// go of the service, unless he has more to do.
func (s *service) take(more bool) (ev event, ok bool) {
	m := &s.mail
	m.Lock()
	defer m.Unlock()
	if len(m.queue) > 0 {
		ev, m.queue = m.queue[0], m.queue[1:]
		return ev, true
	}
	m.queue = nil
	m.owned = more
	return ev, false
}

// work handles events until there are none, or the service is over or another's. Its
// caller owns the service.
func (s *service) work(t *worker) {
	defer s.crash()
	for !s.over() {
		more := false
		for _, u := range s.units() {
			more = more || u.more
		}
		switch ev, ok := s.take(more); {
		case ok:
			if !s.core.doInline(s, t, func() { s.handle(ev) }) {
				return
			}
		case !more:
			return
		default:
			if !s.core.doInline(s, t, s.readMore) {
				return
			}
		}
	}
	s.mail.Lock()
	s.mail.over, s.mail.queue = true, nil
	s.mail.Unlock()
	s.end()
}

// handle acts on one event.
func (s *service) handle(ev event) {
	switch ev.kind {
	case evReadable:
		ev.who.more = s.read(ev.who, readAtOnce)
	case evCommand:
		s.drain(&s.main) // what was written before it counts before it, as with runit
		s.command(&s.main, ev.cmd)
	case evDetach:
		s.detached = true
	case evRepair:
		s.repair()
	case evGuard:
		s.guard()
	case evRemoved:
		s.repairLater() // what empties it shall be done before
	case evReady:
		s.waits = false
		s.feed(&s.main, machine.Begin)
	case evStash:
		s.core.stashNow(s)
	case evSlow:
		s.showStarting()
	case evSpawned, evUnmade, evUnexecuted:
		s.ordered--
		s.answered(ev)
		s.publish()
	case evDied:
		s.died(ev)
	case evRested:
		if ev.who.rest != nil && ev.number == ev.who.rests { // else it was stopped a moment ago
			ev.who.rest = nil
			s.feed(ev.who, machine.Rested)
		}
	}
}
