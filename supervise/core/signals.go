package core

import (
	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
)

// sends are the effects that send a signal, and the script that may suppress
// it. Like all tables here it is an array or a function, since each start of an
// applet would have to fill a map.
var sends = [...]struct {
	hook byte
	sig  unix.Signal
	lane int
	then machine.Event // what the machine is told then
}{
	machine.SendKill:   {'k', unix.SIGKILL, laneKill, 0},
	machine.SendStop:   {'p', unix.SIGSTOP, laneSignal, machine.StopSent},
	machine.SendCont:   {'c', unix.SIGCONT, laneSignal, machine.ContSent},
	machine.SendHup:    {'h', unix.SIGHUP, laneSignal, 0},
	machine.SendAlarm:  {'a', unix.SIGALRM, laneSignal, 0},
	machine.SendInt:    {'i', unix.SIGINT, laneSignal, 0},
	machine.SendQuit:   {'q', unix.SIGQUIT, laneSignal, 0},
	machine.SendUsr1:   {'1', unix.SIGUSR1, laneSignal, 0},
	machine.SendUsr2:   {'2', unix.SIGUSR2, laneSignal, 0},
	machine.SendReload: {'h', unix.SIGHUP, laneSignal, 0},
}

// sent is what a signal's control script is followed by: the signal.
func (s *service) sent(u *unit, pid int, e machine.Effect) func(suppressed bool) {
	return func(suppressed bool) {
		if !suppressed {
			sig := sends[e].sig
			if e == machine.SendReload {
				sig = u.reloadSignal()
			}
			u.signal(pid, sig)
		}
		if then := sends[e].then; then != 0 && u.pid == pid {
			s.feed(u, then)
		}
	}
}

// stop asks the process to end: control/t or TERM, and where it is to stay
// down CONT, so that a stopped process hears of it, and control/d or control/x.
func (s *service) stop(u *unit) {
	s.hook(u, laneLife, job{hook: 't', of: u.pid, then: s.stopped(u, u.pid)})
}

// stopped is what control/t is followed by.
func (s *service) stopped(u *unit, pid int) func(suppressed bool) {
	return func(suppressed bool) {
		if !suppressed && u.signal(pid, u.downSignal()) {
			s.feed(u, machine.TermSent)
		}
		if u.pid == pid {
			s.feed(u, machine.Asked)
		}
		var last byte
		switch u.st.Want {
		case state.WantDown:
			last = 'd'
		case state.WantExit:
			last = 'x'
		default:
			return
		}
		if u.signal(pid, unix.SIGCONT) {
			s.feed(u, machine.ContSent)
		}
		s.hookNext(u, laneLife, job{hook: last, of: pid, last: true, then: func(bool) {}})
	}
}

// signal sends sig to ./run if pid still is it.
func (u *unit) signal(pid int, sig unix.Signal) bool {
	if pid == 0 || u.pid != pid || u.st.Phase != machine.Running {
		return false
	}
	return u.send(sig)
}

// send sends sig to the unit's process, or does to a hosted log service what it does to one.
func (u *unit) send(sig unix.Signal) bool {
	return u.sendHosted(sig) || proc.SendSignal(u.pid, u.pidfd, sig) == nil
}
