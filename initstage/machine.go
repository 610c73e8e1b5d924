// Package initstage is process 1: three stages one after another, every dead
// child collected, and the end of the system. What it decides is the table in
// this file; loop.go feeds it and system.go is all that touches the kernel.
// The stages that run where a system has no scripts for them are in builtin.go;
// they run in children, never in process 1 itself.
package initstage

import "time"

// phase is where process 1 is in its life.
type phase int

// The phases. Those in brackets of a stage's name share its process.
const (
	booting phase = iota
	first         // stage 1 runs
	only          // stage 1 runs, and stage 2 shall not: a halt was asked for meanwhile
	second        // stage 2 runs
	resting       // stage 2 has failed badly and is started again soon
	leaving       // stage 2 was told to end
	killed        // stage 2 did not, and was killed
	third         // stage 3 runs
	ending        // nothing runs any more: the power
)

// stage is the number of the stage that a phase belongs to.
func (p phase) stage() int {
	switch p {
	case first, only:
		return 1
	case second, resting, leaving, killed:
		return 2
	case third:
		return 3
	}
	return 0
}

// event is what can happen to process 1.
type event int

// The events. The first five are the ends a stage can come to.
const (
	done         event = iota // exit 0
	failed                    // any other exit status than these
	quit100                   // exit 100
	quit111                   // exit 111, or it could not be executed
	crashed                   // killed by a signal
	begin                     // the machine is up
	timeout                   // the time that was set is over
	cont                      // CONT, and no stop flag is set
	stop                      // CONT, and the stop flag is set
	inted                     // INT, and there is no ctrlaltdel to run
	ctrlaltdel                // INT, and there is one
	scripted                  // ctrlaltdel has ended
	ask                       // a halt or a reboot that needs no flag, as containers ask for it
	notPermitted              // reboot(2) is refused
)

// effect is what the table asks of the edge.
type effect int

const (
	sayFailed        effect = iota
	sayCrashed              // of the stage
	sayLeave                // of the stage
	saySkip                 // stage 2
	saySignals              // only work in stage 2
	sayNotTerminated        // stage 2
	sayRestart              // stage 2
	enter                   // start the stage of the new phase
	killGroup               // KILL to all of stage 2's process group
	rest                    // five seconds
	disarm                  // the stop flag
	term                    // TERM to stage 2's process
	kill                    // KILL to it
	runScript               // ctrlaltdel
	leaveScript             // ctrlaltdel has been; does it want an end?
	noWait                  // for a stage 1 that has no process yet: it would be the last
	killAll                 // KILL to every process there is
	power                   // off, or reboot if that is asked for
	halt                    // where the power would not go off
	exit                    // end process 1, and with it the container
)

// pause is how long rest is, and how long stage 2 has after a TERM.
const pause = 5 * time.Second

// move is one cell of the table.
type move struct {
	next phase
	do   []effect
}

// moves is the whole of process 1. A pair that is not listed does nothing, on
// purpose. A timeout in a running stage means that it could not be forked yet.
var moves = [ending + 1][notPermitted + 1]move{
	booting: {begin: {first, []effect{enter}}},
	first: {
		done:       {second, []effect{sayLeave, enter}},
		failed:     {second, []effect{sayFailed, sayLeave, enter}},
		quit111:    {second, []effect{sayFailed, sayLeave, enter}},
		quit100:    {third, []effect{sayFailed, sayLeave, saySkip, enter}},
		crashed:    {third, []effect{sayCrashed, sayLeave, saySkip, enter}},
		timeout:    {first, []effect{enter}},
		ask:        {only, []effect{noWait}},
		cont:       {first, []effect{saySignals}},
		stop:       {first, []effect{saySignals}},
		inted:      {first, []effect{saySignals}},
		ctrlaltdel: {first, []effect{saySignals}},
	},
	only: {
		done:    {third, []effect{sayLeave, saySkip, enter}},
		failed:  {third, []effect{sayFailed, sayLeave, saySkip, enter}},
		quit111: {third, []effect{sayFailed, sayLeave, saySkip, enter}},
		quit100: {third, []effect{sayFailed, sayLeave, saySkip, enter}},
		crashed: {third, []effect{sayCrashed, sayLeave, saySkip, enter}},
		timeout: {third, []effect{saySkip, enter}},
	},
	second: {
		done:       {third, []effect{sayLeave, enter}},
		failed:     {third, []effect{sayFailed, sayLeave, enter}},
		quit100:    {third, []effect{sayFailed, sayLeave, enter}},
		quit111:    {resting, []effect{sayFailed, killGroup, rest}},
		crashed:    {resting, []effect{sayCrashed, killGroup, rest}},
		timeout:    {second, []effect{enter}},
		stop:       {leaving, []effect{disarm, rest, term}},
		ask:        {leaving, []effect{disarm, rest, term}},
		ctrlaltdel: {second, []effect{runScript}},
		scripted:   {second, []effect{leaveScript}},
	},
	resting: {
		timeout:    {second, []effect{sayRestart, enter}},
		stop:       {third, []effect{disarm, sayLeave, enter}},
		ask:        {third, []effect{disarm, sayLeave, enter}},
		ctrlaltdel: {resting, []effect{runScript}},
		scripted:   {resting, []effect{leaveScript}},
	},
	leaving: {
		done:    {third, []effect{sayLeave, enter}},
		failed:  {third, []effect{sayLeave, enter}},
		quit100: {third, []effect{sayLeave, enter}},
		quit111: {third, []effect{sayLeave, enter}},
		crashed: {third, []effect{sayLeave, enter}},
		timeout: {killed, []effect{sayNotTerminated, rest, kill}},
	},
	killed: {
		done:    {third, []effect{sayLeave, enter}},
		failed:  {third, []effect{sayLeave, enter}},
		quit100: {third, []effect{sayLeave, enter}},
		quit111: {third, []effect{sayLeave, enter}},
		crashed: {third, []effect{sayLeave, enter}},
		timeout: {third, []effect{sayLeave, enter}}, // the kernel does not let it die
	},
	third: {
		done:       {ending, []effect{sayLeave, killAll, power}},
		failed:     {ending, []effect{sayFailed, sayLeave, killAll, power}},
		quit100:    {ending, []effect{sayFailed, sayLeave, killAll, power}},
		quit111:    {ending, []effect{sayFailed, sayLeave, killAll, power}},
		crashed:    {ending, []effect{sayCrashed, sayLeave, killAll, power}},
		timeout:    {third, []effect{enter}},
		cont:       {third, []effect{saySignals}},
		stop:       {third, []effect{saySignals}},
		inted:      {third, []effect{saySignals}},
		ctrlaltdel: {third, []effect{saySignals}},
	},
	ending: {
		timeout:      {ending, []effect{halt}},
		notPermitted: {ending, []effect{exit}},
	},
}

// step says what comes after ev in phase p, and what is to be done for it.
func step(p phase, ev event) (phase, []effect) {
	if m := moves[p][ev]; m.next != booting { // nothing leads back there
		return m.next, m.do
	}
	return p, nil
}
