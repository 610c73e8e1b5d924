package supervise

import "sync"

// Phase is where the machine is with a service. It is finer than State, which
// is what the world sees: a service that is about to start, or rests before
// its next start, is down.
type Phase byte

// The phases of a service.
const (
	Idle      Phase = iota // no process, and none is about to be
	Starting               // control/u runs, or the process is being made
	Running                // ./run runs
	Ending                 // ./run has ended, a control script that was to end it has not
	Finishing              // ./finish runs or is being made
	Resting                // down, until a second has passed or an order comes
)

// State is the phase as supervise/status tells it.
func (p Phase) State() State {
	switch p {
	case Running, Ending:
		return Run
	case Finishing:
		return Finish
	}
	return Down
}

// Status is all that the machine remembers of a service.
type Status struct {
	Phase  Phase
	Want   Want
	Paused bool
	Termed bool // a TERM was sent to the process that runs
}

// Event is what can happen to a service: a command byte read from
// supervise/control, or something seen at the edge.
type Event byte

// The commands, named by their bytes.
const (
	CmdUp    Event = 'u'
	CmdDown  Event = 'd'
	CmdOnce  Event = 'o'
	CmdExit  Event = 'x'
	CmdTerm  Event = 't'
	CmdKill  Event = 'k'
	CmdPause Event = 'p'
	CmdCont  Event = 'c'
	CmdHup   Event = 'h'
	CmdAlarm Event = 'a'
	CmdInt   Event = 'i'
	CmdQuit  Event = 'q'
	CmdUsr1  Event = '1'
	CmdUsr2  Event = '2'
)

// What else happens.
const (
	Ready    Event = 0x80 + iota // control/u is over: ./run may be made
	Spawned                      // the process was made
	Unmade                       // no process could be made: the system is short of something
	Held                         // ./run has ended, but control/t, d, x or k still runs
	Died                         // ./run has ended and there is a ./finish
	Gone                         // the last process of a round has ended, a second or more after ./run began
	GoneSoon                     // the same, within the first second
	Rested                       // the rest is over
	TermSent                     // TERM was sent
	StopSent                     // control/p and STOP are through
	ContSent                     // the same of CONT
	Unfed                        // of a log service: its pipe is closed, it shall end by itself
)

// Effect is what the machine asks the edge to do.
type Effect byte

// The effects.
const (
	Start       Effect = iota // control/u, then Ready
	Spawn                     // make ./run
	SpawnFinish               // make ./finish
	Stop                      // control/t, TERM; then CONT and control/d or control/x, as is wanted
	Rest                      // Rested after a second
	RestLong                  // Rested after five seconds
	Await                     // Rested after ten seconds
	TellHeld                  // warn of the control script that the end waits for
	SendKill                  // from here on: the control script of that name, then the signal
	SendStop
	SendCont
	SendHup
	SendAlarm
	SendInt
	SendQuit
	SendUsr1
	SendUsr2
)

type move struct {
	next Phase
	do   []Effect
}

// wants is the standing order that an event gives: up, down, once and exit do.
func (ev Event) wants() (w Want, ok bool) {
	switch ev {
	case CmdUp:
		return WantUp, true
	case CmdDown:
		return WantDown, true
	case CmdOnce:
		return WantOnce, true
	case CmdExit, Unfed:
		return WantExit, true
	}
	return 0, false
}

// moves is the whole machine. A pair that is not listed does nothing, on purpose.
var moves = sync.OnceValue(func() map[Phase]map[Event]move {
	return map[Phase]map[Event]move{
		Idle: {
			CmdUp:   {Starting, []Effect{Start}},
			CmdOnce: {Starting, []Effect{Start}},
		},
		Starting: {
			Ready:    {Starting, []Effect{Spawn}},
			Spawned:  {Running, nil},
			Unmade:   {Resting, []Effect{RestLong}},
			Died:     {Finishing, []Effect{SpawnFinish}}, // ./run could not be executed
			Gone:     {Starting, []Effect{Start}},
			GoneSoon: {Resting, []Effect{Rest}},
		},
		Running: {
			CmdDown:  {Running, []Effect{Stop}},
			CmdExit:  {Running, []Effect{Stop}},
			CmdTerm:  {Running, []Effect{Stop}},
			CmdKill:  {Running, []Effect{SendKill}},
			CmdPause: {Running, []Effect{SendStop}},
			CmdCont:  {Running, []Effect{SendCont}},
			CmdHup:   {Running, []Effect{SendHup}},
			CmdAlarm: {Running, []Effect{SendAlarm}},
			CmdInt:   {Running, []Effect{SendInt}},
			CmdQuit:  {Running, []Effect{SendQuit}},
			CmdUsr1:  {Running, []Effect{SendUsr1}},
			CmdUsr2:  {Running, []Effect{SendUsr2}},
			Held:     {Ending, []Effect{Await}},
			Died:     {Finishing, []Effect{SpawnFinish}},
			Gone:     {Starting, []Effect{Start}},
			GoneSoon: {Resting, []Effect{Rest}},
		},
		Ending: { // it shows as running, so that what its script does with supervise/pid meets no other process
			Rested:   {Ending, []Effect{TellHeld}},
			Died:     {Finishing, []Effect{SpawnFinish}},
			Gone:     {Starting, []Effect{Start}},
			GoneSoon: {Resting, []Effect{Rest}},
		},
		Finishing: {
			Spawned:  {Finishing, nil},
			Unmade:   {Finishing, []Effect{RestLong}},
			Rested:   {Finishing, []Effect{SpawnFinish}},
			Gone:     {Starting, []Effect{Start}},
			GoneSoon: {Resting, []Effect{Rest}},
		},
		Resting: {
			CmdUp:   {Starting, []Effect{Start}},
			CmdOnce: {Starting, []Effect{Start}},
			CmdDown: {Idle, nil},
			CmdExit: {Idle, nil},
			Unfed:   {Idle, nil},
			Rested:  {Starting, []Effect{Start}},
		},
	}
})

// step decides what an event means. It starts nothing and reads no clock.
func step(s Status, ev Event) (Status, []Effect) {
	if w, ok := ev.wants(); ok {
		s.Want = w
	}
	switch ev {
	case CmdPause, CmdCont: // what runs is paused when its control script has ended
		if s.Phase != Running {
			s.Paused = ev == CmdPause
		}
	case StopSent, ContSent:
		s.Paused = ev == StopSent
	case TermSent:
		s.Termed = s.Phase == Running
	case Spawned, Died, Gone, GoneSoon: // flags are of one process
		s.Paused, s.Termed = false, false
	}
	m, ok := moves()[s.Phase][ev]
	if !ok {
		return s, nil
	}
	switch ev {
	case Gone, GoneSoon: // only what is wanted up is started again
		if s.Want != WantUp {
			m = move{Idle, nil}
		}
	case Ready, Unmade, Rested: // the order may have been taken back; ./finish runs whatever is wanted
		if s.Phase != Finishing && s.Phase != Ending && (s.Want == WantDown || s.Want == WantExit) {
			m = move{Idle, nil}
		}
	}
	s.Phase = m.next
	return s, m.do
}
