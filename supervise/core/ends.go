package core

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/wire"
)

// seen tells the scanner that it may collect a process that it has inherited.
func (c *Core) seen(pid int) {
	if c.link != nil {
		c.report(wire.Message{Word: "seen", Arg: strconv.Itoa(pid), Arg2: "0"})
	}
}

// ending acts on the end of an adopted process as its pidfd tells it. A child
// of the scanner is left to that, which knows the status.
func (c *Core) ending(w watch, pidfd int) {
	fd, watched := c.poller.dup(pidfd, w)
	switch {
	case !watched: // it is closed, and may be another by now
		return
	case fd < 0: // there are too few at the moment
		time.AfterFunc(time.Second, func() { c.ending(w, pidfd) })
		return
	}
	go func() {
		defer unix.Close(fd)
		pause := 10 * time.Millisecond
		for begin := time.Now(); c.procs.awaited(w.proc); time.Sleep(pause) {
			ws, known, err := exitStatus(fd)
			st, there, serr := proc.StatOf(w.proc.pid)
			switch {
			case known: // its parent has collected it
				c.procs.ended(w.proc, ws)
				return
			case serr != nil:
			case there && c.scannerHas(st):
				pause = min(2*pause, 5*time.Second)
			case there && st.State == 'Z' && (st.Status != 0 || os.Geteuid() == 0): // who may not know it is told 0
				c.procs.ended(w.proc, st.Status)
				return
			case err != nil && (there || c.link == nil || c.isOrphaned()), time.Since(begin) > time.Second:
				// A kernel before 6.15, where the scanner, if it may be the parent without our
				// seeing that, has a moment; or a parent that does not care.
				c.procs.ended(w.proc, statusUnknown)
				return
			}
		}
	}()
}

// scannerHas says whether a process is a child of the scanner, which will tell
// how it has ended.
func (c *Core) scannerHas(st proc.Stat) bool {
	return c.link != nil && st.PPID == os.Getppid() && !c.isOrphaned()
}

// exitStatus is how a process has ended, as its pidfd tells it when its parent
// has reaped it; until then it is not known.
func exitStatus(pidfd int) (ws unix.WaitStatus, known bool, err error) {
	for range 2 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if err = unix.IoctlPidfdInfo(pidfd, &info); err == nil {
			return unix.WaitStatus(info.Exit_code), info.Mask&unix.PIDFD_INFO_EXIT != 0, nil
		}
		// One that is reaped while the kernel looks at it is not there any more;
		// asked again, it tells how it has ended.
		if err != unix.ESRCH {
			break
		}
	}
	return 0, false, err
}

// rewatch looks again at an adopted process whose parent was the scanner, when
// that is gone.
func (c *Core) rewatch(w watch, pidfd int) {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); err == nil && n > 0 {
		c.ending(w, pidfd)
	}
}

// lookAfter looks once a second after an adopted process that no pidfd tells the end
// of, as long as nobody else does.
func (c *Core) lookAfter(p *process, l state.Process) {
	time.AfterFunc(lookTime, func() {
		if !c.procs.awaited(p) {
			return
		}
		sight, err := proc.See(l)
		if sight.PidFD >= 0 {
			unix.Close(sight.PidFD)
		}
		// A corpse is left for a while to the scanner or whoever knows how it has ended.
		if err == nil && !sight.Found {
			c.procs.ended(p, statusUnknown)
			return
		}
		c.lookAfter(p, l)
	})
}

// lookTime is how often that is.
const lookTime = time.Second

// died takes the death of a process. It is recorded before the process is
// reaped: a core that is killed between leaves the corpse or the record. Only that of the
// last process of a service that exits is not, since the record is about to go: a core that
// finds the process gone, and no ./finish, lets go of the service as well.
func (s *service) died(ev event) {
	u := ev.who
	finish := false
	if ev.role < isHook && ev.pid == u.pid && ev.engine == u.engine() {
		finish = s.hasFinish(u, ev.role)
		if !s.isLast(u, finish) {
			s.recordEnd(u, ev.role, ev.ws)
		}
	}
	s.core.procs.recorded(ev.proc)
	if ev.role >= isHook {
		l := int(ev.role - isHook)
		if s.lanes[l].pid == ev.pid {
			s.hookOver(l, ev.ws == 0)
		}
		return
	}
	if ev.pid != u.pid || ev.engine != u.engine() {
		return
	}
	if l := u.lodging; loghost.Built && l != nil {
		s.core.hosting.tell(l.host, loghost.Known, l.engine, 0)
		u.lodging = nil
	}
	if u.pidfd >= 0 {
		s.core.awaitStash(s)
		s.core.poller.close(u.pidfd)
		u.pidfd = -1
		if u.foreign {
			u.foreign = false
			s.core.stashNow(s)
		}
	}
	u.stopDeadline()
	if u == &s.main && s.said != nil {
		s.core.lines.end(s.said)
	}
	if ev.role == isRun {
		s.noteEnd(u, ev.ws, ev.proc)
		u.closeNotify()
		u.closeTalk()
		s.findStrays(u, ev.pid)
	}
	if ev.role == isRun && u == &s.main && s.ending() {
		u.ws = ev.ws
		s.feed(u, s.heldBy())
		return
	}
	u.pid = 0
	s.ended(u, ev.role, ev.ws, finish)
}
