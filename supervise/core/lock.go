package core

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// byteDetach is what a core writes to supervise/control to have a service from
// another whose scanner is gone. Every other supervisor ignores it.
const byteDetach machine.Event = 0x04

// lock locks the unit and says what an earlier core has left of it. has is what its
// directory has. The lock that the scanner has kept passes to this core without being free
// in between: others may wait for it. (The core before may be killed and not quite gone, if
// one of its threads waits for a disk.) A core that still holds it but has lost its scanner
// is asked to let go.
func (s *service) lock(u *unit, k stash, has policy.Names) (was priorState, err error) {
	was.pidfd = -1
	if !has.Supervise {
		if u.fresh, err = s.dir.MakeSupervise(u.prefix); err != nil {
			return was, err
		}
	}
	kept := k.take(u.prefix + "lock")
	u.stashed = kept >= 0
	inherited, err := s.inheritLock(u, kept)
	s.relocked = s.relocked || !inherited
	if err != nil {
		unix.Close(kept)
		return was, err
	}
	if inherited {
		if err = s.hold(u, k, &was); err != nil {
			u.unlock(true)
			s.leaveStashed(u, k, &was)
		}
		return was, err
	}
	if u.stashed { // of a file that has been removed, or another has got it
		defer unix.Close(kept)
		unix.Flock(kept, unix.LOCK_UN)
	} else if !u.fresh {
		if err = s.before(u, k, &was); err != nil {
			return was, err
		}
	}
	u.rec.Place = state.Place{}
	if u.lock, err = s.takeLock(u, k, has, &was); err == nil {
		err = s.hold(u, k, &was)
	}
	if err == nil {
		return was, nil
	}
	u.unlock(false)
	if u.stashed {
		unix.Flock(kept, unix.LOCK_EX|unix.LOCK_NB)
	}
	s.leaveStashed(u, k, &was)
	return was, err
}

// leaveStashed leaves a unit that could not be opened to the next try: until then the scanner
// has the lock that it has kept, and the process that the record names is kept for it.
func (s *service) leaveStashed(u *unit, k stash, was *priorState) {
	if u.stashed && !was.read && !u.fresh {
		s.before(u, k, was)
	}
	s.leaveRunning(was)
}

