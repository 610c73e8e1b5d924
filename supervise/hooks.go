package supervise

import "golang.org/x/sys/unix"

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
		unix.Unlinkat(s.dir.fd, hookRecord(s.lanes[l].hook), 0)
	}
	if lane := &s.lanes[l]; lane.pidfd > 0 {
		s.core.unwatch(lane.pidfd)
		lane.pidfd = 0
	}
}

// restoreHooks takes over the control scripts that an earlier core has left.
func (s *service) restoreHooks() {
	if !s.dir.has("control") {
		return
	}
	for _, e := range endings {
		life, ok := readLife(s.dir.fd, hookRecord(e.hook))
		if !ok || life.PID == 0 || s.lanes[e.lane].busy || !s.restoreHook(e.lane, e.hook, life) {
			unix.Unlinkat(s.dir.fd, hookRecord(e.hook), 0)
		}
	}
}

// restoreHook takes over one that is still there.
func (s *service) restoreHook(l int, hook byte, life Life) bool {
	pidfd, err := unix.PidfdOpen(life.PID, 0)
	if err != nil {
		return false
	}
	st, found := statOf(life.PID) // read behind the pidfd: it is of one process
	same := st.ticks == life.Ticks || life.Word == LifeMaking && st.ticks >= life.Ticks && st.ticks <= life.Ticks+soon
	var p *process
	if found && same {
		p = s.core.procs.adopt(life.PID, pidfd, &s.main, isHook+role(l))
	}
	if p == nil {
		unix.Close(pidfd)
		return false
	}
	lane := &s.lanes[l]
	lane.busy, lane.hook, lane.pid, lane.pidfd = true, hook, life.PID, pidfd
	u, pid := &s.main, s.main.pid
	switch hook {
	case 't':
		lane.then = s.stopped(u, pid)
	case 'k':
		lane.then = s.sent(u, pid, SendKill)
	default:
		lane.then = func(bool) {}
	}
	s.core.watchFD(pidfd, watch{unit: u, proc: p}, unix.EPOLLIN|unix.EPOLLET)
	return true
}
