// Package machine is the rules of a service's life as a table: in which phase it is, what
// it shall be, what an event makes of that, and what is then to be done. It is pure.
package machine

import "runitbox/supervise/state"

// Phase is where the machine is with a service. It is finer than State, which
// is what the world sees: a service that is about to start, or rests before
// its next start, is down.
type Phase byte

// The phases of a service.
const (
	Idle      Phase = iota // no process, and none is about to be
	Starting               // control/u runs, or the process is being made
	Running                // ./run runs
	Ending                 // ./run has ended; a control script that was to end it, or what it left behind, has not
	Finishing              // ./finish runs or is being made
	Resting                // down, until a second has passed or an order comes
	Waiting                // down, until what it needs is ready

	phases = iota
)

// State is the phase as supervise/status tells it.
func (p Phase) State() state.State {
	switch p {
	case Running, Ending:
		return state.Run
	case Finishing:
		return state.Finish
	}
	return state.Down
}

// Status is all that the machine remembers of a service.
type Status struct {
	Phase   Phase
	Want    state.Want
	Paused  bool
	Termed  bool // a TERM was sent to the process that runs
	Log     bool // it is a log service
	Failed  bool // it was given up: it stays down until an order starts it
	Hung    bool // the process was sent ABRT, since it does not work
	Unready bool // ./run has yet to say that it is ready
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
	// CmdReload is HUP, or what reload-signal says. sv sends it where there is such a
	// file; every other supervisor ignores it.
	CmdReload Event = 'r'
)

// What else happens.
const (
	// A start.
	Prepared     Event = 0x80 + iota // control/u is over: ./run may be made
	Unready                          // ./run, which is about to be made, is to say when it is ready
	Spawned                          // the process was made
	Unmade                           // no process could be made: the system is short of something
	Lacking                          // something that it needs is not ready
	NeedsChanged                     // that may be so no more
	Met                              // all that it needs is ready

	// What ./run says of itself.
	Ready     // it is ready
	Late      // it has not said so in time
	Works     // it works
	Silent    // it has not said so in time
	Hangs     // it does not work
	AbortSent // ABRT was sent for that, by this core or an earlier one

	// Orders to the process.
	TermSent // TERM was sent
	Asked    // control/t and TERM are through, or the one has suppressed the other
	Overdue  // the time that the process has to end is over
	StopSent // control/p and STOP are through
	ContSent // the same of CONT

	// An end, and what follows it.
	Held        // ./run has ended, but control/t, d, x or k still runs
	Left        // ./run has ended, but has left behind what is to end before more follows
	StraysLate  // that has not ended in time
	StraysGone  // it has ended
	Died        // ./run has ended and there is a ./finish
	Gone        // the last process of a round has ended, a second or more after ./run began
	GoneSoon    // the same, within the first second
	GoneBackoff // the same, and the service says how long the rest is
	TooMany     // the same, and its ends are more than it may have
	Refused     // the same; ./finish has exited 125: it is not to be started again
	Rested      // the rest is over
	Unfed       // of a log service: its pipe is closed, it shall end by itself

	// What is there when the service is opened.
	Begin        // nothing of it runs
	BeginSoon    // the same, less than a second after its last process ended
	BeginUnready // the same, and there is no ./run that can be executed
	FoundRun     // an earlier core has left ./run, or its end
	FoundFinish  // an earlier core has left ./finish, or its end
	FoundMaking  // an earlier core was about to make ./run, and no process came of it
	FoundFailed  // an earlier core has given it up
	Taken        // what runs was taken over; one of the next three follows
	FoundOther   // it is of a directory that was here before
	Resumed      // it is not, and no control script of it runs
	Scripted     // it is not, and a control script of it goes on

	events = iota + 0x80
)

// Effect is what the machine asks the edge to do.
type Effect byte