// inheritLock has the unit locked by the descriptor that the scanner has kept, if that is
// still the lock's file and has it locked. It is converted twice, which the kernel does in
// one step each: then /proc/locks names this process as the holder.
func (s *service) inheritLock(u *unit, kept int) (bool, error) {
	if kept < 0 {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(kept, &st); err != nil {
		return false, fmt.Errorf("unable to stat %ssupervise/lock: %w", u.prefix, err)
	}
	place, file, err := s.placeAndFile(u.prefix)
	if err != nil || file != (fileNumber{uint64(st.Dev), st.Ino}) {
		return false, err
	}
	if unix.Flock(kept, unix.LOCK_SH|unix.LOCK_NB) != nil || unix.Flock(kept, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil
	}
	u.lock, u.rec.Place = kept, place
	return true, nil
}

// takeLock takes the unit's lock. has is what its directory had a moment ago.
func (s *service) takeLock(u *unit, k stash, has policy.Names, was *priorState) (int, error) {
	l, err := s.dir.Lock(u.prefix)
	if errors.Is(err, unix.ENOENT) && has.Supervise { // it has been removed meanwhile
		if u.fresh, err = s.dir.MakeSupervise(u.prefix); err == nil {
			l, err = s.dir.Lock(u.prefix)
		}
	}
	if !errors.Is(err, unix.EAGAIN) || s.core.link == nil || s.opened {
		return l, err
	}
	if u.stashed { // somebody else has it
		if err := s.before(u, k, was); err != nil {
			return -1, err
		}
	}
	return s.waitForLock(u, was.told, err)
}

// hold takes note of where a unit is whose lock was just taken, and of what is left of it.
func (s *service) hold(u *unit, k stash, was *priorState) (err error) {
	if u.rec.Place == (state.Place{}) { // else it was seen with the lock
		if u.rec.Place, err = s.place(u.prefix); err != nil {
			return err
		}
	}
	if _, err = s.core.here(); err != nil || u.fresh && !u.stashed {
		return err
	}
	return s.settled(u, k, was)
}

// before looks for what an earlier core has left of a unit while another may have its
// lock: from here on the end of its process is not missed.
func (s *service) before(u *unit, k stash, was *priorState) error {
	place, err := s.place(u.prefix)
	if err != nil {
		return err
	}
	life, found, err := proc.Read(s.at(u.prefix), u.prefix+"supervise/proc")
	if err != nil {
		return err
	}
	if *was, err = s.earlier(u, k, place, life, found); err != nil {
		s.leaveRunning(was)
	}
	return err
}

// settled brings what was seen of a unit before its lock was taken, if anything was, up
// to date: nobody writes the record any more, and what was being made has lost its parent.
func (s *service) settled(u *unit, k stash, was *priorState) error {
	life, found, err := proc.ReadSettled(s.at(u.prefix), u.prefix+"supervise/proc")
	if err != nil {
		return err
	}
	// Read anew though the record may be the same: status files are written behind it.
	now, err := s.earlier(u, k, u.rec.Place, life, found)
	if err != nil {
		s.leaveRunning(&now)
		return err
	}
	if now.pidfd < 0 && now.ok && now.record.PID == was.record.PID && now.record.Ticks == was.record.Ticks {
		now.pidfd, was.pidfd = was.pidfd, -1
	}
	was.close()
	*was = now
	if was.ok {
		return nil
	}
	lost := !found && (u.stashed || s.lostRecord(u.prefix))
	s.clearRecord(u.prefix)
	if lost {
		if was.record, was.ok, err = s.orphanOf(u.prefix); err != nil || !was.ok {
			return err
		}
		sight, err := proc.See(was.record)
		if was.ok = sight.Found; err != nil {
			return err
		}
		was.trust = trustAll
		was.there, was.runs, was.ppid, was.pidfd = sight.Found, sight.Found && !sight.Dead, sight.PPID, sight.PidFD
	}
	return nil
}

// waitForLock asks the core that holds a lock to let go, and waits a while. told is the
// record as it is then.
func (s *service) waitForLock(u *unit, told state.Process, refused error) (l int, err error) {
	begun := time.Now()
	patience := 100 * time.Millisecond // it may be letting go already
	if s.askFor(u.prefix) {
		patience = 3 * time.Second
	}
	u.fresh = false
	s.yield() // others may come in meanwhile
	wait, ask := 2*time.Millisecond, 4*time.Millisecond
	l, err = -1, refused
	for deadline := begun.Add(patience); errors.Is(err, unix.EAGAIN) && time.Now().Before(deadline); {
		// It may not have known yet that its scanner is gone. Where this core's is gone too
		// it takes only what that has told to exit.
		if time.Since(begun) > ask && (!s.core.isOrphaned() || s.exits || s.inbox.hasExit()) {
			s.askFor(u.prefix)
			ask *= 2
		}
		// A log service that is told to end by the end of its pipe shall see it.
		if life, ok, err := proc.Read(s.at(u.prefix), u.prefix+"supervise/proc"); ok && err == nil && life.Want == state.WantExit {
			s.held.close()
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
		l, err = s.dir.Lock(u.prefix)
	}
	if err != nil {
		return -1, err
	}
	life, left, err := proc.Read(s.at(u.prefix), u.prefix+"supervise/proc")
	if err == nil && s.core.isOrphaned() && !mayTakeOrphaned(told, life, left) {
		err = refused
	}
	if err != nil {
		unix.Close(l)
		return -1, err
	}
	s.takenOver = s.takenOver || left
	return l, nil
}

// mayTakeOrphaned says whether a core whose scanner has gone takes a service over whose lock
// it has waited for: where the one that it has waited for has let go of it. What has been
// stopped meanwhile is not begun again, and what another scanner's core has had meanwhile is
// that scanner's.
func mayTakeOrphaned(told, life state.Process, left bool) bool {
	return left && life.Tree == told.Tree && life.World == told.World
}

// askFor asks the core that holds the lock to let go; log services go with
// their service.
func (s *service) askFor(prefix string) bool {
	fd, err := sys.Open(s.at(prefix), prefix+"supervise/control", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte{byte(byteDetach)})
	return err == nil
}

// unlock gives the unit's lock up, where it has it. One that another core is to take
// over from the scanner is only closed.
func (u *unit) unlock(handOver bool) {
	if u.lock >= 0 {
		if !handOver {
			unix.Flock(u.lock, unix.LOCK_UN)
		}
		unix.Close(u.lock)
		u.lock = -1
	}
}
