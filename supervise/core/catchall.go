//go:build !slim

package core

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/wire"
)

// A service named .log is the log service of the whole tree. Its ./run reads a FIFO, into
// which goes what the core has to say, and what services say, with their names. It ends when
// nobody has that open for writing any more, and when all of the tree ends that is last.

// catchAll is what the core knows of it.
type catchAll struct {
	service atomic.Pointer[service] // nil where there is none
	stderr  atomic.Int32            // what standard error was before it led there; 0: it does not
}

// Where the lines of services go.
const (
	toStdout  = 1
	toCatch   = 2  // standard error, when it leads there
	toNothing = -1 // they wait
)

// awaitCatch has lines wait until the log service of the tree is open.
func (c *Core) awaitCatch(s *service) {
	s.catches, s.main.st.Log = &[2]int{-1, -1}, true
	c.catch.service.Store(s)
	c.turnLines(toNothing)
}

// turnLines says where lines go.
func (c *Core) turnLines(to int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linesTo = to
	if c.lines != nil {
		c.lines.turnTo(to)
	}
}

// openCatch opens the FIFO of the tree's log service and has all go there.
func (s *service) openCatch() error {
	if s.catches == nil {
		return nil
	}
	if s.main.st.Want == state.WantExit { // it stays after all
		s.main.st.Want = state.WantUp
	}
	w, err := s.dir.OpenSaid()
	if err != nil {
		return err
	}
	r, err := s.dir.OpenFIFO(servicedir.Said, unix.O_RDONLY, "read")
	if err != nil {
		unix.Close(w)
		return err
	}
	unix.FcntlInt(uintptr(r), unix.F_SETFL, 0)
	*s.catches = [2]int{r, w}
	if s.core.catch.stderr.Load() == 0 {
		own, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return err
		}
		s.core.catch.stderr.Store(int32(own))
	}
	if err := unix.Dup3(w, 2, 0); err != nil {
		return err
	}
	s.core.turnLines(toCatch)
	return nil
}

// leaveCatch has what the core says, and what services say, go to where it went without a
// log service of the tree, if that is this one.
func (s *service) leaveCatch() {
	c := s.core
	if s.catches == nil || !c.catch.service.CompareAndSwap(s, nil) {
		return
	}
	c.turnLines(toStdout)
	if own := c.catch.stderr.Swap(0); own != 0 {
		unix.Dup3(int(own), 2, 0)
		unix.Close(int(own))
	}
}

// How the tree's log service is told to exit.
const (
	exitAll   = iota // with all; a core that lives on by its scanner's will does not mean it
	exitLast         // with all, by the scanner: when all others have ended
	exitAlone        // at once: its directory is gone
)

// exitCatch has the tree's log service end.
func (s *service) exitCatch(how int) {
	c := s.core
	c.mu.Lock()
	all := c.stopping || c.dropping || c.orphaned
	c.mu.Unlock()
	switch {
	case how == exitAlone:
		s.unfeeds = true
	case all || how == exitLast:
		s.last = true
		c.tryLast()
	}
}

// tryLast lets the tree's log service end, if it is told to and no other service is left.
func (c *Core) tryLast() {
	s := c.catch.service.Load()
	if s == nil || c.services.count() > 1 {
		return
	}
	go func() {
		c.finishLines()
		s.post(event{kind: evLast, who: &s.main})
	}()
}

// endCatch closes the FIFO of the tree's log service, once it may end; false says that it is
// to read first what is there.
func (s *service) endCatch() bool {
	if !s.unfeeds || s.unfed {
		return true
	}
	if unread(s.catches[0], &s.main) {
		return false
	}
	s.unfed = true
	s.leaveCatch()
	s.closeCatch()
	s.feed(&s.main, machine.Unfed)
	return true
}

// closeCatch closes the FIFO of the tree's log service.
func (s *service) closeCatch() {
	if s.catches == nil {
		return
	}
	for i, fd := range s.catches {
		if fd >= 0 {
			unix.Close(fd)
		}
		s.catches[i] = -1
	}
}

// readsLast says whether the unit is a log service: it is killed after those whose lines it
// reads.
func (u *unit) readsLast() bool { return u.prefix != "" || u.svc.catches != nil }

// sayAside says what concerns the tree's log service where it does not go to that.
func (c *Core) sayAside(say func(fd int, level diag.Level, service string, err error)) func(diag.Level, string, error) {
	return func(level diag.Level, service string, err error) {
		fd := 2
		if own := c.catch.stderr.Load(); own != 0 && service == policy.CatchAll {
			fd = int(own)
		}
		say(fd, level, service, err)
	}
}

// exitOf is how the scanner tells the tree's log service to exit.
func exitOf(m wire.Message) int {
	if m.Arg2 == "0" {
		return exitAlone
	}
	return exitLast
}
