package scanner

import (
	"encoding/binary"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

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
		if s.isOffered(e) {
			until(s.offerDue(e))
		}
	}
	switch {
	case s.stop != nil:
		until(s.stop.deadline)
		if !s.scanned && !s.outgoing.stop {
			until(s.stop.firstLookDue())
		}
		if s.command.runs() {
			if !s.outgoing.stop {
				until(s.stop.servicesDue())
			}
			if !s.command.killed {
				until(s.stop.killDue())
			}
		}
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
		s.killLate()
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
		if s.dir.mounts.Now().MayHang(unix.AT_FDCWD, s.Dir) {
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
