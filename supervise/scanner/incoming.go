package scanner

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// errOver says why the tree is stopped.
var errOver = errors.New("it is essential, and has ended: the tree is stopped.")

// read acts on what came from the core.
func (s *Scanner) read(l wire.Received) {
	if l.Err != nil {
		s.link.Close()
		s.link = nil
		return
	}
	for _, m := range l.Messages {
		s.handle(m)
	}
}

// handle acts on one message.
func (s *Scanner) handle(m wire.Message) {
	switch m.Word {
	case "thread":
		if tid, err := strconv.Atoi(m.Arg); err == nil {
			s.watch(tid)
		}
		s.grantTime()
	case "keep":
		s.keep(m.Arg, m.Arg2, m.FDs)
	case "guards":
		s.keepGuards(m.FDs)
	case "gone":
		e := s.entries[m.Arg]
		if e == nil {
			return
		}
		if e.refused = m.Arg2 == wire.NotNow; !e.refused { // else it is offered again with what is kept
			s.letGo(e)
		}
		e.lacking = m.Arg2 == wire.NoDescriptors
		s.idle[e] = true
		e.dropped = e.dropped || s.outgoing.stop // the core was told so before it could open it
		e.pending = pending{queued: e.pending.queued}
		e.offered = time.Now() // runit's sv looks every 0.42 s for the end of an exit
		switch {
		case e.dropped && !e.refused: // its name may be waited for
			s.forget(e)
			s.look(false)
		case !e.lacking && !e.dropped: // its directory may be another
			s.wanted = true
		}
		if e.lacking { // for a moment perhaps, perhaps until another goes
			e.wait = min(max(2*e.wait, time.Second), time.Minute)
		} else {
			e.wait = 0
			s.offerLacking()
		}
	case "last":
		s.heardLast(m.Arg)
	case "over":
		// While this process becomes another program the next core says it again.
		if status, err := strconv.Atoi(m.Arg); err == nil && s.handing == nil && s.stop == nil {
			s.Say(diag.Warning, m.Name, errOver)
			s.end(status, true)
		}
	case "seen":
		if pid, err := strconv.Atoi(m.Arg); err == nil && s.handing == nil { // else the next core is told again
			s.recorded(pid)
		}
	default: // of a newer core
		sys.CloseAll(m.FDs)
	}
}

// keepGuards takes what the core watches supervise directories with. The core before has left
// none, or this one could not be given it.
func (s *Scanner) keepGuards(fds []int) {
	for _, fd := range fds {
		if s.guards > 0 {
			unix.Close(s.guards)
		}
		s.guards = fd
	}
}

// keep takes descriptors for the next core.
func (s *Scanner) keep(key, tags string, fds []int) {
	e := s.entries[key]
	if e == nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return
	}
	for _, fd := range e.fds[1:] {
		unix.Close(fd)
	}
	e.fds, e.tags = append(e.fds[:1], fds...), tags
	e.refused = false
	if e.wait > 0 {
		e.wait = 0
		s.offerLacking()
	}
}
