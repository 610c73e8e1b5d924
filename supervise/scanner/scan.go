package scanner

import (
	"errors"
	"time"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/policy"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
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
	lacking bool   // nothing of it runs, and there were no descriptors for it
	refused bool   // the core could not open it, and something of it may run: nobody has it
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
	said    bool // that it is not begun
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
	req := request{force: force, first: len(s.entries) == 0, said: s.stderr == 0, known: make(map[string]known, len(s.entries))}
	req.room = (s.files.Most - self.Reserve) / (self.NeedMain + self.NeedLog)
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

// slowTime is how long a look may take before that is said, and firstLookTime how long a stop
// waits for the first one.
const (
	slowTime      = 5 * time.Second
	firstLookTime = time.Second
)

// take acts on what a look has found.
func (s *Scanner) take(f finding) {
	switch {
	case s.dismissesAll() && s.scanned: // nothing is begun any more
		for i := range f.answers {
			f.answers[i].close()
		}
	case f.err != nil:
		s.warn(f.err)
		if _, ok := errors.AsType[unreadable](f.err); ok {
			s.wanted = true
		}
	default:
		if f.odd != nil {
			s.warn(f.odd)
		}
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
	unknown := map[string]bool{}
	for _, a := range f.answers {
		e := s.entries[a.key]
		switch {
		case a.state == isHung:
			if unknown[a.name] = true; a.err != nil {
				s.warn(a.err)
			}
			s.again = true // that it does not answer is said when it has not for a while
		case a.state == isBad:
			if !f.quiet {
				s.warn(a.err)
			}
			s.again = true // it may become valid without a change here
			unknown[a.name] = servicedir.Transient(a.err)
		case a.state == isNothing:
		case e != nil && sameBirth(e.born, a.born): // two links to one directory are one service
			e.seen, e.at = true, a.name
			if e.born == 0 {
				e.born = a.born
			}
			if !e.dropped {
				s.speakTo(&a)
			}
			a.close()
			s.complete(e, a, now)
		case a.state == isFresh:
			fresh = append(fresh, a)
		default: // it was known when it was asked for
			a.closeSaid()
			s.wanted = true
		}
	}
	if !f.more {
		s.drop(unknown)
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

// drop has the services exit that were not seen. One whose name does not answer, or cannot
// be read at present, counts as there.
func (s *Scanner) drop(unknown map[string]bool) {
	for _, e := range s.entries {
		if e.seen || e.dropped || unknown[e.at] {
			continue
		}
		if e.name == policy.CatchAll {
			s.speakAside()
		}
		s.dismiss(e)
	}
}

// beginAll begins with what is new, as far as there is room, and in any case with what runs
// since an earlier scanner: that comes first.
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
		case room < self.NeedMain && !a.runs: // the core would refuse it too
			s.again = true
			if !s.full {
				s.full = true
				s.warn(self.Shortage(a.name, s.files.Most))
			}
			a.close()
		default:
			e := &entry{key: a.key, name: a.name, at: a.name, born: a.born, seen: true, fds: []int{int(a.fd)}}
			e.waits, e.dropped = lacksRun(a.err), s.dismissesAll() // what runs of it since an earlier runsvdir is to exit, too
			s.entries[a.key] = e
			s.speakTo(&a)
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
	ripe := !h.due().After(now)
	if a.name == policy.CatchAll && lacksRun(a.err) { // nobody shall write to what nobody reads
		if ripe && !h.said {
			h.said = true
			s.warn(fmt.Errorf("unable to supervise %s: unable to start ./run: %w", a.name, a.err))
		}
		return false
	}
	return ripe
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
