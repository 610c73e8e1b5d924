package initstage

import (
	"errors"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// giveUp is how often stage 3 is tried where nothing can be forked: the end
// must come, and the KILL that follows makes room.
const giveUp = 5

// Signals that only a container's manager sends; SIGRTMIN is the C library's.
const (
	sigrtmin    = 34
	sigHalt     = unix.Signal(sigrtmin + 3)
	sigPowerOff = unix.Signal(sigrtmin + 4)
	sigReboot   = unix.Signal(sigrtmin + 5)
)

// asks are the signals that ask for the end in a container, where no one can
// set a flag first. PWR does so on any machine: it is from the power supply.
var asks = [65]struct{ halt, reboot, anywhere bool }{
	unix.SIGTERM: {halt: true},
	unix.SIGPWR:  {halt: true, anywhere: true},
	sigHalt:      {halt: true},
	sigPowerOff:  {halt: true},
	sigReboot:    {reboot: true},
	unix.SIGINT:  {reboot: true},
}

// system is what process 1 needs of the world. Tests have another one.
type system interface {
	say(format string, args ...any)
	start(stage int) (int, error) // errNoFork: later, perhaps
	startScript() (int, error)    // ctrlaltdel
	kill(pid int, sig unix.Signal)
	reap() (int, unix.WaitStatus) // 0: none is dead
	words(error) string
	name(stage int) string
	scriptName() string
	hasScript() bool
	stopSet() bool
	clearStop()
	rebootSet() bool
	haltSet() bool
	setReboot(on bool) error
	contained() bool
	quiet(stage int) bool                // nothing is to be said of the stage where all goes well
	try(state) (int, error)              // the executable that is new at ours' path; 0: none is
	passed(unix.WaitStatus) bool         // that try
	become(state) ([]unix.Signal, error) // returns what has come meanwhile
	killAll()
	// power calls back later: with nil when reboot(2) is about to be called, and
	// with an error where it is refused.
	power(what powerDown, tell func(error))
}

// errNoFork is in the chain of what keeps a stage from having a process.
var errNoFork = errors.New("unable to fork")

// powerDown is one of the ways a system ends.
type powerDown int

const (
	powerOff powerDown = iota
	powerReboot
	powerHalt
)

// one is process 1. A single goroutine owns it: the one that runs loop.
type one struct {
	sys    system
	phase  phase
	pid    int           // the process of the stage, 0 where there is none
	group  int           // the process group of the stage that ran last
	script int           // the process of ctrlaltdel
	trial  int           // the process that tries a new executable
	tried  bool          // it was tried before stage 3
	going  bool          // on, in place of another process 1
	came   []unix.Signal // which that one has not looked at
	asked  bool          // a signal asked for the end
	reboot bool          // and for a reboot
	tries  int           // forks of the present stage that failed
	timer  *time.Timer
	told   chan error // what comes of reboot(2), as power tells it
	status int        // to exit with, once leave is set
	leave  bool
}

// newOne is process 1 before anything has happened.
func newOne(sys system) *one {
	o := &one{sys: sys, timer: time.NewTimer(time.Hour), told: make(chan error, 4)}
	o.timer.Stop()
	return o
}

// loop runs the system until its end. It only returns where the end of the
// process is the end of the container, with the status that it exits with.
func (o *one) loop(children, signals <-chan os.Signal) int {
	if o.going {
		o.guard(o.goOn)
	} else {
		o.guard(func() { o.happen(begin) })
	}
	for !o.leave {
		o.guard(func() { o.turn(children, signals) })
	}
	return o.status
}

// turn waits for one thing and does what it asks for.
func (o *one) turn(children, signals <-chan os.Signal) {
	select {
	case <-children:
		o.collect()
	case sig := <-signals:
		o.signal(sig.(unix.Signal))
	case <-o.timer.C:
		o.dropTrial()
		o.happen(timeout)
	case err := <-o.told:
		if err == nil {
			o.timer.Reset(2 * time.Second) // the disks are written, and it is up to the power now
			return
		}
		o.sys.say("warning: unable to end the system: %s", o.sys.words(err))
		o.happen(notPermitted)
	}
}

// guard does f and outlives its panic: nothing may end process 1. What the
// panic has left undone is done again, or given up, when the timer ends.
func (o *one) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			o.timer.Reset(pause)
			defer func() { recover() }()
			o.sys.say("warning: panic, going on: %v\n%s", p, debug.Stack())
		}
	}()
	f()
}

// collect takes every child that is dead, whoever's it was.
func (o *one) collect() {
	for {
		pid, ws := o.sys.reap()
		switch pid {
		case 0:
			return
		case o.pid:
			o.pid = 0
			o.happen(verdict(ws))
		case o.trial:
			o.trial = 0
			o.judge(ws)
		case o.script:
			o.script = 0
			if ws.Signaled() {
				o.sys.say("warning: child crashed: %s", o.sys.scriptName())
			}
			o.sys.say("leave stage: %s", o.sys.scriptName())
			o.happen(scripted)
		}
	}
}

