package core

import (
	"cmp"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// recordEnd records the end of ./run or ./finish.
func (s *service) recordEnd(u *unit, r role, ws unix.WaitStatus) {
	l := state.Process{Word: state.ProcDown, Status: ws}
	if r == isRun && u == &s.main {
		l.Word = state.ProcEnded
	}
	if u.isEssential() {
		l.Ticks = 1 // it is down because it has ended; the status is that of ./run
		if r == isFinish {
			l.Status = u.ws
		}
	}
	s.record(u, l)
}

// recordEnds records, for the core that takes over, the ends that this one has yet to
// act on. Where their parent has collected the processes nobody else can know of them.
func (s *service) recordEnds() {
	for _, u := range s.units() {
		if u.pidfd < 0 {
			continue
		}
		if ws, known, _ := exitStatus(u.pidfd); known {
			r := isRun
			if u.st.Phase == machine.Finishing {
				r = isFinish
			}
			s.recordEnd(u, r, ws)
		}
	}
}

// sign puts into a record where and by whom it is written, and the standing order.
// The unit's records are locked.
func (c *Core) sign(u *unit, l state.Process) state.Process {
	at, _ := c.here() // which is known since the service was opened
	l.World, l.Place, l.Tree, l.Core, l.Want, l.Former = at.world, u.rec.Place, at.tree, c.self, u.want, false
	l.Ready = u.ready
	if l.Line = u.rec.Line; l.Line == 0 || l.Line == at.tree { // by now the line may be known
		l.Line = cmp.Or(c.survivors.line.Load(), at.tree)
	}
	return l
}

// record writes a record of the unit.
func (s *service) record(u *unit, l state.Process) {
	u.records.Lock()
	u.want = u.st.Want
	u.rec = s.core.sign(u, l)
	err := proc.Write(s.at(u.prefix), u.prefix+"supervise/proc", u.rec)
	u.recorded = err == nil
	u.records.Unlock()
	s.noteRecord(u, err)
}

// recordWant writes a new standing order into the record, before it is acted on.
func (s *service) recordWant(u *unit) {
	u.records.Lock()
	u.want = u.st.Want
	making := s.ordered > 0 && !u.recorded // who makes the process writes it
	if s.deleted || making || u.rec.Place == (state.Place{}) {
		u.records.Unlock()
		return
	}
	switch {
	case s.ordered == 0 && u.want == state.WantOnce && u.st.Phase == machine.Starting: // it is due until a process was made
		u.rec, u.recorded = state.Process{Word: state.ProcMaking, Ticks: proc.TicksNow(), Place: u.rec.Place, Line: u.rec.Line}, false
	case u.rec.Word == "":
		u.rec.Word, u.recorded = state.ProcDown, false
	}
	u.rec = s.core.sign(u, u.rec)
	var err error
	if path := u.prefix + "supervise/proc"; u.recorded {
		err = proc.WriteWant(s.at(u.prefix), path, u.want)
	} else {
		err = proc.Write(s.at(u.prefix), path, u.rec)
	}
	u.recorded = err == nil
	u.records.Unlock()
	s.noteRecord(u, err)
}

// noteRecord takes note of whether a record could be written. One that could not is
// left with the scanner, for the next core.
func (s *service) noteRecord(u *unit, err error) {
	if err != nil {
		s.warnOnDeleted(err)
		s.repairLater()
	}
	if err != nil || u.left {
		u.left = err != nil
		s.core.stashNow(s)
	}
}

// clearRecord makes a record that tells nothing in place of what is there.
func (s *service) clearRecord(prefix string) {
	if !s.newRecord(prefix) {
		unix.Unlinkat(s.at(prefix), prefix+"supervise/proc", 0)
		s.newRecord(prefix)
	}
}

// newRecord makes the record, if there is none, before it is needed: blank, so
// that it tells nothing and has room on the disk. (In a directory that was made
// for it that is done when there is something to tell.) What the status file tells
// of an earlier life must not be taken for this one's.
func (s *service) newRecord(prefix string) bool {
	fd, err := sys.Open(s.at(prefix), prefix+"supervise/proc", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return false
	}
	unix.Write(fd, []byte(state.Blank))
	unix.Close(fd)
	unix.Unlinkat(s.at(prefix), prefix+"supervise/status", 0)
	return true
}
