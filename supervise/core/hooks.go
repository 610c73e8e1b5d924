package core

import (
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
)

// A control script that is to end ./run is recorded while it runs, as ./run itself
// is: when the core is killed meanwhile, the next one waits for it too, and goes on
// behind it where the first had stopped.

// endings are the scripts that are to end ./run.
var endings = [...]struct {
	hook byte
	lane int
}{{'t', laneLife}, {'d', laneLife}, {'x', laneLife}, {'k', laneKill}}

// hookRecord is the record of a control script that is to end ./run.
func hookRecord(hook byte) string { return "supervise/proc." + string(hook) }

// forgetHook removes the record of the script that a lane has run.
func (s *service) forgetHook(l int) {
	if l == laneLife || l == laneKill {
		unix.Unlinkat(s.at(""), hookRecord(s.lanes[l].hook), 0)
	}
	lane := &s.lanes[l]
	if lane.pidfd > 0 {
		s.core.poller.close(lane.pidfd)
		lane.pidfd = 0
	}
	lane.rec = state.Process{}
	if lane.left {
		lane.left = false
		s.core.stashNow(s)
	}
}

// hookTag is by what the scanner keeps a script's record that could not be written.
func hookTag(hook byte) string { return "." + string(hook) }

// noteHook takes the record of a script that was made.
func (s *service) noteHook(l int, ev event) {
	lane := &s.lanes[l]
	if ev.rec == nil {
		return
	}
	lane.rec = *ev.rec
	if lane.left = ev.err != nil; lane.left {
		s.warnOnDeleted(ev.err)
		s.repairLater()
		s.core.stashNow(s)
	}
}

// missesHook says whether the record of a script that runs was deleted.
func (s *service) missesHook() bool {
	for i := range s.lanes {
		if l := &s.lanes[i]; l.rec.PID != 0 && !l.left {
			if _, err := s.dir.Stat(hookRecord(l.hook)); errors.Is(err, unix.ENOENT) {
				return true
			}
		}
	}
	return false
}

// loseHooks has the records of scripts that run written again, in a supervise
// directory that has been made again.
func (s *service) loseHooks(place state.Place) {
	for i := range s.lanes {
		if l := &s.lanes[i]; l.rec.PID != 0 {
			l.rec.Place, l.left = place, true
		}
	}
}

// rewriteHooks writes the records that could not be written, and says whether there
// are none left.
func (s *service) rewriteHooks() bool {
	whole := true
	for i := range s.lanes {
		l := &s.lanes[i]
		if !l.left {
			continue
		}
		if l.left = proc.Write(s.at(""), hookRecord(l.hook), l.rec) != nil; l.left {
			whole = false
		}
		s.core.stashNow(s)
	}
	return whole
}

// leftHook is a control script that an earlier core has begun.
type leftHook struct {
	hook byte
	lane int
	life state.Process
	left bool // the record could not be written
}

// leftHooks are those that still run. What cannot be read at present is an error.
func (s *service) leftHooks() (left []leftHook, err error) {
	if s.names.Known && !s.names.Control || !s.dir.Has("control") {
		return nil, nil
	}
	at, err := s.core.here()
	if err != nil {
		return nil, err
	}
	for _, e := range endings {
		life, ok, err := proc.ReadSettled(s.at(""), hookRecord(e.hook))
		kept, unwritten := s.core.services.unwrittenOf(s.key, hookTag(e.hook))
		if unwritten {
			life, ok = kept, true
		}
		if err != nil {
			return nil, err
		}
		if ok && life.PID != 0 && trustOf(life, at.world, s.main.rec.Place) == trustAll {
			if ok, err = runsHook(&life); err != nil {
				return nil, err
			}
			if ok {
				left = append(left, leftHook{e.hook, e.lane, life, unwritten})
				continue
			}
		}
		unix.Unlinkat(s.at(""), hookRecord(e.hook), 0)
	}
	return left, nil
}

// runsHook says whether the script of the record is there, and completes the record
// of one that has written its pid itself.
func runsHook(l *state.Process) (bool, error) {
	if l.Word == state.ProcMaking {
		st, found, err := proc.StatOf(l.PID)
		if err != nil {
			return false, err
		}
		if found && st.Ticks >= l.Ticks && st.Ticks <= l.Ticks+soon {
			l.Ticks = st.Ticks
		}
		l.Word = state.ProcRun
	}
	sight, err := proc.See(*l)
	if sight.PidFD >= 0 {
		unix.Close(sight.PidFD)
	}
	return sight.Found, err
}

// restoreHooks takes over the control scripts that an earlier core has left.
func (s *service) restoreHooks(left []leftHook) {
	for _, h := range left {
		if s.lanes[h.lane].busy || !s.restoreHook(h) {
			unix.Unlinkat(s.at(""), hookRecord(h.hook), 0)
		}
	}
}

// restoreHook takes over one, unless it is another's.
func (s *service) restoreHook(h leftHook) bool {
	sight, err := proc.See(h.life)
	if err == nil && !sight.Found {
		return false
	}
	p := s.core.procs.adopt(h.life.PID, sight.PidFD, &s.main, isHook+role(h.lane))
	if p == nil {
		if sight.PidFD >= 0 {
			unix.Close(sight.PidFD)
		}
		return false
	}
	lane := s.occupy(h.lane)
	lane.hook, lane.pid, lane.pidfd = h.hook, h.life.PID, max(sight.PidFD, 0)
	lane.rec, lane.left = h.life, h.left
	if h.left {
		s.repairLater()
	}
	u, pid := &s.main, s.main.pid
	switch h.hook {
	case 't':
		lane.then = s.stopped(u, pid)
	case 'k':
		lane.then = s.sent(u, pid, machine.SendKill)
	default:
		lane.then = func(bool) {}
	}
	if sight.PidFD < 0 || s.core.poller.watch(sight.PidFD, watch{unit: u, proc: p}, unix.EPOLLIN|unix.EPOLLET) != nil {
		s.core.lookAfter(p, h.life)
	}
	return true
}