// verdict is what the end of a stage means.
func verdict(ws unix.WaitStatus) event {
	switch {
	case ws.Signaled():
		return crashed
	case ws.ExitStatus() == 0:
		return done
	case ws.ExitStatus() == 100:
		return quit100
	case ws.ExitStatus() == 111:
		return quit111
	}
	return failed
}

// signal answers the signals that mean something.
func (o *one) signal(sig unix.Signal) {
	a := asks[sig]
	contained := o.sys.contained()
	switch {
	case sig == unix.SIGUSR2:
		o.renew()
	case sig == unix.SIGCONT && o.script != 0:
		// ctrlaltdel comes to its end first, and then the flag is looked at
	case sig == unix.SIGCONT && o.sys.stopSet():
		o.happen(stop)
	case sig == unix.SIGCONT:
		o.happen(cont)
	case sig == unix.SIGINT && o.sys.hasScript() && (o.phase.stage() == 2 || !contained):
		o.happen(ctrlaltdel)
	case sig == unix.SIGINT && !contained:
		o.happen(inted)
	case (a.halt || a.reboot) && (contained || a.anywhere):
		o.want(a.reboot)
		o.happen(ask)
	}
}

// want notes what kind of an end is asked for; the first word counts.
func (o *one) want(reboot bool) {
	if !o.asked {
		o.asked, o.reboot = true, reboot
	}
}

// happen takes one step and does its effects.
func (o *one) happen(ev event) {
	was := o.phase
	var do []effect
	if o.phase, do = step(was, ev); o.phase != was {
		o.timer.Stop()
		o.tries = 0
	}
	for _, e := range do {
		o.do(e, was.stage())
	}
}

// do does one effect; stage is the one that is left by it.
func (o *one) do(e effect, stage int) {
	sys := o.sys
	switch e {
	case sayFailed:
		sys.say("warning: child failed: %s", sys.name(stage))
	case sayCrashed:
		sys.say("warning: child crashed: %s", sys.name(stage))
	case sayLeave:
		if stage != 1 || !sys.quiet(stage) {
			sys.say("leave stage: %s", sys.name(stage))
		}
	case saySkip:
		sys.say("warning: skipping stage 2...")
	case saySignals:
		sys.say("warning: signals only work in stage 2.")
	case sayNotTerminated:
		sys.say("warning: stage 2 not terminated, sending sigkill...")
	case sayRestart:
		sys.say("warning: restarting.")
	case enter:
		o.enter()
	case killGroup:
		sys.say("warning: killing all processes in stage 2...")
		if o.group > 1 {
			sys.kill(-o.group, unix.SIGKILL)
		}
	case rest:
		o.timer.Reset(pause)
	case disarm:
		sys.clearStop()
	case term:
		o.signalStage(unix.SIGTERM)
	case kill:
		o.signalStage(unix.SIGKILL)
	case runScript:
		o.runScript()
	case leaveScript:
		o.leaveScript()
	case noWait:
		if o.pid == 0 {
			o.happen(timeout)
		}
	case killAll:
		sys.say("sending KILL signal to all processes...")
		sys.killAll()
	case power:
		o.power()
	case halt:
		sys.say("system halt.")
		sys.power(powerHalt, o.refused)
	case exit:
		o.exit()
	}
}

// enter starts the stage of the present phase. What cannot be executed has
// ended with 111; what cannot be forked is tried again after a pause.
func (o *one) enter() {
	if o.pid != 0 {
		return // a second panic's timer
	}
	stage := o.phase.stage()
	if stage == 3 && !o.tried {
		o.tried = true
		if o.renew(); o.trial != 0 {
			return // judge comes back here, or the timer
		}
	}
	if stage == 3 && o.asked {
		// For the scripts of stage 3; where it cannot be written, power knows.
		if err := o.sys.setReboot(o.reboot); err == nil {
			o.asked = false
		}
	}
	if o.tries == 0 && (stage == 3 || !o.sys.quiet(stage)) {
		o.sys.say("enter stage: %s", o.sys.name(stage))
	}
	pid, err := o.sys.start(stage)
	switch {
	case err == nil:
		o.pid, o.group, o.tries = pid, pid, 0
	case errors.Is(err, errNoFork):
		o.sys.say("fatal: unable to fork for \"%s\" pausing: %s", o.sys.name(stage), o.sys.words(err))
		if o.tries++; stage == 3 && o.tries >= giveUp {
			o.happen(failed)
			return
		}
		o.timer.Reset(pause)
	default:
		o.sys.say("fatal: unable to start child: %s: %s", o.sys.name(stage), o.sys.words(err))
		o.group = 0
		o.happen(quit111)
	}
}

// renew tries the executable that has taken the place of ours, if one has, where
// process 1 could become it: in stage 2, and before stage 3.
func (o *one) renew() {
	o.dropTrial()
	s, ok := o.save()
	if !ok {
		return
	}
	pid, err := o.sys.try(s)
	if err != nil {
		o.sys.say("warning: unable to try the new executable: %s", o.sys.words(err))
		return
	}
	if o.trial = pid; pid != 0 {
		o.timer.Reset(pause)
	}
}

