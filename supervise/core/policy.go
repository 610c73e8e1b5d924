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
	most := u.remembered()
	if u.policy = p; u.remembered() != most {
		u.ends = 0 // supervise/history gets another length
	}
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

// limit begins a time that what runs has to end, counted from since, unless one runs: what is
// asked again keeps its first time.
func (s *service) limit(u *unit, name string, since time.Time) {
	if u.deadline != nil {
		return
	}
	if d := s.timeout(u, name); d > 0 {
		u.deadlineIn(time.Until(since.Add(d)))
	}
}

// resumeLimit goes on with a time that began before an earlier core was killed: when
// supervise/status was last written the process was asked to end, or ./finish begun.
func (s *service) resumeLimit(u *unit, name string) {
	if st, err := s.dir.Stat(u.prefix + "supervise/status"); err == nil {
		s.limit(u, name, time.Unix(st.Mtim.Unix()))
	}
}

func (u *unit) deadlineIn(d time.Duration) {
	pid := u.pid
	u.deadline = time.AfterFunc(max(0, d), func() { u.svc.post(event{kind: evTimeout, who: u, pid: pid}) })
}

func (u *unit) stopDeadline() {
	if u.deadline != nil {
		u.deadline.Stop()
		u.deadline = nil
	}
}

// timedOut tells the machine that a time is over, unless ./run has asked for more.
func (s *service) timedOut(ev event) {
	u := ev.who
	if u.pid != ev.pid || u.deadline == nil {
		return
	}
	u.deadline = nil
	s.hear(u)
	if more := u.extended(); more > 0 {
		u.deadlineIn(more)
		return
	}
	s.feed(u, machine.Overdue)
}

// kill kills what has not ended within the time of that name.
func (s *service) kill(u *unit, what, name string, group bool) {
	s.warn(fmt.Errorf("%s%s (pid %d) has not ended within %s: it is killed", u.prefix, what, u.pid, name))
	if group {
		unix.Kill(-u.pid, unix.SIGKILL)
	}
	u.send(unix.SIGKILL)
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
	s.feed(u, machine.Unready)
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
	if more > 0 && !s.reserve(more) {
		return self.ErrShortage
	}
	if more < 0 {
		s.core.descriptors.give(-more)
		s.taken += more
	}
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
			s.feed(u, machine.Ready)
		}
	}
}

// tellReady records that ./run is ready, and has those look who wait for it: they wait
// for supervise/status to be written.
func (s *service) tellReady(u *unit) {
	u.closeNotify()
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

// limitReady begins the time in which ./run has to say that it is ready.
func (s *service) limitReady(u *unit) {
	if d := s.timeout(u, policy.TimeoutReady); d > 0 {
		u.lateIn(time.Until(u.since.Add(d)))
	}
}

func (u *unit) lateIn(d time.Duration) {
	pid := u.pid
	u.late = time.AfterFunc(max(0, d), func() { u.svc.post(event{kind: evLate, who: u, pid: pid}) })
}

// late tells the machine that ./run is not ready in time, unless it is by now, or has asked
// for more.
func (s *service) late(ev event) {
	u := ev.who
	if u.pid != ev.pid || u.late == nil {
		return
	}
	u.late = nil
	s.hear(u)
	switch more := u.extended(); {
	case !u.st.Unready:
	case more > 0:
		u.lateIn(more)
	default:
		s.feed(u, machine.Late)
	}
}

// exitRefused is the exit code of ./finish after which the service is not started again.
const exitRefused = 125

// rules are what the service says of what follows an end.
func (u *unit) rules() machine.Rules {
	if u.policy == nil {
		return machine.Rules{}
	}
	return u.policy.Rules
}

// giveUp has others see that the service stays down until an order starts it.
func (s *service) giveUp(u *unit, why machine.Event) {
	text := "./finish exited 125"
	if why == machine.TooMany {
		text = fmt.Sprintf("it has ended %d times within %v", u.policy.GiveUpAfter+1, u.policy.GiveUpWithin)
	}
	s.fatal(fmt.Errorf("%sgiven up: %s; sv up starts it again.", u.prefix, text))
	s.record(u, state.Process{Word: state.ProcFailed, Status: u.ws, Ticks: 1})
	s.tellOver(u)
}

// killTimeout is how long what is to be killed has for its end where timeout-kill does not
// say it.
const killTimeout = 5 * time.Second

// killTime is how long what is to be killed in any case has for its end.
func (s *service) killTime(u *unit) time.Duration {
	if d := s.timeout(u, policy.TimeoutKill); d > 0 {
		return d
	}
	return killTimeout
}

// endsStrays says whether what the unit's ./run has left behind is to be ended.
func (u *unit) endsStrays() bool {
	return u == &u.svc.main && u.policy != nil && u.policy.KillStrays
}

// findStrays takes note of whether ./run, which was that process, has left behind something
// that is to be ended: in its session, or in a cgroup of its own where there could be one.
func (s *service) findStrays(u *unit, pid int) {
	if u.endsStrays() {
		s.strays = len(u.strays(pid)) > 0
	}
}

// endStrays sends a signal to what ./run has left behind, and tells the machine when it is
// gone, or that it is not within limit. Where there is no limit it is sent to what comes of
// that, too.
func (s *service) endStrays(u *unit, sig unix.Signal, limit time.Duration) {
	pid := u.pid
	go func() {
		told := machine.StraysGone
		pause := 5 * time.Millisecond
		for begin, once := time.Now(), false; ; time.Sleep(pause) {
			left := u.strays(pid)
			if len(left) == 0 {
				break
			}
			if limit > 0 && time.Since(begin) >= limit {
				told = machine.StraysLate
				break
			}
			if limit == 0 || !once {
				once = true
				for _, p := range left {
					unix.Kill(p, sig)
					unix.Kill(p, unix.SIGCONT)
				}
			}
			pause = min(2*pause, 100*time.Millisecond)
		}
		s.post(event{kind: evStrays, pid: pid, cmd: told})
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
