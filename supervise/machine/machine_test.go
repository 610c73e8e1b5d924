package machine

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runitbox/supervise/state"
)

func TestStep(t *testing.T) {
	up, down := Status{Phase: Running}, Status{Want: state.WantDown}
	for _, tt := range []struct {
		name string
		from Status
		ev   Event
		to   Status
		do   Effect
	}{
		{"up starts what is down", down, CmdUp, Status{Phase: Starting}, Start},
		{"once starts it too, for one life", down, CmdOnce, Status{Phase: Starting, Want: state.WantOnce}, Start},
		{"down on what is down only counts as an order", Status{}, CmdDown, down, Nothing},
		{"control/u is over: the process is made", Status{Phase: Starting}, Prepared, Status{Phase: Starting}, Spawn},
		{"an order taken back during control/u is not carried out", Status{Phase: Starting, Want: state.WantDown}, Prepared, down, Nothing},
		{"once is carried out", Status{Phase: Starting, Want: state.WantOnce}, Prepared, Status{Phase: Starting, Want: state.WantOnce}, Spawn},
		{"down during the start waits for the process", Status{Phase: Starting}, CmdDown, Status{Phase: Starting, Want: state.WantDown}, Nothing},
		{"a process is there, and down is wanted meanwhile", Status{Phase: Starting, Want: state.WantDown}, Spawned, Status{Phase: Running, Want: state.WantDown}, Stop},
		{"a log service that is to end is not stopped", Status{Phase: Starting, Want: state.WantExit, Log: true}, Spawned, Status{Phase: Running, Want: state.WantExit, Log: true}, Nothing},
		{"a log service knows no exit", Status{Phase: Running, Log: true}, CmdExit, Status{Phase: Running, Log: true}, Nothing},
		{"what is wanted up is begun", Status{}, Begin, Status{Phase: Starting}, Start},
		{"what is wanted down is not", down, Begin, down, Over},
		{"what ran once is not begun again", Status{Want: state.WantOnce}, Begin, Status{Want: state.WantOnce}, Over},
		{"what had just ended rests first", Status{}, BeginSoon, Status{Phase: Resting}, RestOn},
		{"what misses its ./run is told of", Status{}, BeginUnready, Status{}, TellUnready},
		{"but not where it is to stay down", down, BeginUnready, down, Nothing},
		{"a start that was cut off is made up for", Status{Want: state.WantOnce}, FoundMaking, Status{Phase: Starting, Want: state.WantOnce}, Start},
		{"unless it was taken back", down, FoundMaking, down, Nothing},
		{"what runs is taken over", Status{}, FoundRun, up, Nothing},
		{"so is ./finish", down, FoundFinish, Status{Phase: Finishing, Want: state.WantDown}, Nothing},
		{"what is of another directory is stopped", up, FoundOther, up, Stop},
		{"TERM that was cut off is sent", Status{Phase: Running, Want: state.WantDown}, Resumed, Status{Phase: Running, Want: state.WantDown}, Stop},
		{"TERM that was sent is not sent again", Status{Phase: Running, Want: state.WantDown, Termed: true}, Resumed, Status{Phase: Running, Want: state.WantDown, Termed: true}, Nothing},
		{"what is wanted up runs on", up, Resumed, up, Nothing},
		{"so does what a control script is about to end", Status{Phase: Running, Want: state.WantDown}, Scripted, Status{Phase: Running, Want: state.WantDown}, Nothing},
		{"a process is there", Status{Phase: Starting}, Spawned, up, Nothing},
		{"no process could be made: try again later", Status{Phase: Starting}, Unmade, Status{Phase: Resting}, RestLong},
		{"run that cannot be executed has ended at once", Status{Phase: Starting}, GoneSoon, Status{Phase: Resting}, Rest},
		{"and finish hears of it", Status{Phase: Starting}, Died, Status{Phase: Finishing}, SpawnFinish},
		{"down stops what runs", up, CmdDown, Status{Phase: Running, Want: state.WantDown}, Stop},
		{"exit stops what runs", up, CmdExit, Status{Phase: Running, Want: state.WantExit}, Stop},
		{"term stops it without an order", up, CmdTerm, up, Stop},
		{"what says that it works is watched from then on", up, Works, up, Watch},
		{"what is silent for too long is sent ABRT, and stays wanted", up, Silent, up, Abort},
		{"so is what says that it does not work", up, Hangs, up, Abort},
		{"a log service too", Status{Phase: Running, Log: true}, Silent, Status{Phase: Running, Log: true}, Abort},
		{"what is to run once too", Status{Phase: Running, Want: state.WantOnce}, Silent, Status{Phase: Running, Want: state.WantOnce}, Abort},
		{"what is paused has its time again", Status{Phase: Running, Paused: true}, Silent, Status{Phase: Running, Paused: true}, WatchAnew},
		{"but it says nothing of itself", Status{Phase: Running, Paused: true}, Hangs, Status{Phase: Running, Paused: true}, Nothing},
		{"what was asked to end is not sent ABRT", Status{Phase: Running, Want: state.WantDown, Termed: true}, Silent, Status{Phase: Running, Want: state.WantDown, Termed: true}, Nothing},
		{"nor what has ended", Status{Phase: Finishing}, Silent, Status{Phase: Finishing}, Nothing},
		{"nor what was sent it before", Status{Phase: Running, Hung: true}, Hangs, Status{Phase: Running, Hung: true}, Nothing},
		{"who is sent ABRT has some time to end", up, AbortSent, Status{Phase: Running, Hung: true}, LimitHung},
		{"and is killed then", Status{Phase: Running, Hung: true}, Overdue, Status{Phase: Running, Hung: true}, KillRun},
		{"the next process does not hang for that", Status{Phase: Running, Hung: true}, GoneSoon, Status{Phase: Resting}, Rest},
		{"up while it runs only changes the order", Status{Phase: Running, Want: state.WantDown}, CmdUp, up, Nothing},
		{"once while it runs only changes the order", up, CmdOnce, Status{Phase: Running, Want: state.WantOnce}, Nothing},
		{"kill leaves the state to the death", up, CmdKill, up, SendKill},
		{"kill of what is down does nothing", down, CmdKill, down, Nothing},
		{"kill during finish does nothing", Status{Phase: Finishing}, CmdKill, Status{Phase: Finishing}, Nothing},
		{"TERM is told until the process ends", up, TermSent, Status{Phase: Running, Termed: true}, Nothing},
		{"TERM that came too late is not told", down, TermSent, down, Nothing},
		{"pause is told in any state", down, CmdPause, Status{Want: state.WantDown, Paused: true}, Nothing},
		{"pause stops what runs, and is told when control/p has ended", up, CmdPause, up, SendStop},
		{"that is then", up, StopSent, Status{Phase: Running, Paused: true}, Nothing},
		{"cont ends the pause when control/c has ended", Status{Phase: Running, Paused: true}, CmdCont, Status{Phase: Running, Paused: true}, SendCont},
		{"so does the CONT that goes with down", Status{Phase: Running, Want: state.WantDown, Paused: true}, ContSent, Status{Phase: Running, Want: state.WantDown}, Nothing},
		{"what is to say when it is ready is made as any other", Status{Phase: Starting}, Unready, Status{Phase: Starting, Unready: true}, Nothing},
		{"its time begins with it", Status{Phase: Starting, Unready: true}, Spawned, Status{Phase: Running, Unready: true}, LimitReady},
		{"but where it is to end at once", Status{Phase: Starting, Want: state.WantDown, Unready: true}, Spawned, Status{Phase: Running, Want: state.WantDown, Unready: true}, Stop},
		{"it is ready", Status{Phase: Running, Unready: true}, Ready, up, TellReady},
		{"also before its core knows that it runs", Status{Phase: Starting, Unready: true}, Ready, Status{Phase: Starting}, TellReady},
		{"it is so once", up, Ready, up, Nothing},
		{"it is not in time", Status{Phase: Running, Unready: true}, Late, Status{Phase: Running, Unready: true}, StopLate},
		{"but it was asked to end", Status{Phase: Running, Unready: true, Termed: true}, Late, Status{Phase: Running, Unready: true, Termed: true}, Nothing},
		{"but it has ended", Status{Phase: Resting, Unready: true}, Late, Status{Phase: Resting, Unready: true}, Nothing},
		{"the next core waits for it too", Status{Phase: Running, Unready: true}, Taken, Status{Phase: Running, Unready: true}, LimitReady},
		{"the next life has to say it anew, or need not", Status{Phase: Starting, Unready: true}, Prepared, Status{Phase: Starting}, Spawn},
		{"what was asked to end has its time for that", up, Asked, up, LimitStop},
		{"when that is over it is killed", Status{Phase: Running, Termed: true}, Overdue, Status{Phase: Running, Termed: true}, KillRun},
		{"what has ended meanwhile is not", Status{Phase: Ending}, Overdue, Status{Phase: Ending}, Nothing},
		{"nor has it a time", Status{Phase: Ending}, Asked, Status{Phase: Ending}, Nothing},
		{"./finish has its time too", Status{Phase: Finishing}, Spawned, Status{Phase: Finishing}, LimitFinish},
		{"and is killed", Status{Phase: Finishing, Want: state.WantDown}, Overdue, Status{Phase: Finishing, Want: state.WantDown}, KillFinish},
		{"the next core goes on with the time of what was asked to end", Status{Phase: Running, Termed: true}, Taken, Status{Phase: Running, Termed: true}, ResumeStop},
		{"what was not has none", up, Taken, up, Nothing},
		{"and with that of ./finish", Status{Phase: Finishing}, Taken, Status{Phase: Finishing}, ResumeFinish},
		{"what ends while control/t runs stays as it is", Status{Phase: Running, Termed: true}, Held, Status{Phase: Ending, Termed: true}, Await},
		{"a control script that takes long is told of", Status{Phase: Ending, Want: state.WantDown}, Rested, Status{Phase: Ending, Want: state.WantDown}, TellHeld},
		{"what ./run has left behind is ended first", Status{Phase: Running, Termed: true}, Left, Status{Phase: Ending, Termed: true}, EndStrays},
		{"it is killed", Status{Phase: Ending}, StraysLate, Status{Phase: Ending}, KillStrays},
		{"when it is gone the service goes on", Status{Phase: Ending}, StraysGone, Status{Phase: Ending}, Release},
		{"nobody else is taken for it", up, StraysLate, up, Nothing},
		{"until then only orders are taken", Status{Phase: Ending}, CmdDown, Status{Phase: Ending, Want: state.WantDown}, Nothing},
		{"and nobody is sent a signal", Status{Phase: Ending}, CmdKill, Status{Phase: Ending}, Nothing},
		{"then it ends: finish", Status{Phase: Ending, Want: state.WantDown, Termed: true}, Died, Status{Phase: Finishing, Want: state.WantDown}, SpawnFinish},
		{"or down", Status{Phase: Ending, Want: state.WantExit}, Gone, Status{Want: state.WantExit}, Over},
		{"or the next start", Status{Phase: Ending}, Gone, Status{Phase: Starting}, Start},
		{"or the rest", Status{Phase: Ending}, GoneSoon, Status{Phase: Resting}, Rest},
		{"death clears the flags", Status{Phase: Running, Paused: true, Termed: true}, Died, Status{Phase: Finishing}, SpawnFinish},
		{"finish runs whatever is wanted", Status{Phase: Running, Want: state.WantExit}, Died, Status{Phase: Finishing, Want: state.WantExit}, SpawnFinish},
		{"after a second of life it is started at once", up, Gone, Status{Phase: Starting}, Start},
		{"before, it rests", up, GoneSoon, Status{Phase: Resting}, Rest},
		{"what ran once stays down", Status{Phase: Running, Want: state.WantOnce}, GoneSoon, Status{Want: state.WantOnce}, Over},
		{"what is wanted down stays down, without a rest", Status{Phase: Running, Want: state.WantDown, Termed: true}, GoneSoon, down, Over},
		{"up in finish waits for it", Status{Phase: Finishing, Want: state.WantDown}, CmdUp, Status{Phase: Finishing}, Nothing},
		{"down in finish waits for it", Status{Phase: Finishing}, CmdDown, Status{Phase: Finishing, Want: state.WantDown}, Nothing},
		{"finish is over, down is wanted", Status{Phase: Finishing, Want: state.WantDown}, Gone, down, Over},
		{"finish that could not be made is tried again", Status{Phase: Finishing, Want: state.WantDown}, Unmade, Status{Phase: Finishing, Want: state.WantDown}, RestLong},
		{"even if nothing is wanted", Status{Phase: Finishing, Want: state.WantExit}, Rested, Status{Phase: Finishing, Want: state.WantExit}, SpawnFinish},
		{"up ends the rest", Status{Phase: Resting}, CmdUp, Status{Phase: Starting}, Start},
		{"down ends the rest", Status{Phase: Resting}, CmdDown, down, Over},
		{"exit ends the rest", Status{Phase: Resting}, CmdExit, Status{Want: state.WantExit}, Over},
		{"the rest is over", Status{Phase: Resting}, Rested, Status{Phase: Starting}, Start},
		{"what needs something that is not ready waits", Status{Phase: Starting}, Lacking, Status{Phase: Waiting}, AwaitNeeds},
		{"unless the order was taken back", Status{Phase: Starting, Want: state.WantDown}, Lacking, down, Nothing},
		{"it waits on, and that is said", Status{Phase: Waiting}, Rested, Status{Phase: Waiting}, TellNeeds},
		{"it looks again when that may have changed", Status{Phase: Waiting}, NeedsChanged, Status{Phase: Waiting}, LookNeeds},
		{"what runs goes on whatever becomes of it", up, NeedsChanged, up, Nothing},
		{"what is being made does too", Status{Phase: Starting}, NeedsChanged, Status{Phase: Starting}, Nothing},
		{"all that it needs is ready", Status{Phase: Waiting}, Met, Status{Phase: Starting}, Start},
		{"up looks at once", Status{Phase: Waiting}, CmdUp, Status{Phase: Starting}, Start},
		{"once does too", Status{Phase: Waiting}, CmdOnce, Status{Phase: Starting, Want: state.WantOnce}, Start},
		{"down ends the wait", Status{Phase: Waiting}, CmdDown, down, Over},
		{"so does exit", Status{Phase: Waiting}, CmdExit, Status{Want: state.WantExit}, Over},
		{"what waits is sent no signal", Status{Phase: Waiting}, CmdKill, Status{Phase: Waiting}, Nothing},
		{"a log service whose pipe is closed ends by itself", up, Unfed, Status{Phase: Running, Want: state.WantExit}, Nothing},
		{"or is not started again", Status{Phase: Resting}, Unfed, Status{Want: state.WantExit}, Nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, row := Step(tt.from, tt.ev)
			if diff := cmp.Diff(tt.to, to); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.do, row.Do); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStepNeverStartsTwice walks all sequences of five events from the start
// and looks for a second process beside a first.
func TestStepNeverStartsTwice(t *testing.T) {
	type world struct {
		st    Status
		procs int // made and not ended
		due   int // being made
	}
	commands := []Event{CmdUp, CmdDown, CmdOnce, CmdExit, CmdTerm, CmdKill}
	seen := map[world]bool{}
	var walk func(w world, depth int)
	lacks := false // what it needs is not ready
	feed := func(w world, ev Event) world {
		st, row := Step(w.st, ev)
		w.st = st
		switch row.Do {
		case Start:
			if lacks {
				w.st, _ = Step(w.st, Lacking)
			} else if w.st, row = Step(w.st, Prepared); row.Do == Spawn {
				w.due++
			}
		case SpawnFinish:
			w.due++
		}
		return w
	}
	walk = func(w world, depth int) {
		if w.procs+w.due > 1 {
			t.Fatalf("two processes: %+v", w)
		}
		if depth == 0 || seen[w] {
			return
		}
		seen[w] = true
		for _, ev := range commands {
			walk(feed(w, ev), depth-1)
			lacks = true
			other := feed(w, ev)
			lacks = false
			walk(other, depth-1)
		}
		for _, ev := range []Event{NeedsChanged, TermSent, Asked, Overdue, StopSent, ContSent, Ready, Late, Works, Silent, Hangs, AbortSent} { // what changes no phase
			walk(feed(w, ev), depth-1)
		}
		if w.st.Phase == Waiting {
			walk(feed(w, Rested), depth-1)
			walk(feed(w, Met), depth-1)
		}
		if w.due > 0 {
			made := w
			made.due, made.procs = made.due-1, made.procs+1
			walk(feed(made, Spawned), depth-1)
			failed := w
			failed.due--
			walk(feed(failed, Unmade), depth-1)
		}
		if w.procs > 0 {
			dead := w
			dead.procs--
			for _, ev := range []Event{Held, Left, Died, Gone, GoneSoon} {
				if (ev == Died || ev == Held || ev == Left) && dead.st.Phase != Running {
					continue
				}
				walk(feed(dead, ev), depth-1)
			}
		}
		if w.st.Phase == Ending {
			for _, ev := range []Event{Rested, StraysLate, StraysGone, Died, Gone, GoneSoon} {
				walk(feed(w, ev), depth-1)
			}
		}
		if w.st.Phase == Resting || w.st.Phase == Finishing && w.procs+w.due == 0 {
			walk(feed(w, Rested), depth-1)
		}
	}
	for _, log := range []bool{false, true} {
		for want := state.WantUp; want <= state.WantExit; want++ {
			idle := world{st: Status{Want: want, Log: log}}
			for _, ev := range []Event{Begin, BeginSoon, BeginUnready, FoundMaking} {
				walk(feed(idle, ev), 30)
			}
			for _, ev := range []Event{FoundRun, FoundFinish} {
				found := feed(idle, ev)
				found.procs = 1
				for _, ev := range []Event{Resumed, Scripted, FoundOther} {
					walk(feed(found, ev), 30)
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d worlds seen", len(seen))
	}
}

func TestStanding(t *testing.T) {
	for _, tt := range []struct {
		name string
		st   Status
		want Standing
	}{
		{"runs, and does not say more", Status{Phase: Running}, Reached},
		{"is not ready yet", Status{Phase: Running, Unready: true}, Coming},
		{"is being stopped", Status{Phase: Running, Termed: true}, Coming},
		{"is about to start", Status{Phase: Starting}, Coming},
		{"rests", Status{Phase: Resting}, Coming},
		{"waits itself", Status{Phase: Waiting}, Coming},
		{"is down", Status{Want: state.WantDown}, Stopped},
		{"has run once", Status{Want: state.WantOnce}, Stopped},
		{"was given up", Status{Failed: true}, GivenUp},
	} {
		if got := tt.st.Standing(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// everyStatus calls f with each status that there can be.
func everyStatus(f func(Status)) {
	const flags = 6
	for i := range int(phases) * 4 << flags {
		f(Status{Phase: Phase(i >> flags / 4), Want: state.Want(i >> flags % 4), Paused: i&1 != 0, Termed: i&2 != 0, Log: i&4 != 0, Failed: i&8 != 0, Hung: i&16 != 0, Unready: i&32 != 0})
	}
}

// TestMachineHolds asks of every status and every event what must hold of each.
func TestMachineHolds(t *testing.T) {
	sends := func(r Row) bool {
		return r.Do == StopLate || r.Do == Abort || r.Do == KillRun || r.Do >= Stop && r.Do <= SendReload
	}
	type step struct {
		from, to Status
		ev       Event
		r        Row
	}
	var steps []step
	everyStatus(func(from Status) {
		for ev, name := range eventNames {
			if name != "" {
				to, r := Step(from, Event(ev))
				steps = append(steps, step{from, to, Event(ev), r})
			}
		}
	})
	starts := func(r Row) bool { return r.Do == Start || r.Do == Spawn || r.next == Starting }
	for _, rule := range []struct {
		name string
		ok   func(from Status, ev Event, to Status, r Row) bool
	}{
		{"the row that is acted on tells the phase that follows", func(_ Status, _ Event, to Status, r Row) bool { return to.Phase == r.next }},
		{"what is wanted down or to exit is not started", func(from Status, _ Event, to Status, r Row) bool {
			return to.Want != state.WantDown && to.Want != state.WantExit || from.Phase == Starting || !starts(r)
		}},
		{"./run is made in phase Starting only", func(from Status, _ Event, to Status, r Row) bool {
			return r.Do != Spawn || from.Phase == Starting && to.Phase == Starting
		}},
		{"./finish is made in phase Finishing only", func(_ Status, _ Event, to Status, r Row) bool { return r.Do != SpawnFinish || to.Phase == Finishing }},
		{"the end of ./run with a ./finish leads to it", func(from Status, ev Event, _ Status, r Row) bool {
			return ev != Died || from.Phase != Starting && from.Phase != Running && from.Phase != Ending || r.Do == SpawnFinish
		}},
		{"after exit no end of a process leads to a start", func(from Status, ev Event, to Status, _ Row) bool {
			return ev != Gone && ev != GoneSoon && ev != GoneBackoff || from.Want != state.WantExit || to.Phase == Idle || from.Phase == to.Phase
		}},
		{"exit makes a service that rests go at once", func(from Status, ev Event, to Status, _ Row) bool {
			return from.Phase != Resting || from.Log || ev != CmdExit || to.Phase == Idle
		}},
		{"a log service ignores exit", func(from Status, ev Event, to Status, r Row) bool {
			return !from.Log || ev != CmdExit || to == from && r.Do == Nothing
		}},
		{"a log service whose pipe is closed is sent no signal", func(from Status, ev Event, _ Status, r Row) bool {
			return ev != Unfed && (ev != Spawned && ev != Resumed || !from.Log || from.Want != state.WantExit) || !sends(r)
		}},
		{"a service stays the kind that it is", func(from Status, _ Event, to Status, _ Row) bool { return from.Log == to.Log }},
		{"only commands and the closed pipe change the standing order", func(from Status, ev Event, to Status, _ Row) bool {
			gives := slices.ContainsFunc(changes[:], func(c change) bool { return c.on == ev && c.gives })
			return from.Want == to.Want || gives
		}},
		{"what was given up is started by an order only", func(from Status, ev Event, to Status, r Row) bool {
			return !from.Failed || from.Phase != Idle || ev == CmdUp || ev == CmdOnce || !starts(r) && to.Phase != Resting
		}},
		{"that it is over is said of what then stays down only", func(_ Status, _ Event, to Status, r Row) bool {
			return r.Do != Over && r.Do != GiveUp || to.Phase == Idle
		}},
		{"an end after which it stays down is its last", func(from Status, ev Event, to Status, r Row) bool {
			ends := ev == Gone || ev == GoneSoon || ev == GoneBackoff || ev == TooMany || ev == Refused && from.Phase == Finishing
			return !ends || to.Phase != Idle || !from.Phase.mayEnd() || r.Do == Over || r.Do == GiveUp
		}},
		{"what is left behind is ended in phase Ending only", func(_ Status, _ Event, to Status, r Row) bool {
			return r.Do != EndStrays && r.Do != KillStrays && r.Do != Release || to.Phase == Ending
		}},
		{"ABRT is sent once", func(from Status, _ Event, _ Status, r Row) bool { return r.Do != Abort || !from.Hung }},
		{"KILL comes at the end of a time, and to what is there", func(from Status, ev Event, _ Status, r Row) bool {
			return r.Do != KillRun && r.Do != KillFinish || ev == Overdue && from.Phase == map[Effect]Phase{KillRun: Running, KillFinish: Finishing}[r.Do]
		}},
		{"signals go to ./run only", func(from Status, _ Event, to Status, r Row) bool {
			return !sends(r) || to.Phase == Running
		}},
	} {
		t.Run(rule.name, func(t *testing.T) {
			for _, x := range steps {
				if !rule.ok(x.from, x.ev, x.to, x.r) {
					t.Errorf("%+v, %s: %+v, %+v", x.from, eventNames[x.ev], x.to, x.r)
				}
			}
		})
	}
}
