package core

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// leaveRunning lets go of a process that was not adopted, since the service
// cannot be opened now. When it is opened after all, it will have it.
func (s *service) leaveRunning(was *priorState) {
	s.leftRunning = s.leftRunning || was.runs
	if was.there && was.record.Word != state.ProcHosted {
		s.core.procs.reserve(was.record.PID, s.key)
	}
	was.close()
}

// priorState is what an earlier core has left of a unit.
type priorState struct {
	record    state.Process
	read      bool          // it was looked for
	ok        bool          // there is a record, and it counts
	trust     trust         // of the record
	verdict   verdict       // on it
	unwritten bool          // it could not be written, and the scanner has kept it
	there     bool          // the process that it names is there, alive or dead
	runs      bool          // and alive
	ppid      int           // its parent
	keptPipe  bool          // the pipe that it has is the one that the scanner has kept
	pidfd     int           // of the process, or of one that has ended and can tell how; else -1
	told      state.Process // the record as it was read
	seen      state.Record  // supervise/status
	state     []byte        // the same, undecoded
	stat      string        // supervise/stat
}

func (was *priorState) close() {
	if was.pidfd >= 0 {
		unix.Close(was.pidfd)
	}
	was.pidfd, was.there, was.runs = -1, false, false
}

// earlier looks for the traces of a core that did not let go. A process is
// held by its pidfd from here on, so that its end is not missed. What cannot be
// read at present is an error: it does not count as absent. life is the record, if it
// was found, and place where that is.
func (s *service) earlier(u *unit, k stash, place state.Place, life state.Process, found bool) (was priorState, err error) {
	prefix := u.prefix
	was.pidfd, was.read = -1, true
	at, err := s.core.here()
	if err != nil {
		return was, err
	}
	if l, ok := s.core.services.unwrittenOf(s.key, prefix); ok {
		life, found, was.unwritten = l, true, true
	}
	if !found {
		return was, nil
	}
	was.told, was.record = life, life
	if was.trust = trustOf(life, at.world, place); was.trust == untrusted {
		return was, nil
	}
	was.ok = true
	if err := s.readStatus(prefix, &was); err != nil {
		s.see(u, k, &was) // so that its end is not missed until it can be read
		return was, err
	}
	if life.Former {
		was.record.Want = was.seen.Want
		switch {
		case was.seen.Want == state.WantUnknown:
			was.record.Want = state.WantExit // the files decide
		case strings.Contains(was.stat, "want exit"):
			was.record.Want = state.WantExit
		case was.seen.Want == state.WantDown && (was.seen.PID != 0 && !was.seen.Termed || life.Word == state.ProcMaking):
			was.record.Want = state.WantOnce
		}
	}
	if was.record.Word == state.ProcMaking || was.record.Word == state.ProcFinishing {
		pid, ticks, err := s.findMade(prefix, was.record)
		if err != nil {
			return was, err
		}
		if pid != 0 {
			was.record.PID, was.record.Ticks = pid, ticks
		}
		if was.record.PID != 0 { // else none was made; it may have ended by now
			was.record.Word = map[string]string{state.ProcMaking: state.ProcRun, state.ProcFinishing: state.ProcFinish}[was.record.Word]
		}
	}
	return was, s.see(u, k, &was)
}

// see looks for the process that the record tells of.
func (s *service) see(u *unit, k stash, was *priorState) error {
	if was.record.Word != state.ProcRun && was.record.Word != state.ProcFinish && was.record.Word != state.ProcHosted {
		return nil
	}
	sight, err := proc.See(was.record)
	if err != nil {
		return err
	}
	was.there, was.runs, was.ppid, was.pidfd = sight.Found, sight.Found && !sight.Dead, sight.PPID, sight.PidFD
	if !was.there {
		was.pidfd = k.take(pidTag(u, was.record.PID)) // it has ended, and this can tell how
	}
	return nil
}

// readStatus reads supervise/status and supervise/stat. Of the latter the size tells
// enough where nothing was asked for: no other line is as short.
func (s *service) readStatus(prefix string, was *priorState) (err error) {
	if was.state, err = s.slurp(prefix, "status", state.StatusSize+1); err != nil {
		return err
	}
	was.seen, _ = state.ParseRecord(was.state)
	plain := state.Record{State: was.seen.State}.Text()
	if !was.record.Former && was.seen.State != state.Finish && was.seen.Text() == plain {
		if st, err := s.dir.Stat(prefix + "supervise/stat"); err == nil && st.Size == int64(len(plain)) {
			was.stat = plain
			return nil
		}
	}
	b, err := s.slurp(prefix, "stat", 64)
	was.stat = string(b)
	return err
}

// slurp reads a small file below supervise/; it is empty where it is absent.
func (s *service) slurp(prefix, name string, limit int) ([]byte, error) {
	b, err := sys.Slurp(s.at(prefix), prefix+"supervise/"+name, limit)
	if err != nil {
		return nil, sys.Unless(sys.Absent, "supervise/"+name, err)
	}
	return b, nil
}

