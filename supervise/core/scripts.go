package core

import (
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/state"
)

// The lanes of control scripts. In a lane one script runs at a time and the
// commands behind it wait; the lanes do not wait for each other. The end of
// ./run waits for the scripts that are to end it: such a script may be about to
// send supervise/pid a KILL, which must not meet the next process. A script for
// another signal that hangs stops neither the service's end nor its restart.
const (
	laneUp     = iota // u
	laneLife          // t, d, x
	laneKill          // k
	laneSignal        // the other signals
	lanes
)

// heldBy is the event that tells what the end of ./run waits for.
func (s *service) heldBy() machine.Event {
	if s.strays {
		return machine.Left
	}
	return machine.Held
}

// ending says whether something goes on that is to end ./run, or what it has started: a
// control script, or the end of its strays.
func (s *service) ending() bool {
	return s.lanes[laneLife].busy || s.lanes[laneKill].busy || s.strays
}

// job is a command that may have to wait for a control script.
type job struct {
	hook byte
	of   int  // the process that it is about; 0: none
	last bool // it belongs to the script before it
	then func(suppressed bool)
}

// lane is the queue of control scripts that run one after the other.
type lane struct {
	busy  bool
	hook  byte
	pid   int
	pidfd int           // of a script that an earlier core has begun; else 0
	rec   state.Process // its record, of a script that is to end ./run
	left  bool          // which could not be written: the scanner has it
	then  func(suppressed bool)
	queue []job
}

// laneMax is how many commands may wait in a lane before the FIFO is left
// unread; the writers then get EAGAIN when it is full, as with runsv.
const laneMax = 1000

// hook runs a control script and then goes on, told whether the script suppressed
// the signal: by exit 0. Where there is no such script it goes on at once.
func (s *service) hook(u *unit, l int, j job) {
	if u != &s.main { // a log service has no control scripts
		j.then(false)
		return
	}
	if s.lanes[l].busy {
		s.lanes[l].queue = append(s.lanes[l].queue, j)
		return
	}
	s.runHook(l, j)
}

// hookNext is hook for the script that belongs to the one just over: it comes
// before what waits.
func (s *service) hookNext(u *unit, l int, j job) {
	if u == &s.main && s.lanes[l].busy {
		s.lanes[l].queue = append([]job{j}, s.lanes[l].queue...)
		return
	}
	s.hook(u, l, j)
}

// runHook runs the script of a job whose turn it is. A process that has ended
// meanwhile, or is about to be followed by another, needs none any more.
func (s *service) runHook(l int, j job) {
	if j.of != 0 && j.of != s.main.pid {
		j.then(false)
		return
	}
	if j.hook == 'u' && s.names.Known && !s.names.Control { // it was read for this start
		j.then(false)
		return
	}
	path := "control/" + string(j.hook)
	st, err := s.dir.Stat(path)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		s.warn(fmt.Errorf("unable to stat %s: %w", path, err))
	}
	if err != nil || st.Mode&unix.S_IXUSR == 0 {
		j.then(false)
		return
	}
	lane := s.occupy(l)
	lane.hook, lane.then = j.hook, j.then
	s.main.write() // what was put off: the script may take its time
	s.order(&s.main, isHook+role(l), []string{path})
}

// idle are the lanes of all services that have run no script: few have any. It is never
// written to.
var idle [lanes]lane

// occupy takes a lane, for a script that is to run in it.
func (s *service) occupy(l int) *lane {
	if s.lanes == &idle {
		s.lanes = new([lanes]lane)
	}
	s.lanes[l].busy = true
	return &s.lanes[l]
}

// hookOver goes on after a control script, and then with what waited for it.
func (s *service) hookOver(l int, suppressed bool) {
	lane := &s.lanes[l]
	s.forgetHook(l)
	then := lane.then
	lane.pid, lane.then = 0, nil
	then(suppressed) // the lane is still busy: what this asks for waits its turn
	lane.busy = false
	for !lane.busy && len(lane.queue) > 0 {
		j := lane.queue[0]
		if !j.last {
			s.release()
		}
		lane.queue = lane.queue[1:]
		s.runHook(l, j)
	}
	if len(lane.queue) == 0 {
		lane.queue = nil
	}
	s.release()
	if s.main.unread {
		s.drain(&s.main)
	}
}

// tellHeld warns of the control scripts that the end of ./run waits for.
func (s *service) tellHeld() {
	for _, l := range []int{laneLife, laneKill} {
		if lane := &s.lanes[l]; lane.busy {
			s.warn(fmt.Errorf("control/%c (pid %d) still runs: what comes after the end of ./run waits for it", lane.hook, lane.pid))
		}
	}
}

// release goes on from the end of ./run, when nothing holds that up any more.
func (s *service) release() {
	if u := &s.main; u.st.Phase == machine.Ending && !s.ending() {
		u.pid = 0
		s.ended(u, isRun, u.ws, s.hasFinish(u, isRun))
	}
}
