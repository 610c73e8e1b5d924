package scanner

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// entry is a service of the directory, by device and inode.
type entry struct {
	key     string
	name    string
	at      string // the name under which it was last seen
	born    int64  // when its directory was made; 0: not known
	fds     []int  // the directory, then what the core has given to keep
	tags    string // what that is
	dropped bool   // not in the directory any more: told to exit
	lacking bool   // it could not be opened
	waits   bool   // it is not complete, and not started before it is
	offered time.Time
	wait    time.Duration // for descriptors, until it is offered again
	seen    bool
	pending pending
}

// incomplete is a new directory that is not begun yet: somebody seems to write it.
type incomplete struct {
	name    string
	seen    bool
	made    bool // here, and not renamed or linked
	ready   bool // it looks complete
	changed time.Time
}

// quietTime is how long nothing may have changed in a directory that is written in
// place, before it counts as complete: what comes after ./run, such as ./down, is
// then there too. showTime is how long nothing may have changed in one that is not
// complete, before it is shown as it is.
const (
	quietTime = 50 * time.Millisecond
	showTime  = time.Second
)

// look has the directory looked at. A look that hangs is not waited for; a second
// one begins when it is over.
func (s *Scanner) look(force bool) {
	switch {
	case s.stop != nil:
		return
	case s.handing != nil, s.becoming && time.Since(s.asked) < quitTime: // no thread shall hang when it is time
		s.wanted = true
		return
	case s.looking:
		s.lookAgain, s.lookForce = true, s.lookForce || force
		return
	}
	s.looking, s.looked, s.slow, s.applied = true, time.Now(), false, false
	req := request{force: force, first: len(s.entries) == 0, known: make(map[string]known, len(s.entries))}
	for key, e := range s.entries {
		req.known[key] = known{e.born, e.waits}
		e.seen = false
	}
	for key, h := range s.held {
		if req.held == nil {
			req.held = map[string]bool{}
		}
		req.held[key] = true
		h.seen = false
	}
	go s.dir.look(req, func(f finding) { s.found <- f })
}

// slowTime is how long a look may take before that is said.
const slowTime = 5 * time.Second

// take acts on what a look has found.
func (s *Scanner) take(f finding) {
	switch {
	case s.stop != nil || s.leaving != nil && s.leaving.status != 0: // nothing is begun any more
		for i := range f.answers {
			f.answers[i].close()
		}
	case f.err != nil:
		s.warn(f.err)
		if _, ok := errors.AsType[unreadable](f.err); ok {
			s.wanted = true
		}
	default:
		s.apply(f)
	}
	if f.more {
		return
	}
	if !s.scanned { // the services wait no more
		s.send()
		go s.reserve()
	}
	s.looking, s.scanned = false, true
	child.CollectProbes()
	s.dir.watcher.settleChanges(s.looked)
	s.reoffer()
	switch {
	case s.lookAgain:
		force := s.lookForce
		s.lookAgain, s.lookForce = false, false
		s.look(force)
	case s.stampDue:
		s.stampDue = false
		s.stampRescan()
	}
}

// apply brings the entries up to date. What is not there any more is told to exit
// before anything new is begun.
func (s *Scanner) apply(f finding) {
	if !s.applied { // the first of a look
		s.applied, s.wanted, s.again = true, false, f.again
	}
	now := time.Now()
	fresh := f.answers[:0] // in the place of those that are done with
	hung := map[string]bool{}
	for _, a := range f.answers {
		e := s.entries[a.key]
		switch {
		case a.state == isHung:
			if hung[a.name] = true; a.err != nil {
				s.warn(a.err)
			}
			s.again = true // that it does not answer is said when it has not for a while
		case a.state == isBad:
			if !f.quiet {
				s.warn(a.err)
			}
			s.again = true // it may become valid without a change here
		case a.state == isNothing:
		case e != nil && sameBirth(e.born, a.born): // two links to one directory are one service
			e.seen, e.at = true, a.name
			if e.born == 0 {
				e.born = a.born
			}
			a.close()
			s.complete(e, a, now)
		case a.state == isFresh:
			fresh = append(fresh, a)
		default: // it was known when it was asked for
			s.wanted = true
		}
	}
	if !f.more {
		s.drop(hung)
	}
	s.beginAll(fresh, now)
	if !f.more {
		s.forgetHeld()
	}
}

// complete has a service begun that was shown before it was complete.
func (s *Scanner) complete(e *entry, a answer, now time.Time) {
	if !e.waits || lacksRun(a.err) {
		return
	}
	if now.Sub(s.dir.watcher.changedAt(a.name)) < quietTime { // the next look will be in time
		return
	}
	e.waits = false
	s.enqueue(e)
}

// drop has the services exit that were not seen. One whose name does not answer
// counts as there.
func (s *Scanner) drop(hung map[string]bool) {
	for _, e := range s.entries {
		if e.seen || e.dropped || hung[e.at] {
			continue
		}
		e.dropped = true
		if s.idle[e] {
			s.forget(e)
		} else {
			s.enqueue(e)
		}
	}
}

