package core

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
)

// A disk may be full for a while, and a supervise directory may be emptied below
// a running service, as by a cleaner of /run. What the files do not tell because
// of that is written when it can be: at the next event, and by a timer that runs
// only as long as something is missing.

// mendFirst and mendMost are the first and the longest time until it is tried again.
const (
	mendFirst = time.Second
	mendMost  = 30 * time.Second
)

// repairLater has the service's files written again in a while, in twice as long
// a while each time.
func (s *service) repairLater() {
	if s.repairTimer == nil {
		s.repairWait = min(max(2*s.repairWait, mendFirst), mendMost)
		s.repairTimer = time.AfterFunc(s.repairWait, func() { s.post(event{kind: evRepair}) })
	}
}

// repair writes what could not be written before. What still cannot is not told
// again.
func (s *service) repair() {
	s.repairTimer = nil
	whole := true
	for _, u := range s.units() {
		if err := s.remake(u); err != nil {
			whole = false
			if s.repairWait == mendFirst && !errors.Is(err, unix.ENOENT) { // of that who writes has told
				s.warn(err)
			}
			continue
		}
		if u.unwritten {
			u.unwritten = u.update() != nil
		}
		s.rewrite(u)
		whole = whole && !u.unwritten && !u.left
	}
	whole = s.rewriteHooks() && whole
	switch {
	case s.deleted:
	case whole:
		s.repairWait = 0
	default:
		s.repairLater()
	}
}

// rewrite writes a record that could not be written. While a process is being made,
// who makes it writes the record.
func (s *service) rewrite(u *unit) {
	if s.ordered > 0 || !u.left {
		return
	}
	u.records.Lock()
	u.recorded = proc.Write(s.at(u.prefix), u.prefix+"supervise/proc", u.rec) == nil
	recorded := u.recorded
	u.records.Unlock()
	if recorded {
		s.noteRecord(u, nil)
	}
}

// isSame says whether a descriptor is what the name leads to, as far as it can be told.
func (s *service) isSame(fd int, name string) bool {
	same, err := s.sameFile(fd, name)
	return same || err != nil
}

// missing says whether something of the unit's supervise directory has been deleted.
func (s *service) missing(u *unit) bool {
	name := u.prefix + "supervise/"
	for _, file := range []string{"pid", "stat", "status", "proc"} {
		if _, err := s.dir.Stat(name + file); errors.Is(err, unix.ENOENT) {
			return true
		}
	}
	if u == &s.main && s.missesHook() || s.missesTalk(u) {
		return true
	}
	return !s.isSame(u.lock, name+"lock") || !s.isSame(u.control, name+"control") || !s.isSame(u.ok, name+"ok")
}

// remake makes again what has been deleted of the unit's supervise directory: the
// lock first, while the old one is still held, and ok last.
func (s *service) remake(u *unit) error {
	if !s.published || s.dir.Deleted() || !s.missing(u) {
		return nil
	}
	if err := s.renewState(); err != nil {
		return err
	}
	if way, ok := s.core.detourOf(u); ok {
		unix.Symlinkat(way.target, s.dir.FD, u.prefix+"supervise") // unless another is there
	}
	if _, err := s.dir.MakeSupervise(u.prefix); err != nil {
		return err
	}
	name := u.prefix + "supervise/"
	if !s.isSame(u.lock, name+"lock") {
		l, err := s.dir.Lock(u.prefix)
		if err != nil {
			return err // another supervisor has it
		}
		old := u.lock
		u.lock = l
		s.core.stashNow(s)
		s.core.awaitStash(s)
		unix.Close(old)
	}
	s.core.awaitStash(s) // nothing is closed that is on its way to the scanner
	if err := s.remakeControl(u, name+"control"); err != nil {
		return err
	}
	s.remakeTalk(u)
	place, err := s.place(u.prefix) // the lock is another
	if err != nil {
		return err
	}
	u.records.Lock()
	u.rec.Place, u.recorded = place, false
	if u.rec.Word == "" {
		u.rec = s.core.sign(u, state.Process{Word: state.ProcDown, Status: u.ws})
	}
	u.records.Unlock()
	if u == &s.main {
		s.loseHooks(place)
	}
	u.written.any, u.left = false, true
	if u.unwritten = u.update() != nil; u.unwritten {
		return nil // ok says that the files are valid
	}
	if err := s.remakeOK(u, name+"ok"); err != nil {
		return err
	}
	s.grantAccess(u)
	s.core.stashNow(s)
	s.core.unguard(u)
	s.core.guard(u)
	return nil
}

// remakeControl opens the command FIFO again where it was deleted. What is in the
// old one is obeyed.
func (s *service) remakeControl(u *unit, name string) error {
	if s.isSame(u.control, name) {
		return nil
	}
	s.drain(u)
	old := u.control
	if err := s.control(u, -1); err != nil {
		if u.control != old {
			s.core.poller.close(u.control)
		}
		u.control = old
		return err
	}
	s.core.poller.close(old)
	return nil
}

func (s *service) remakeOK(u *unit, name string) error {
	if s.isSame(u.ok, name) {
		return nil
	}
	if err := s.dir.MakeFIFO(name); err != nil {
		return err
	}
	old := u.ok
	u.ok = -1
	if err := s.openOK(u); err != nil {
		u.ok = old
		return err
	}
	unix.Close(old)
	return nil
}