// restore gives the unit the standing order, the times and the process that an
// earlier core has left.
func (s *service) restore(u *unit, was *priorState) {
	if !was.ok {
		return
	}
	if !was.seen.Since.IsZero() {
		w := &u.written // and only what is not right any more is written again
		// (pid is written before status, and where it cannot be status is not.)
		w.pid, w.stat, w.status, w.any = was.seen.PID, was.stat, [state.StatusSize]byte(was.state), true
		u.since = was.seen.Since
	}
	if was.verdict.order { // an order counts beyond a kill
		u.st.Want = was.record.Want
	}
	u.want, u.ready, u.rec.Line = u.st.Want, was.record.Ready, was.record.Line
	u.st.Unready = u.ready == state.NotReady
	now := s.core.sign(u, was.record)
	now.Core = was.told.Core
	if u.rec, u.recorded = now, now == was.told && !was.unwritten; !u.recorded { // it was another tree's, or was found while it was being made
		s.record(u, now)
	}
	u.began = time.Now().Add(-max(0, time.Since(u.since)))
	s.restoreHistory(u, was.record.Word)
	u.ws = was.record.Status
	switch was.record.Word {
	case state.ProcWaits:
		u.restoreOver(was.record)
		u.making = true
		return
	case state.ProcMaking: // no process came of it
		u.began = time.Time{} // it has rested
		u.making = true
		return
	case state.ProcDown:
		u.restoreOver(was.record)
		return
	case state.ProcFailed:
		u.restoreOver(was.record)
		u.st, _ = machine.Step(u.st, machine.FoundFailed)
		return
	case state.ProcEnded, state.ProcFinishing:
		u.st, _ = machine.Step(u.st, machine.FoundRun) // its end is told in resume
		if was.record.Word == state.ProcEnded {
			s.findStraysOf(u, was)
		}
		return
	}
	if was.record.Word == state.ProcHosted {
		u.st, _ = machine.Step(u.st, machine.FoundRun)
		if u.ws = statusUnknown; loghost.Built {
			s.restoreHosted(u, was)
		}
		return
	}
	r, ev := isRun, machine.FoundRun
	if was.record.Word == state.ProcFinish {
		r, ev = isFinish, machine.FoundFinish
	}
	if !was.there && was.pidfd < 0 {
		u.st, _ = machine.Step(u.st, ev)
		u.ws = statusUnknown
		if r == isFinish {
			u.ws = was.record.Status
		} else {
			s.findStraysOf(u, was)
		}
		return
	}
	p := s.core.procs.adopt(was.record.PID, was.pidfd, u, r)
	if p == nil { // it is another's
		return
	}
	u.st, _ = machine.Step(u.st, ev)
	u.pid, u.pidfd = p.pid, p.pidfd
	was.pidfd, was.there = -1, false
	u.replaced = was.verdict.stop
	u.foreign = was.ppid != s.core.whose
	s.renewed = s.renewed || u.foreign
	if u != &s.main {
		s.makeRoom(u) // it has them already
	}
	u.seenAs(was)
	if u.pidfd < 0 || s.core.poller.watch(u.pidfd, watch{unit: u, proc: p}, unix.EPOLLIN|unix.EPOLLET) != nil {
		s.core.lookAfter(p, was.record)
	}
}

// seenAs has a unit whose process runs on told as the status of the earlier core tells it,
// where that is about this process.
func (u *unit) seenAs(was *priorState) {
	if was.seen.PID == u.pid {
		u.st.Paused, u.st.Termed = was.seen.Paused, was.seen.Termed
	} else {
		u.since, u.began = time.Now(), time.Now()
	}
}

// findStraysOf looks for what ./run has left behind whose end the earlier core did not live to
// act on. The number of its session is nobody else's while something of it lives. Long after it
// might be; so what an earlier tree has left is not looked for.
func (s *service) findStraysOf(u *unit, was *priorState) {
	if was.verdict.order && was.seen.PID > 0 {
		s.findStrays(u, was.seen.PID)
	}
}

// resume goes on with a unit as restore has left it.
func (s *service) resume(u *unit) {
	if u.pid == 0 && u.st.Phase != machine.Idle { // its end is told
		switch {
		case u.st.Phase == machine.Finishing:
			s.ended(u, isFinish, u.ws, false)
		case !u.st.Log && s.ending():
			u.pid = u.written.pid
			s.feed(u, s.heldBy())
		default:
			s.ended(u, isRun, u.ws, s.hasFinish(u, isRun))
		}
		return
	}
	if u.pid != 0 {
		s.feed(u, machine.Taken)
	}
	s.feed(u, s.found(u))
}

// found is the event that tells what restore has left of a unit.
func (s *service) found(u *unit) machine.Event {
	switch {
	case u.st.Phase != machine.Idle && u.replaced:
		return machine.FoundOther
	case u.st.Phase != machine.Idle && !u.st.Log && s.ending():
		return machine.Scripted
	case u.st.Phase != machine.Idle:
		return machine.Resumed
	case u.st.Failed:
		return machine.FoundFailed
	case !u.st.Log && s.waits:
		return machine.BeginUnready
	case u.making:
		return machine.FoundMaking
	case !u.began.IsZero() && time.Since(u.began) < u.deaths.Rest():
		return machine.BeginSoon // the rest is still due
	}
	return machine.Begin
}
