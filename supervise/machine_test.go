package supervise

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStep(t *testing.T) {
	up, down := Status{Phase: Running}, Status{Want: WantDown}
	for _, tt := range []struct {
		name string
		from Status
		ev   Event
		to   Status
		do   []Effect
	}{
		{"up starts what is down", down, CmdUp, Status{Phase: Starting}, []Effect{Start}},
		{"once starts it too, for one life", down, CmdOnce, Status{Phase: Starting, Want: WantOnce}, []Effect{Start}},
		{"down on what is down only counts as an order", Status{}, CmdDown, down, nil},
		{"control/u is over: the process is made", Status{Phase: Starting}, Ready, Status{Phase: Starting}, []Effect{Spawn}},
		{"an order taken back during control/u is not carried out", Status{Phase: Starting, Want: WantDown}, Ready, down, nil},
		{"once is carried out", Status{Phase: Starting, Want: WantOnce}, Ready, Status{Phase: Starting, Want: WantOnce}, []Effect{Spawn}},
		{"down during the start waits for the process", Status{Phase: Starting}, CmdDown, Status{Phase: Starting, Want: WantDown}, nil},
		{"a process is there", Status{Phase: Starting}, Spawned, up, nil},
		{"no process could be made: try again later", Status{Phase: Starting}, Unmade, Status{Phase: Resting}, []Effect{RestLong}},
		{"run that cannot be executed has ended at once", Status{Phase: Starting}, GoneSoon, Status{Phase: Resting}, []Effect{Rest}},
		{"and finish hears of it", Status{Phase: Starting}, Died, Status{Phase: Finishing}, []Effect{SpawnFinish}},
		{"down stops what runs", up, CmdDown, Status{Phase: Running, Want: WantDown}, []Effect{Stop}},
		{"exit stops what runs", up, CmdExit, Status{Phase: Running, Want: WantExit}, []Effect{Stop}},
		{"term stops it without an order", up, CmdTerm, up, []Effect{Stop}},
		{"up while it runs only changes the order", Status{Phase: Running, Want: WantDown}, CmdUp, up, nil},
		{"once while it runs only changes the order", up, CmdOnce, Status{Phase: Running, Want: WantOnce}, nil},
		{"kill leaves the state to the death", up, CmdKill, up, []Effect{SendKill}},
		{"kill of what is down does nothing", down, CmdKill, down, nil},
		{"kill during finish does nothing", Status{Phase: Finishing}, CmdKill, Status{Phase: Finishing}, nil},
		{"TERM is told until the process ends", up, TermSent, Status{Phase: Running, Termed: true}, nil},
		{"TERM that came too late is not told", down, TermSent, down, nil},
		{"pause is told in any state", down, CmdPause, Status{Want: WantDown, Paused: true}, nil},
		{"pause stops what runs, and is told when control/p has ended", up, CmdPause, up, []Effect{SendStop}},
		{"that is then", up, StopSent, Status{Phase: Running, Paused: true}, nil},
		{"cont ends the pause when control/c has ended", Status{Phase: Running, Paused: true}, CmdCont, Status{Phase: Running, Paused: true}, []Effect{SendCont}},
		{"so does the CONT that goes with down", Status{Phase: Running, Want: WantDown, Paused: true}, ContSent, Status{Phase: Running, Want: WantDown}, nil},
		{"what ends while control/t runs stays as it is", Status{Phase: Running, Termed: true}, Held, Status{Phase: Ending, Termed: true}, []Effect{Await}},
		{"a control script that takes long is told of", Status{Phase: Ending, Want: WantDown}, Rested, Status{Phase: Ending, Want: WantDown}, []Effect{TellHeld}},
		{"until then only orders are taken", Status{Phase: Ending}, CmdDown, Status{Phase: Ending, Want: WantDown}, nil},
		{"and nobody is sent a signal", Status{Phase: Ending}, CmdKill, Status{Phase: Ending}, nil},
		{"then it ends: finish", Status{Phase: Ending, Want: WantDown, Termed: true}, Died, Status{Phase: Finishing, Want: WantDown}, []Effect{SpawnFinish}},
		{"or down", Status{Phase: Ending, Want: WantExit}, Gone, Status{Want: WantExit}, nil},
		{"or the next start", Status{Phase: Ending}, Gone, Status{Phase: Starting}, []Effect{Start}},
		{"or the rest", Status{Phase: Ending}, GoneSoon, Status{Phase: Resting}, []Effect{Rest}},
		{"death clears the flags", Status{Phase: Running, Paused: true, Termed: true}, Died, Status{Phase: Finishing}, []Effect{SpawnFinish}},
		{"finish runs whatever is wanted", Status{Phase: Running, Want: WantExit}, Died, Status{Phase: Finishing, Want: WantExit}, []Effect{SpawnFinish}},
		{"after a second of life it is started at once", up, Gone, Status{Phase: Starting}, []Effect{Start}},
		{"before, it rests", up, GoneSoon, Status{Phase: Resting}, []Effect{Rest}},
		{"what ran once stays down", Status{Phase: Running, Want: WantOnce}, GoneSoon, Status{Want: WantOnce}, nil},
		{"what is wanted down stays down, without a rest", Status{Phase: Running, Want: WantDown, Termed: true}, GoneSoon, down, nil},
		{"up in finish waits for it", Status{Phase: Finishing, Want: WantDown}, CmdUp, Status{Phase: Finishing}, nil},
		{"down in finish waits for it", Status{Phase: Finishing}, CmdDown, Status{Phase: Finishing, Want: WantDown}, nil},
		{"finish is over, down is wanted", Status{Phase: Finishing, Want: WantDown}, Gone, down, nil},
		{"finish that could not be made is tried again", Status{Phase: Finishing, Want: WantDown}, Unmade, Status{Phase: Finishing, Want: WantDown}, []Effect{RestLong}},
		{"even if nothing is wanted", Status{Phase: Finishing, Want: WantExit}, Rested, Status{Phase: Finishing, Want: WantExit}, []Effect{SpawnFinish}},
		{"up ends the rest", Status{Phase: Resting}, CmdUp, Status{Phase: Starting}, []Effect{Start}},
		{"down ends the rest", Status{Phase: Resting}, CmdDown, down, nil},
		{"exit ends the rest", Status{Phase: Resting}, CmdExit, Status{Want: WantExit}, nil},
		{"the rest is over", Status{Phase: Resting}, Rested, Status{Phase: Starting}, []Effect{Start}},
		{"a log service whose pipe is closed ends by itself", up, Unfed, Status{Phase: Running, Want: WantExit}, nil},
		{"or is not started again", Status{Phase: Resting}, Unfed, Status{Want: WantExit}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, do := step(tt.from, tt.ev)
			if diff := cmp.Diff(tt.to, to); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.do, do); diff != "" {
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
	feed := func(w world, ev Event) world {
		st, do := step(w.st, ev)
		w.st = st
		for _, e := range do {
			switch e {
			case Start:
				w2, do2 := step(w.st, Ready)
				w.st = w2
				for _, e := range do2 {
					if e == Spawn {
						w.due++
					}
				}
			case SpawnFinish:
				w.due++
			}
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
			for _, ev := range []Event{Held, Died, Gone, GoneSoon} {
				if (ev == Died || ev == Held) && dead.st.Phase != Running {
					continue
				}
				walk(feed(dead, ev), depth-1)
			}
		}
		if w.st.Phase == Ending {
			for _, ev := range []Event{Rested, Died, Gone, GoneSoon} {
				walk(feed(w, ev), depth-1)
			}
		}
		if w.st.Phase == Resting || w.st.Phase == Finishing && w.procs+w.due == 0 {
			walk(feed(w, Rested), depth-1)
		}
	}
	walk(world{}, 30)
	if len(seen) < 20 {
		t.Errorf("only %d worlds seen", len(seen))
	}
}
