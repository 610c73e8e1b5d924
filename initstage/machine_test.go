package initstage

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStep(t *testing.T) {
	for _, tt := range []struct {
		name string
		from phase
		ev   event
		to   phase
		do   []effect
	}{
		{"the machine is up", booting, begin, first, []effect{enter}},
		{"stage 1 is done", first, done, second, []effect{sayLeave, enter}},
		{"stage 1 fails, and the boot goes on", first, failed, second, []effect{sayFailed, sayLeave, enter}},
		{"stage 1 cannot be executed", first, quit111, second, []effect{sayFailed, sayLeave, enter}},
		{"stage 1 wants no stage 2", first, quit100, third, []effect{sayFailed, sayLeave, saySkip, enter}},
		{"stage 1 is killed: the manual skips stage 2", first, crashed, third, []effect{sayCrashed, sayLeave, saySkip, enter}},
		{"stage 1 could not be forked yet", first, timeout, first, []effect{enter}},
		{"CONT is too early", first, stop, first, []effect{saySignals}},
		{"a container is to end while stage 1 runs", first, ask, only, []effect{noWait}},
		{"then there is no stage 2", only, done, third, []effect{sayLeave, saySkip, enter}},
		{"stage 2 ends", second, done, third, []effect{sayLeave, enter}},
		{"stage 2 fails", second, failed, third, []effect{sayFailed, sayLeave, enter}},
		{"100 is nothing special in stage 2", second, quit100, third, []effect{sayFailed, sayLeave, enter}},
		{"stage 2 exits 111", second, quit111, resting, []effect{sayFailed, killGroup, rest}},
		{"stage 2 is killed: the manual restarts it", second, crashed, resting, []effect{sayCrashed, killGroup, rest}},
		{"and has rested", resting, timeout, second, []effect{sayRestart, enter}},
		{"the end comes while it rests", resting, stop, third, []effect{disarm, sayLeave, enter}},
		{"CONT and the flag", second, stop, leaving, []effect{disarm, rest, term}},
		{"CONT without the flag", second, cont, second, nil},
		{"INT without a script", second, inted, second, nil},
		{"INT and a script", second, ctrlaltdel, second, []effect{runScript}},
		{"stage 2 ends as told, however", leaving, crashed, third, []effect{sayLeave, enter}},
		{"stage 2 is deaf", leaving, timeout, killed, []effect{sayNotTerminated, rest, kill}},
		{"stage 2 does not even die", killed, timeout, third, []effect{sayLeave, enter}},
		{"stage 3 is done", third, done, ending, []effect{sayLeave, killAll, power}},
		{"stage 3 is killed", third, crashed, ending, []effect{sayCrashed, sayLeave, killAll, power}},
		{"CONT is too late", third, cont, third, []effect{saySignals}},
		{"a second TERM in a container", third, ask, third, nil},
		{"the power did not go off", ending, timeout, ending, []effect{halt}},
		{"reboot(2) is refused", ending, notPermitted, ending, []effect{exit}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to, do := step(tt.from, tt.ev)
			if to != tt.to {
				t.Errorf("%v, want %v", to, tt.to)
			}
			if diff := cmp.Diff(tt.do, do); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryPhaseEnds sees to it that no phase is a trap: whatever a stage's
// process comes to, there is a move, and it leads on.
func TestEveryPhaseEnds(t *testing.T) {
	for p := first; p < ending; p++ {
		if p == resting {
			continue // it has no process
		}
		for ev := done; ev <= crashed; ev++ {
			if to, _ := step(p, ev); to <= p && !(p == second && to == resting) {
				t.Errorf("%v stays when its process comes to %d", p, ev)
			}
		}
	}
}
