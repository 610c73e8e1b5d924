package core

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// readPolicy reads what the service's directory, or its log service's, says beyond runit.
// What runs keeps what it was started with; a core that takes it over reads anew. has is
// what else is there.
func (s *service) readPolicy(u *unit) (has policy.Names) {
	if u == &s.main && s.opened {
		has = s.names.Now(s.dir.FD)
	} else {
		has = policy.List(s.dir.FD, "./"+u.prefix)
	}
	u.grouped = has.CGroup
	if u == &s.main {
		s.names = has
		s.readNeeds()
	}
	p, warnings := policy.Read(s.dir.FD, u.prefix, has)
	u.policy = p
	for _, err := range warnings {
		s.warn(err)
	}
	return has
}

// downSignal is what asks ./run to end.
func (u *unit) downSignal() unix.Signal {
	if u.policy != nil && u.policy.DownSignal != 0 {
		return u.policy.DownSignal
	}
	return unix.SIGTERM
}

// reloadSignal is what asks ./run to read its configuration again.
func (u *unit) reloadSignal() unix.Signal {
	if u.policy != nil && u.policy.ReloadSignal != 0 {
		return u.policy.ReloadSignal
	}
	return unix.SIGHUP
}

// timeout reads a time of the service's, where there is one.
func (s *service) timeout(u *unit, name string) time.Duration {
	d, err := policy.Timeout(s.dir.FD, u.prefix+name)
	if err != nil {
		s.warn(err)
	}
	return d
}

// startTimeoutKill has ./run killed at the time that the service says, counted from when
// it was asked to end. What is asked again keeps its first time.
func (s *service) startTimeoutKill(u *unit, pid int, asked time.Time) {
	if u.deadline != nil || pid == 0 || u.pid != pid || u.st.Phase != machine.Running {
		return
	}
	if d := s.timeout(u, policy.TimeoutKill); d > 0 {
		u.deadlineIn(time.Until(asked.Add(d)), pid)
	}
}

// startTimeoutFinish has ./finish killed if it takes longer than the service says.
func (s *service) startTimeoutFinish(u *unit, pid int) {
	if d := s.timeout(u, policy.TimeoutFinish); d > 0 {
		u.deadlineIn(d, pid)
	}
}

func (u *unit) deadlineIn(d time.Duration, pid int) {
	u.stopDeadline()
	u.deadline = time.AfterFunc(max(0, d), func() { u.svc.post(event{kind: evTimeout, who: u, pid: pid}) })
}

func (u *unit) stopDeadline() {
	if u.deadline != nil {
		u.deadline.Stop()
		u.deadline = nil
	}
}

// timedOut kills what has not ended in time.
func (s *service) timedOut(ev event) {
	u := ev.who
	if u.pid != ev.pid || u.deadline == nil {
		return
	}
	u.deadline = nil
	if u.st.Phase == machine.Running {
		s.hear(u)
		if more := u.extended(); more > 0 {
			u.deadlineIn(more, ev.pid)
			return
		}
	}
	what, name := "./run", policy.TimeoutKill
	if u.st.Phase == machine.Finishing {
		what, name = "./finish", policy.TimeoutFinish
	}
	s.warn(fmt.Errorf("%s%s (pid %d) has not ended within %s: it is killed", u.prefix, what, ev.pid, name))
	if u.policy != nil && u.policy.KillGroup && u.st.Phase == machine.Running {
		unix.Kill(-ev.pid, unix.SIGKILL)
	}
	if !u.sendHosted(unix.SIGKILL) {
		proc.SendSignal(ev.pid, u.pidfd, unix.SIGKILL)
	}
}

// resumeDeadline goes on with a timeout that had begun when an earlier core was killed:
// supervise/status was last written when the process was asked to end, or ./finish begun.
func (s *service) resumeDeadline(u *unit) {
	if u.pid == 0 || u.st.Phase != machine.Finishing && !u.st.Termed {
		return
	}
	st, err := s.dir.Stat(u.prefix + "supervise/status")
	if err != nil {
		return
	}
	since := time.Unix(st.Mtim.Unix())
	if u.st.Phase == machine.Finishing {
		if d := s.timeout(u, policy.TimeoutFinish); d > 0 {
			u.deadlineIn(time.Until(since.Add(d)), u.pid)
		}
		return
	}
	s.startTimeoutKill(u, u.pid, since)
}

// openReadiness makes what ./run is to say by that it is ready, as far as the service says
// so: a pipe, a socket. An error is as if the process could not be made: without them it
// would never be ready.
func (s *service) openReadiness(u *unit, o *order) (err error) {
	u.closeNotify()
	u.closeTalk()
	u.setReady(state.NotSaid)
	if err := s.makeRoom(u); err != nil || u.room == 0 {
		return err
	}
	p := u.policy
	if p.NotificationFD != 0 {
		o.notify, err = s.openNotify(u)
		o.notifyAs = p.NotificationFD
	}
	if err == nil && p.NotifySocket {
		if err = s.openTalk(u); err == nil {
			o.env = u.talkEnv(s.core.env)
		} else if o.notify != 0 {
			unix.Close(o.notify)
			u.dropNotify()
		}
	}
	if err != nil {
		return err
	}
	u.setReady(state.NotReady)
	s.core.stashNow(s)
	return nil
}