// The effects.
const (
	Nothing Effect = iota

	// Signals.
	Stop     // control/t, TERM, Asked; then CONT and control/d or control/x, as is wanted
	SendKill // from here to SendReload: the control script of that name, then the signal
	SendStop
	SendCont
	SendHup
	SendAlarm
	SendInt
	SendQuit
	SendUsr1
	SendUsr2
	SendReload // control/h, then what reload-signal says

	// A start.
	Start       // Lacking, where something that it needs is not ready; else control/u, then Prepared
	Spawn       // make ./run; Unready before, where the service says so
	SpawnFinish // make ./finish
	AwaitNeeds  // Rested after a moment; warn of what it needs that was given up
	LookNeeds   // Met, or the same warning
	TellNeeds   // others are to see that it waits; a second later, warn of all that will not be ready by itself
	TellUnready // say why ./run cannot be executed

	// What ./run says of itself.
	LimitReady // Late after timeout-ready, counted from when ./run began
	TellReady  // others are to see that ./run is ready
	StopLate   // say that ./run is not ready in time; then as Stop
	Watch      // Silent after watchdog, counted from when ./run has said last that it works
	WatchAnew  // the same, counted from now
	Abort      // ABRT, CONT, AbortSent

	// The time that a process has to end. One that runs is not begun again.
	LimitStop    // Overdue after timeout-kill
	LimitHung    // the same, 5 seconds where there is none, counted from the ABRT
	LimitFinish  // Overdue after timeout-finish
	ResumeStop   // LimitStop, counted from when an earlier core has told of the TERM
	ResumeFinish // LimitFinish, counted from when that has told of ./finish
	KillRun      // KILL to ./run, or to its process group where the service says so
	KillFinish   // KILL to ./finish

	// An end, and what follows it.
	Await       // Rested after ten seconds
	TellHeld    // warn of the control script that the end waits for
	EndStrays   // TERM to what ./run has left behind; StraysLate after timeout-kill or 5 seconds; and Await
	KillStrays  // KILL to it
	Release     // what follows the end of ./run, unless a control script holds it up
	Rest        // Rested after a second
	RestLong    // Rested after five seconds
	RestOn      // Rested when a second since the last end has passed
	RestBackoff // Rested after the pause that the service says
	Over        // it has ended, and is not started again without an order
	GiveUp      // the same, and others are to see that it was given up
)

// condition is what a row depends on beside phase and event: the order as it is with the
// event, and the flags as they were before it, but for those that it clears.
type condition byte

const (
	always     condition = iota
	ifUp                 // up is wanted, and the service was not given up
	ifWanted             // up or once is wanted, and it was not given up
	ifAgainst            // an order to end was not told to the process yet
	ifTermed             // TERM was sent to the process
	ifUntermed           // it was not
	ifUnready            // ./run has yet to say that it is ready
	ifPaused             // the process is paused, and was not sent ABRT
	ifWorking            // the process is neither paused, nor asked to end, nor was it sent ABRT
)

// Row is what one event means in one phase, where its condition holds.
type Row struct {
	on     Event
	when   condition
	next   Phase
	Do     Effect
	Later  bool // the status is written when the process was made; a script before it has it written
	Record bool // an order to run once is recorded, since it is due until a process was made
}

// mark is what an event does to a flag.
type mark byte

const (
	same mark = iota
	set
	unset
)

// change is what an event does to the status in every phase that it names.
type change struct {
	on      Event
	gives   bool // a standing order:
	want    state.Want
	paused  mark
	termed  mark
	hung    mark
	unready mark
	failed  mark
	only    bool // the flags change in phase Running only
	except  bool // the flags change in every phase but Running
	clears  bool // a process has come or gone: the flags that are of one process are unset
	notLogs bool // a log service ignores the event: it ends when its pipe does
}

// changes is the first half of the machine: what an event changes wherever it comes.
var changes = [...]change{
	{on: CmdUp, gives: true, want: state.WantUp, failed: unset},
	{on: CmdDown, gives: true, want: state.WantDown},
	{on: CmdOnce, gives: true, want: state.WantOnce, failed: unset},
	{on: CmdExit, gives: true, want: state.WantExit, notLogs: true},
	{on: Unfed, gives: true, want: state.WantExit},
	{on: CmdPause, paused: set, except: true}, // what runs is paused when its control script has ended
	{on: CmdCont, paused: unset, except: true},
	{on: StopSent, paused: set},
	{on: ContSent, paused: unset},
	{on: TermSent, termed: set, only: true},
	{on: AbortSent, hung: set, only: true},
	{on: Prepared, unready: unset},
	{on: Unready, unready: set},
	{on: Ready, unready: unset},
	{on: Spawned, clears: true},
	{on: Died, clears: true},
	{on: Gone, clears: true},
	{on: GoneSoon, clears: true},
	{on: GoneBackoff, clears: true},
	{on: TooMany, clears: true, failed: set},
	{on: Refused, clears: true, failed: set},
	{on: FoundFailed, failed: set},
}

