package scanner

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/wire"
)

// outgoing is what the core has yet to be told. There is one place in it for each
// entry, and what is told of that is decided when it is sent: so there is an end to
// it however long the core reads nothing, and no descriptor in it is out of date.
type outgoing struct {
	queue   []*entry
	unheard []unheard     // of services that were let go
	stop    bool          // it was told to stop
	asked   bool          // it was asked whether it has read all that it was told
	waits   bool          // for the link to take more
	failed  int           // how often it has not, one after the other
	room    chan struct{} // of one: it may

	questions int // how often any core was asked that

	messages []wire.Message // room for those of one packet
	of       []*entry       // and for what they are of
}

// pending is what the core was told of an entry.
type pending struct {
	queued  bool
	added   bool
	waiting bool // that it is not to be started
	dropped bool // that it is to exit
}

// begin begins anew, with a core that knows nothing.
func (o *outgoing) begin() {
	o.queue, o.stop, o.asked, o.waits, o.failed = nil, false, false, false, 0
}

// offer gives an entry to the core, with the next messages.
func (s *Scanner) offer(e *entry) {
	e.offered, e.lacking = time.Now(), false
	delete(s.idle, e)
	s.enqueue(e)
}

// enqueue has the core told what it does not know yet of an entry. As many as make a
// packet are sent at once.
func (s *Scanner) enqueue(e *entry) {
	if s.link == nil || e.pending.queued {
		return
	}
	e.pending.queued = true
	if s.outgoing.queue == nil {
		s.outgoing.queue = make([]*entry, 0, wire.BatchMax)
	}
	if s.outgoing.queue = append(s.outgoing.queue, e); len(s.outgoing.queue) == wire.BatchMax {
		s.send()
	}
}

// message is what the core is to be told of the entry next; ok is false where it
// knows all.
func (e *entry) message() (m wire.Message, ok bool) {
	switch o := e.pending; {
	case !o.added:
		state := ""
		switch {
		case e.dropped:
			state = wire.StateExit
		case e.waits:
			state = wire.StateWaits
		}
		return wire.Message{Word: "add", Arg: e.key, Arg2: state + "," + e.tags, Name: e.name, FDs: e.fds}, true
	case e.dropped && !o.dropped:
		return wire.Message{Word: "drop", Arg: e.key, Arg2: "0"}, true
	case o.waiting && !e.waits:
		return wire.Message{Word: "ready", Arg: e.key, Arg2: "0"}, true
	}
	return wire.Message{}, false
}

// sent says that the core was told it.
func (e *entry) sent(m wire.Message) {
	switch m.Word {
	case "add":
		e.pending.added, e.pending.dropped, e.pending.waiting = true, e.dropped, e.waits
	case "drop":
		e.pending.dropped = true
	case "ready":
		e.pending.waiting = false
	}
}

// send tells the core what it has yet to be told, as far as the link takes it; it
// never waits. What concerns all comes behind what concerns one.
func (s *Scanner) send() {
	o := &s.outgoing
	s.sendUnheard()
	for s.link != nil && !o.waits && len(o.queue) > 0 {
		s.sendSome()
	}
	switch {
	case s.link == nil || o.waits:
	case s.handing != nil && !s.handing.told:
		s.handing.told = s.tell("quit", "0", "0", "") == nil
	case s.stopsServices() && !o.stop:
		s.tellStop()
	case s.leaving != nil:
		s.askLast()
	}
}

// tellStop has the core stop, behind those that are to exit and that it does not have.
func (s *Scanner) tellStop() {
	s.outgoing.stop = true // also for who sends meanwhile
	s.dismissRefused()
	left := max(time.Second, time.Until(s.stop.deadline)-500*time.Millisecond)
	s.outgoing.stop = s.tell("stop", strconv.Itoa(int(left/time.Millisecond)), "0", "") == nil
}

// sendSome sends as much of the queue as goes together.
func (s *Scanner) sendSome() {
	o := &s.outgoing
	n := min(len(o.queue), wire.BatchMax)
	if o.messages == nil { // once, and not a little more each time
		o.messages, o.of = make([]wire.Message, 0, wire.BatchMax), make([]*entry, 0, wire.BatchMax)
	}
	ms, of := o.messages[:0], o.of[:0]
	for _, e := range o.queue[:n] {
		e.pending.queued = false
		if m, ok := e.message(); ok && s.entries[e.key] == e {
			if m.Word == "drop" && s.leavesNone() {
				m.Arg2 = strconv.Itoa(int(s.StopTime / time.Millisecond))
			}
			ms, of = append(ms, m), append(of, e)
		}
	}
	if len(ms) > 0 {
		if o.asked = false; s.leaving != nil {
			s.leaving.heard = false
		}
	}
	sent, err := s.link.Send(ms...)
	queue := o.queue[:0]
	rest := o.queue[n:]
	for i, e := range of {
		if i < sent {
			e.sent(ms[i])
		}
		if _, more := e.message(); more { // first, what has not gone before anything new
			e.pending.queued = true
			queue = append(queue, e)
		}
	}
	o.queue = append(queue, rest...)
	clear(ms)
	clear(of)
	o.messages, o.of = ms, of
	s.retry(err)
}

// retry sees to it that what err has kept from being sent is sent.
func (s *Scanner) retry(err error) {
	o := &s.outgoing
	if err == nil {
		o.failed = 0
		return
	}
	o.waits = true
	if wire.IsOver(err) { // the next core is told everything
		return
	}
	o.failed++
	l, try := s.link, o.failed
	go func() {
		l.Await(err, try)
		ring(o.room)
	}()
}

// tell sends a message to the core behind what there is to be told of entries; the
// error says that it is to be tried again when there is room.
func (s *Scanner) tell(word, a, b, name string) error {
	if s.link == nil {
		return unix.EPIPE
	}
	for !s.outgoing.waits && len(s.outgoing.queue) > 0 {
		s.sendSome()
	}
	if s.outgoing.waits {
		return unix.EAGAIN
	}
	_, err := s.link.Send(wire.Message{Word: word, Arg: a, Arg2: b, Name: name})
	s.retry(err)
	return err
}
