package core

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
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
	evTimeout                  // the process of who has not ended in time
	evNotified                 // ./run of who has written to its notification-fd
	evLate                     // ./run of who, pid, has not said in time that it is ready
	evTalk                     // something has come to the socket of who
	evSilent                   // ./run of who, pid, has not said in time that it works
	evStrays                   // what ./run, pid, has left behind has ended, or not in time: cmd
	evAsked                    // others need the service
	evNeeds                    // what it needs is not as it was
	evLast                     // all but the tree's log service have ended
	evLend                     // others are to write to its log service
	evAsksHost                 // the process of a log service asks for a host
	evLodged                   // a host has taken a log service, or has not
	evWrite                    // status files that were put off are to be written
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
	engine uint32         // of host; 0: it is about a process
	host   *host
	ask    *ask
}

// inbox is what has happened to a service and is not acted on yet. Who takes an event
// out owns the service until there are no more.
type inbox struct {
	mu    sync.Mutex
	queue []event
	owned bool // somebody looks at the queue before he lets go of the service
	over  bool // nothing happens to it any more
}

// put puts an event behind those before it. It never waits. The caller is to find an
// owner for the service where none has it.
func (b *inbox) put(ev event) (unowned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		ev.refuse()
		return false
	}
	b.queue = append(b.queue, ev)
	unowned = !b.owned
	b.owned = true
	return unowned
}

// take takes the next event out. Where there is none the caller lets go of the service,
// unless he has more to do.
func (b *inbox) take(more bool) (ev event, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) > 0 {
		ev, b.queue = b.queue[0], b.queue[1:]
		return ev, true
	}
	b.queue = nil
	b.owned = more
	return ev, false
}

// own makes the caller the owner of a service that has none.
func (b *inbox) own() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owned || b.over {
		return false
	}
	b.owned = true
	return true
}

// hasExit says whether an order of the scanner's to exit is in it. Another core that has
// asked for the service before does not get it then: it would know of no such order, and
// the service would run on.
func (b *inbox) hasExit() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.queue, func(ev event) bool { return ev.kind == evCommand && ev.cmd == machine.CmdExit })
}

// close forgets what is in it, and takes nothing more.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range b.queue {
		ev.refuse()
	}
	b.over, b.queue = true, nil
}

// post has an event handled, after those before it. It never waits.
func (s *service) post(ev event) {
	if s.inbox.put(ev) {
		s.core.pool.runFirst(s.work)
	}
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
		switch ev, ok := s.inbox.take(more); {
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
	s.inbox.close()
	s.end()
}

// handle acts on one event.
func (s *service) handle(ev event) {
	switch ev.kind {
	case evReadable:
		ev.who.more = s.read(ev.who, readAtOnce)
	case evLast:
		s.unfeeds = s.unfeeds || s.last && s.core.services.count() == 1
	case evCommand:
		if s.catches != nil && ev.cmd == machine.CmdExit {
			s.exitCatch(ev.number)
			return
		}
		before := s.detached
		s.drain(&s.main) // what was written before it counts before it, as with runit
		if ev.cmd == machine.CmdExit {
			s.detached = before // see hasExit
		}
		s.putsOff = ev.cmd == machine.CmdExit
		s.command(&s.main, ev.cmd)
		s.putsOff = false
		s.writeSoon()
	case evWrite:
		s.writeStale()
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
	case evTimeout:
		s.timedOut(ev)
	case evNotified:
		s.notified(ev.who)
	case evLate:
		s.late(ev)
	case evTalk:
		s.hear(ev.who)
	case evSilent:
		s.silent(ev)
	case evStrays:
		if ev.pid == s.main.pid {
			s.feed(&s.main, ev.cmd)
		}
	case evAsked:
		s.needed = true
		s.tellStanding()
	case evNeeds:
		s.feed(&s.main, machine.NeedsChanged)
	case evLend:
		s.lends = true
		s.lendLog()
	case evAsksHost:
		if loghost.Built {
			s.asksHost(ev.ask)
		}
	case evLodged:
		if loghost.Built {
			s.lodged(ev)
		}
	case evSpawned, evUnmade, evUnexecuted:
		s.ordered--
		s.answered(ev)
		if loghost.Built {
			s.nowRuns(ev.who)
		}
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