// openNotify makes the pipe of notification-fd, and gives the end that is the process's.
// That end can be read as well: so nobody is killed by SIGPIPE who says something while no
// core is there.
func (s *service) openNotify(u *unit) (fd int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, fmt.Errorf("unable to create the pipe of notification-fd: %w", err)
	}
	s.watchNotify(u, p[0])
	return sys.Lasting(p[1]), nil
}

// makeRoom reserves the descriptors by which ./run is to say that it is ready, for as long
// as the service says so.
func (s *service) makeRoom(u *unit) error {
	need := int8(0)
	if p := u.policy; p != nil {
		if p.NotificationFD != 0 {
			need++
		}
		if p.NotifySocket {
			need++
		}
	}
	more := int(need - u.room)
	if more > 0 && !s.core.descriptors.take(more) {
		return self.ErrShortage
	}
	if more < 0 {
		s.core.descriptors.give(-more)
	}
	s.taken += more
	u.room = need
	return nil
}

// setReady says whether ./run is ready, as the record is to tell it.
func (u *unit) setReady(r state.Readiness) {
	u.records.Lock()
	u.ready = r
	u.records.Unlock()
}

// watchNotify has what ./run writes to its notification-fd told.
func (s *service) watchNotify(u *unit, fd int) {
	unix.SetNonblock(fd, true)
	u.notify = fd
	if err := s.core.poller.watch(fd, watch{unit: u, notify: true}, unix.EPOLLIN|unix.EPOLLET); err != nil {
		s.warn(fmt.Errorf("unable to poll notification-fd: %w", err))
	}
}

// restoreNotify waits on for what ./run of an earlier core has yet to say.
func (s *service) restoreNotify(u *unit, k stash) {
	if u.pid == 0 || u.ready != state.NotReady || u.st.Phase != machine.Running {
		return
	}
	s.startTimeoutReady(u, u.since)
	fd := k.take(u.prefix + "notify")
	if fd < 0 && u.policy != nil && u.policy.NotificationFD != 0 {
		fd, _ = sys.ReopenPipe(proc.Path(u.pid, "fd/"+strconv.Itoa(u.policy.NotificationFD)), unix.O_RDONLY)
		s.renewed = true
	}
	if fd < 0 {
		return
	}
	s.watchNotify(u, fd)
	s.post(event{kind: evNotified, who: u}) // it may have said it meanwhile
}