// beginAll begins with what is new, as far as there is room.
func (s *Scanner) beginAll(fresh []answer, now time.Time) {
	if len(fresh) == 0 {
		return
	}
	room := s.files.Most - self.Reserve
	leaving := map[string]bool{} // names
	for _, e := range s.entries {
		room -= max(self.NeedMain, len(e.fds))
		if e.dropped {
			leaving[e.name] = true
		}
	}
	for _, a := range fresh {
		old, ripe := s.entries[a.key], s.ripe(a, now)
		switch {
		case old != nil && sameBirth(old.born, a.born): // by another name
			old.seen = true
			a.close()
		case old != nil || leaving[a.name]: // its predecessor goes first: they may share a supervise directory
			s.wanted = true
			a.close()
		case !ripe:
			a.close()
		case room < self.NeedMain: // the core would refuse it too
			s.again = true
			if !s.full {
				s.full = true
				s.warn(self.Shortage(a.name, s.files.Most))
			}
			a.close()
		default:
			e := &entry{key: a.key, name: a.name, at: a.name, born: a.born, seen: true, fds: []int{int(a.fd)}}
			e.waits = lacksRun(a.err)
			s.entries[a.key] = e
			room -= self.NeedMain
			s.offer(e)
		}
	}
}

// lacksRun says whether err, of unready, is about ./run: what has no log service yet
// can be started.
func lacksRun(err error) bool {
	_, log := errors.AsType[servicedir.LogError](err)
	return err != nil && !log
}

// ripe says whether a new directory is to be begun: it is complete, or nobody seems
// to be about to complete it.
func (s *Scanner) ripe(a answer, now time.Time) bool {
	h := s.held[a.key]
	if h == nil && a.err == nil && !a.made {
		return true // it came as a whole
	}
	if h == nil {
		h = &incomplete{changed: now}
		s.held[a.key] = h
	}
	h.name, h.seen, h.made, h.ready = a.name, true, h.made || a.made, a.err == nil
	if t := s.dir.watcher.changedAt(a.name); t.After(h.changed) {
		h.changed = t
	}
	return !h.due().After(now)
}

// due is when a new directory is begun, if nothing changes in it until then.
func (h *incomplete) due() time.Time {
	if h.ready {
		return h.changed.Add(quietTime)
	}
	return h.changed.Add(showTime)
}

// forgetHeld forgets new directories that have gone again, or were begun, and gives
// back the watches that nobody needs any more.
func (s *Scanner) forgetHeld() {
	names := map[string]bool{}
	for key, h := range s.held {
		if !h.seen || s.entries[key] != nil {
			delete(s.held, key)
		} else {
			names[h.name] = true
		}
	}
	for _, e := range s.entries {
		if e.waits {
			names[e.at] = true
		}
	}
	s.dir.watcher.attendOnly(names)
}

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

// lookDue is when the directory is looked at again: after five seconds, or after a
// minute where no change can go unseen, since a look costs several wake-ups; or
// sooner where something waits for it.
func (s *Scanner) lookDue() (due time.Time) {
	switch {
	case s.wanted:
		due = s.looked.Add(time.Second)
	case s.dir.watcher.isSure() && !s.again:
		due = s.looked.Add(time.Minute)
	default:
		due = s.looked.Add(5 * time.Second)
	}
	for _, h := range s.held {
		if t := h.due(); t.After(s.looked) && t.Before(due) {
			due = t
		}
	}
	if t, ok := s.dir.watcher.nextQuiet(); ok && t.Before(due) {
		due = t
	}
	return due
}

// pause is how long nothing has to be done unless something happens.
func (s *Scanner) pause() time.Duration {
	now := time.Now()
	d := time.Minute
	until := func(t time.Time) { d = min(d, max(0, t.Sub(now))) }
	for e := range s.idle {
		if s.stop == nil && s.leaving == nil {
			until(e.offerDue())
		}
	}
	switch {
	case s.stop != nil:
		until(s.stop.deadline)
	case !s.looking:
		until(s.lookDue())
	case !s.slow:
		until(s.looked.Add(slowTime))
	}
	if s.handing != nil {
		until(s.handing.deadline)
	}
	if s.leaving != nil {
		until(s.leaving.deadline)
	}
	return d + 10*time.Millisecond
}

// tick does what is due.
func (s *Scanner) tick() {
	now := time.Now()
	if s.coreWatch.blind {
		s.giveUp()
	}
	s.reoffer()
	if h := s.handing; h != nil && !h.deadline.After(now) {
		if !h.killed {
			s.hurry()
		} else { // it cannot even be killed
			s.become()
		}
	}
	switch {
	case s.stop != nil:
	case !s.looking:
		if !s.lookDue().After(now) {
			s.look(false)
		}
	case !s.slow && now.Sub(s.looked) >= slowTime:
		s.slow = true
		s.warn(fmt.Errorf("unable to look at %s: %w", s.Dir, errHung))
	}
}

// stampRescan writes when a scan was asked for, as Debian's runsvdir does:
// TAI64N in DIR/.forced-rescan. It may hang, so one that does is not joined by
// another.
func (s *Scanner) stampRescan() {
	if !s.stamping.CompareAndSwap(false, true) {
		return
	}
	now := time.Now()
	go func() {
		defer s.dir.touch()()
		defer s.stamping.Store(false)
		b := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()+state.TAIEpoch))
		b = binary.BigEndian.AppendUint32(b, uint32(now.Nanosecond()))
		path := filepath.Join(s.Dir, ".forced-rescan")
		text := fmt.Sprintf("@%x", b)
		write := writeStamp
		if readMounts().mayHang(unix.AT_FDCWD, s.Dir) {
			write = func(path, text string) error {
				p := child.Probe{At: unix.AT_FDCWD}
				return s.dir.probe(p.Write(path, text))
			}
		}
		if err := write(path, text); err != nil {
			s.warn(fmt.Errorf("failed to write %s: %w", path, err))
		}
	}()
}

func writeStamp(path, text string) error {
	fd, err := sys.Open(unix.AT_FDCWD, path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CREAT|unix.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}