// dropTrial ends a trial that has not come to its end in its time.
func (o *one) dropTrial() {
	if o.trial != 0 {
		o.sys.say("warning: the new executable hangs, going on with the one before")
		o.sys.kill(o.trial, unix.SIGKILL)
		o.trial = 0
	}
}

// judge becomes the executable that was tried, if it can take over and there is
// nothing else to be done first.
func (o *one) judge(ws unix.WaitStatus) {
	passed := o.sys.passed(ws)
	s, ok := o.save()
	if ok {
		o.timer.Stop()
	}
	switch {
	case !passed:
		o.sys.say("warning: the new executable cannot take over, going on with the one before")
	case ok:
		told, err := o.sys.become(s)
		o.sys.say("warning: unable to %s", o.sys.words(err))
		for _, sig := range told {
			o.signal(sig)
		}
	}
	if o.phase == third {
		o.enter()
	}
}

// save is what to hand over, where that is all there is to know.
func (o *one) save() (state, bool) {
	s := state{stage: o.phase.stage(), pid: o.pid, group: o.group, asked: o.asked, reboot: o.reboot}
	return s, o.script == 0 && (o.phase == second && o.pid != 0 || o.phase == third && o.pid == 0)
}

// load takes over what was saved.
func (o *one) load(s state) {
	o.going, o.tried = true, s.stage == 3
	o.phase = map[int]phase{2: second, 3: third}[s.stage]
	o.pid, o.group, o.asked, o.reboot = s.pid, s.group, s.asked, s.reboot
	for n := unix.Signal(1); n <= 64; n++ {
		if s.told&(1<<(n-1)) != 0 {
			o.came = append(o.came, n)
		}
	}
}

// goOn does what process 1 was about to do when it became this program.
func (o *one) goOn() {
	for _, sig := range o.came {
		o.signal(sig)
	}
	if o.phase == third {
		o.enter()
	}
	o.collect()
}

// signalStage signals the stage's process; where it has none, it has ended.
func (o *one) signalStage(sig unix.Signal) {
	if o.pid == 0 {
		o.happen(done)
		return
	}
	o.sys.kill(o.pid, sig)
}

// runScript starts ctrlaltdel, once at a time.
func (o *one) runScript() {
	if o.script != 0 {
		return
	}
	o.sys.say("ctrl-alt-del request...")
	o.sys.say("enter stage: %s", o.sys.scriptName())
	pid, err := o.sys.startScript()
	if err == nil {
		o.script = pid
		return
	}
	if errors.Is(err, errNoFork) {
		o.sys.say("fatal: unable to fork for \"%s\": %s", o.sys.scriptName(), o.sys.words(err))
	} else {
		o.sys.say("fatal: unable to start child: %s: %s", o.sys.scriptName(), o.sys.words(err))
	}
	o.sys.say("leave stage: %s", o.sys.scriptName())
	o.happen(scripted)
}

// leaveScript does what ctrlaltdel has asked for: in a container the signal
// itself has asked for a reboot.
func (o *one) leaveScript() {
	switch {
	case o.sys.stopSet():
		o.happen(stop)
	case o.sys.contained():
		o.want(true)
		o.happen(ask)
	}
}

// power ends the system. It goes on collecting the dead until it is off. A container has no
// power, and reboot(2) would end it with SIGINT, which looks like a failure from outside: it
// ends with process 1, with or without the right to call that. Only a reboot is asked for
// in that way: some managers start the container again then.
func (o *one) power() {
	switch {
	case o.rebooting():
		o.sys.say("system reboot.")
		o.sys.power(powerReboot, o.refused)
	case o.sys.contained():
		o.sys.say("power off...")
		o.leave = true
	case o.sys.haltSet():
		o.do(halt, 0)
	default:
		o.sys.say("power off...")
		o.sys.power(powerOff, o.tell)
	}
}

// tell brings to the loop what power tells.
func (o *one) tell(err error) {
	select {
	case o.told <- err:
	default:
	}
}

// refused is tell where nothing follows a call that was made.
func (o *one) refused(err error) {
	if err != nil {
		o.tell(err)
	}
}

// rebooting says whether the end is a reboot.
func (o *one) rebooting() bool { return o.sys.rebootSet() || o.asked && o.reboot }

// rebootStatus is what process 1 exits with where a reboot is asked for and
// not permitted: what a shell says of a process that HUP has ended, which is
// how the kernel tells of a container's reboot.
const rebootStatus = 128 + int(unix.SIGHUP)

// exit makes the loop return, where that ends a container and no machine.
func (o *one) exit() {
	if !o.sys.contained() {
		return
	}
	if o.rebooting() {
		o.status = rebootStatus
	}
	o.leave = true
}

// String names the phase in tests and panics.
func (p phase) String() string { return fmt.Sprintf("phase %d, stage %d", int(p), p.stage()) }