// notified reads what ./run has written: the first newline says that it is ready.
func (s *service) notified(u *unit) {
	var buf [64]byte
	for u.notify != 0 {
		n, err := unix.Read(u.notify, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if bytes.IndexByte(buf[:n], '\n') >= 0 {
			u.closeNotify()
			s.tellReady(u)
		}
	}
}

// tellReady records that ./run is ready, and has those look who wait for it: they wait
// for supervise/status to be written.
func (s *service) tellReady(u *unit) {
	u.records.Lock()
	u.ready, u.rec.Ready = state.IsReady, state.IsReady
	var err error
	if u.recorded {
		err = proc.WriteReady(s.at(u.prefix), u.prefix+"supervise/proc", state.IsReady)
		u.recorded = err == nil
	}
	u.records.Unlock()
	s.noteRecord(u, err)
	s.noteReady(u)
	u.written.status = [state.StatusSize]byte{}
	u.write()
	if u == &s.main {
		s.tellStanding()
	}
}

// closeNotify ends the wait for readiness of a service that goes on: the scanner is to
// keep the descriptors that it still has.
func (u *unit) closeNotify() {
	u.stopLate()
	if u.notify != 0 {
		u.svc.core.awaitStash(u.svc)
		u.dropNotify()
		u.svc.core.stashSoon(u.svc)
	}
}

// dropNotify ends the wait for readiness. The scanner has, or needs, no descriptors of
// the service that are still to be sent.
func (u *unit) dropNotify() {
	u.stopLate()
	if u.notify != 0 {
		u.svc.core.poller.close(u.notify)
		u.notify = 0
	}
}

// stopLate ends the time in which ./run has to be ready.
func (u *unit) stopLate() {
	if u.late != nil {
		u.late.Stop()
		u.late = nil
	}
}

// startTimeoutReady has a ./run stopped, and thereby started again, that has not said in
// time that it is ready.
func (s *service) startTimeoutReady(u *unit, since time.Time) {
	if u.ready != state.NotReady {
		return
	}
	if d := s.timeout(u, policy.TimeoutReady); d > 0 {
		s.lateIn(u, time.Until(since.Add(d)))
	}
}

func (s *service) lateIn(u *unit, d time.Duration) {
	pid := u.pid
	u.late = time.AfterFunc(max(0, d), func() { s.post(event{kind: evLate, who: u, pid: pid}) })
}

// late stops what is not ready in time.
func (s *service) late(ev event) {
	u := ev.who
	if u.pid != ev.pid || u.late == nil {
		return
	}
	u.late = nil
	s.hear(u)
	if more := u.extended(); more > 0 {
		s.lateIn(u, more)
		return
	}
	if u.ready == state.NotReady && u.st.Phase == machine.Running && !u.st.Termed {
		s.warn(fmt.Errorf("%s./run (pid %d) is not ready within %s: it is stopped", u.prefix, ev.pid, policy.TimeoutReady))
		s.feed(u, machine.CmdTerm)
	}
}

// deaths are the last ends of a service that says what is to follow them.
type deaths struct {
	times []time.Time
	pause time.Duration // the last rest by back-off
}

// exitFailed is the exit code of ./finish that gives the service up.
const exitFailed = 125

// endedByPolicy tells the machine that ./run or ./finish is over where the service says
// what is to follow, and else returns false.
func (s *service) endedByPolicy(u *unit, r role, ws unix.WaitStatus) bool {
	if r == isFinish && ws.Exited() && ws.ExitStatus() == exitFailed {
		s.giveUp(u, "./finish exited 125")
		return true
	}
	p := u.policy
	if p == nil || u.st.Want != state.WantUp {
		return false
	}
	now := time.Now()
	if u.deaths.tooMany(p, now) {
		s.giveUp(u, fmt.Sprintf("it has ended %d times within %v", p.GiveUpAfter+1, p.GiveUpWithin))
		return true
	}
	if !u.deaths.backOff(p, now.Sub(u.began)) {
		return false
	}
	s.feed(u, machine.GoneBackoff)
	return true
}

// tooMany takes an end, and says whether the service is to be given up with it.
func (d *deaths) tooMany(p *policy.Policy, now time.Time) bool {
	d.times = append(d.times, now)
	if n := len(d.times) - max(p.Deaths, p.GiveUpAfter+1); n > 0 {
		d.times = d.times[n:]
	}
	last := len(d.times) - 1
	return p.GiveUpAfter > 0 && last >= p.GiveUpAfter && now.Sub(d.times[last-p.GiveUpAfter]) <= p.GiveUpWithin
}

// backOff sets the pause behind a life of that length, and says whether there is one of
// the service's own.
func (d *deaths) backOff(p *policy.Policy, lived time.Duration) bool {
	if p.BackoffMax == 0 {
		return false
	}
	if d.pause *= 2; d.pause == 0 || lived >= p.BackoffMax {
		d.pause = p.BackoffMin
	}
	d.pause = min(d.pause, p.BackoffMax)
	return true
}

// giveUp leaves the service down until an order starts it.
func (s *service) giveUp(u *unit, why string) {
	s.fatal(fmt.Errorf("%sgiven up: %s; sv up starts it again.", u.prefix, why))
	u.deaths = deaths{}
	s.record(u, state.Process{Word: state.ProcFailed, Status: u.ws, Ticks: 1})
	s.feed(u, machine.Failed)
}

// strayTimeout is how long what ./run has left behind has between TERM and KILL where
// timeout-kill does not say it.
const strayTimeout = 5 * time.Second

// endsStrays says whether what the unit's ./run has left behind is to be ended.
func (u *unit) endsStrays() bool {
	return u == &u.svc.main && u.policy != nil && u.policy.KillStrays
}

// endStrays ends what ./run has left behind in its session, or in a cgroup of its own where
// there could be one, where the service asks for that. ./finish, and the next ./run, wait
// for it.
func (s *service) endStrays(u *unit, pid int) {
	if !u.endsStrays() || len(u.strays(pid)) == 0 {
		return
	}
	limit := s.timeout(u, policy.TimeoutKill)
	if limit == 0 {
		limit = strayTimeout
	}
	s.strays = true
	go func() {
		pause := 5 * time.Millisecond
		sig := unix.SIGTERM
		for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
			left := u.strays(pid)
			if len(left) == 0 {
				break
			}
			if !time.Now().Before(deadline) {
				sig = unix.SIGKILL
			}
			if sig != 0 {
				for _, p := range left {
					unix.Kill(p, sig)
					unix.Kill(p, unix.SIGCONT)
				}
			}
			if sig == unix.SIGTERM { // it is asked once
				sig = 0
			}
			pause = min(2*pause, 100*time.Millisecond)
		}
		s.post(event{kind: evStraysGone, pid: pid})
	}()
}

// strays are the living processes of the session that the process of that number has led,
// and of its cgroup, if it had one.
func (u *unit) strays(leader int) (pids []int) {
	group := u.groupMembers()
	proc.Each(func(pid int) error {
		sid, err := unix.Getsid(pid)
		if pid == leader || (err != nil || sid != leader) && !slices.Contains(group, pid) {
			return nil
		}
		if st, ok, err := proc.StatOf(pid); err == nil && ok && st.State != 'Z' && st.State != 'X' {
			pids = append(pids, pid)
		}
		return nil
	})
	return pids
}