// moves is the other half: the next phase and what is to be done. Of the rows of an event
// the first counts whose condition holds. An event without one does nothing, on purpose.
var moves = [phases][]Row{
	Idle: {
		{on: CmdUp, next: Starting, Do: Start},
		{on: CmdOnce, next: Starting, Do: Start, Record: true},
		{on: Begin, when: ifUp, next: Starting, Do: Start},
		{on: Begin, next: Idle, Do: Over}, // an earlier core may not have told that
		{on: BeginSoon, when: ifUp, next: Resting, Do: RestOn},
		{on: BeginSoon, next: Idle, Do: Over},
		{on: BeginUnready, when: ifWanted, next: Idle, Do: TellUnready},
		{on: FoundMaking, when: ifWanted, next: Starting, Do: Start, Record: true},
		{on: FoundFailed, next: Idle, Do: Over},
		{on: FoundRun, next: Running},
		{on: FoundFinish, next: Finishing},
	},
	Starting: {
		{on: Prepared, when: ifWanted, next: Starting, Do: Spawn, Later: true},
		{on: Prepared, next: Idle},
		{on: Unready, next: Starting, Later: true},
		{on: Ready, when: ifUnready, next: Starting, Do: TellReady, Later: true}, // it has begun, and that is not known yet
		{on: Lacking, when: ifWanted, next: Waiting, Do: AwaitNeeds},
		{on: Lacking, next: Idle},
		{on: NeedsChanged, next: Starting, Later: true},         // it had all when it began
		{on: Spawned, when: ifAgainst, next: Running, Do: Stop}, // the order may have changed meanwhile
		{on: Spawned, when: ifUnready, next: Running, Do: LimitReady},
		{on: Spawned, next: Running},
		{on: Unmade, when: ifWanted, next: Resting, Do: RestLong},
		{on: Unmade, next: Idle},
		{on: Died, next: Finishing, Do: SpawnFinish}, // ./run could not be executed
	},
	Running: {
		{on: CmdDown, next: Running, Do: Stop},
		{on: CmdExit, next: Running, Do: Stop},
		{on: CmdTerm, next: Running, Do: Stop},
		{on: CmdKill, next: Running, Do: SendKill},
		{on: CmdPause, next: Running, Do: SendStop},
		{on: CmdCont, next: Running, Do: SendCont},
		{on: CmdHup, next: Running, Do: SendHup},
		{on: CmdAlarm, next: Running, Do: SendAlarm},
		{on: CmdInt, next: Running, Do: SendInt},
		{on: CmdQuit, next: Running, Do: SendQuit},
		{on: CmdUsr1, next: Running, Do: SendUsr1},
		{on: CmdUsr2, next: Running, Do: SendUsr2},
		{on: CmdReload, next: Running, Do: SendReload},
		{on: Asked, next: Running, Do: LimitStop},
		{on: Overdue, next: Running, Do: KillRun},
		{on: Ready, when: ifUnready, next: Running, Do: TellReady},
		{on: Late, when: ifUntermed, next: Running, Do: StopLate},
		{on: Works, next: Running, Do: Watch},
		{on: Silent, when: ifWorking, next: Running, Do: Abort},
		{on: Silent, when: ifPaused, next: Running, Do: WatchAnew}, // who is paused on purpose says nothing
		{on: Hangs, when: ifWorking, next: Running, Do: Abort},
		{on: AbortSent, next: Running, Do: LimitHung},
		{on: Taken, when: ifTermed, next: Running, Do: ResumeStop},
		{on: Taken, when: ifUnready, next: Running, Do: LimitReady},
		{on: FoundOther, next: Running, Do: Stop},
		{on: Resumed, when: ifAgainst, next: Running, Do: Stop}, // the order was cut off before the signal
		{on: Held, next: Ending, Do: Await},
		{on: Left, next: Ending, Do: EndStrays},
		{on: Died, next: Finishing, Do: SpawnFinish},
	},
	Ending: { // it shows as running, so that what its script does with supervise/pid meets no other process
		{on: Rested, next: Ending, Do: TellHeld},
		{on: StraysLate, next: Ending, Do: KillStrays},
		{on: StraysGone, next: Ending, Do: Release, Later: true},
		{on: Died, next: Finishing, Do: SpawnFinish},
	},
	Finishing: { // ./finish runs whatever is wanted
		{on: Spawned, next: Finishing, Do: LimitFinish},
		{on: Taken, next: Finishing, Do: ResumeFinish},
		{on: Overdue, next: Finishing, Do: KillFinish},
		{on: Unmade, next: Finishing, Do: RestLong},
		{on: Rested, next: Finishing, Do: SpawnFinish},
		{on: Refused, next: Idle, Do: GiveUp},
	},
	Resting: {
		{on: CmdUp, next: Starting, Do: Start},
		{on: CmdOnce, next: Starting, Do: Start, Record: true},
		{on: CmdDown, next: Idle, Do: Over},
		{on: CmdExit, next: Idle, Do: Over},
		{on: Unfed, next: Idle},
		{on: Rested, when: ifWanted, next: Starting, Do: Start},
		{on: Rested, next: Idle},
	},
	Waiting: { // an order to start looks anew at what it needs
		{on: CmdUp, next: Starting, Do: Start},
		{on: CmdOnce, next: Starting, Do: Start, Record: true},
		{on: CmdDown, next: Idle, Do: Over},
		{on: CmdExit, next: Idle, Do: Over},
		{on: Rested, next: Waiting, Do: TellNeeds},
		{on: NeedsChanged, next: Waiting, Do: LookNeeds},
		{on: Met, when: ifWanted, next: Starting, Do: Start},
		{on: Met, next: Idle},
	},
}

// ends are further rows of each phase that the last process of a round may end in.
var ends = [...]Row{
	{on: Gone, when: ifUp, next: Starting, Do: Start, Later: true},
	{on: Gone, next: Idle, Do: Over},
	{on: GoneSoon, when: ifUp, next: Resting, Do: Rest},
	{on: GoneSoon, next: Idle, Do: Over},
	{on: GoneBackoff, when: ifUp, next: Resting, Do: RestBackoff},
	{on: GoneBackoff, next: Idle, Do: Over},
	{on: TooMany, next: Idle, Do: GiveUp},
}

// mayEnd says whether ends holds in a phase.
func (p Phase) mayEnd() bool { return Starting <= p && p <= Finishing }

// Standing is what a service is to those that need it.
type Standing byte

// The standings.
const (
	Absent  Standing = iota // nobody supervises it
	Coming                  // it is about to be ready, by itself
	Reached                 // it is ready, or runs and does not say when it is
	Stopped                 // it is down until somebody starts it
	GivenUp                 // the same, since it has failed
)

// Standing says what a service of that status is to those that need it.
func (s Status) Standing() Standing {
	switch {
	case s.Phase == Running && !s.Unready && !s.Termed:
		return Reached
	case s.Phase == Idle && s.Failed:
		return GivenUp
	case s.Phase == Idle && s.Want != state.WantUp:
		return Stopped
	}
	return Coming
}

// Step decides what an event means. It starts nothing and reads no clock. The row
// that it returns is the one to act on.
func Step(s Status, ev Event) (Status, Row) {
	var c change
	for i := range changes {
		if changes[i].on == ev {
			c = changes[i]
		}
	}
	if s.Log && c.notLogs {
		return s, Row{next: s.Phase}
	}
	if c.gives {
		s.Want = c.want
	}
	if c.clears {
		s.Paused, s.Termed, s.Hung = false, false, false
	}
	r := s.row(ev) // which looks at the other flags as they were
	if running := s.Phase == Running; !(c.only && !running || c.except && running) {
		s.Paused, s.Termed, s.Failed = c.paused.on(s.Paused), c.termed.on(s.Termed), c.failed.on(s.Failed)
		s.Hung, s.Unready = c.hung.on(s.Hung), c.unready.on(s.Unready)
	}
	s.Phase = r.next
	return s, r
}

// row is the row of the event that counts. Without one the phase stays.
func (s Status) row(ev Event) Row {
	r := s.first(moves[s.Phase], ev)
	if r == nil && s.Phase.mayEnd() {
		r = s.first(ends[:], ev)
	}
	if r == nil {
		return Row{next: s.Phase}
	}
	return *r
}

// first is the first of the rows that is of the event and whose condition holds.
func (s Status) first(rows []Row, ev Event) *Row {
	for i := range rows {
		if r := &rows[i]; r.on == ev && r.when.holds(s) {
			return r
		}
	}
	return nil
}

// on is the flag after the change.
func (m mark) on(before bool) bool { return m == set || m == same && before }

// holds says whether the condition is met by a status.
func (c condition) holds(s Status) bool {
	switch c {
	case ifUp:
		return s.Want == state.WantUp && !s.Failed
	case ifWanted:
		return s.Want != state.WantDown && s.Want != state.WantExit && !s.Failed
	case ifTermed:
		return s.Termed
	case ifUntermed:
		return !s.Termed
	case ifUnready:
		return s.Unready
	case ifPaused:
		return s.Paused && !s.Hung
	case ifWorking:
		return !s.Termed && !s.Paused && !s.Hung
	case ifAgainst:
		return !s.Termed && (s.Want == state.WantDown || s.Want == state.WantExit && !s.Log)
	}
	return true
}
