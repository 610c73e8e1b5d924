package machine

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runitbox/supervise/state"
)

var writeTable = flag.Bool("machine", false, "write testdata/machine.txt anew")

// The names in the printed table.
var (
	phaseNames = [phases]string{"Idle", "Starting", "Running", "Ending", "Finishing", "Resting", "Waiting"}
	eventNames = [events]string{
		CmdUp: "up", CmdDown: "down", CmdOnce: "once", CmdExit: "exit", CmdTerm: "term", CmdKill: "kill", CmdPause: "pause", CmdCont: "cont",
		CmdHup: "hup", CmdAlarm: "alarm", CmdInt: "int", CmdQuit: "quit", CmdUsr1: "usr1", CmdUsr2: "usr2",
		Ready: "Ready", Spawned: "Spawned", Unmade: "Unmade", Held: "Held", Died: "Died", Gone: "Gone", GoneSoon: "GoneSoon", Rested: "Rested", GoneBackoff: "GoneBackoff", Failed: "Failed", FoundFailed: "FoundFailed", CmdReload: "reload", Hung: "Hung",
		TermSent: "TermSent", StopSent: "StopSent", ContSent: "ContSent", Unfed: "Unfed",
		Begin: "Begin", BeginSoon: "BeginSoon", BeginUnready: "BeginUnready", FoundRun: "FoundRun", FoundFinish: "FoundFinish",
		FoundMaking: "FoundMaking", FoundOther: "FoundOther", Resumed: "Resumed", Scripted: "Scripted", Lacking: "Lacking", Met: "Met",
	}
	effectNames = [...]string{
		Nothing: "-", Start: "Start", Spawn: "Spawn", SpawnFinish: "SpawnFinish", Stop: "Stop", Rest: "Rest", RestLong: "RestLong", RestOn: "RestOn",
		RestBackoff: "RestBackoff", SendReload: "SendReload", Abort: "Abort", Await: "Await", TellUnready: "TellUnready", TellHeld: "TellHeld", SendKill: "SendKill", SendStop: "SendStop", SendCont: "SendCont",
		SendHup: "SendHup", SendAlarm: "SendAlarm", SendInt: "SendInt", SendQuit: "SendQuit", SendUsr1: "SendUsr1", SendUsr2: "SendUsr2", Over: "Over", TellNeeds: "TellNeeds",
	}
	conditionNames = [...]string{always: "", ifUp: " if-up", ifWanted: " if-wanted", ifAgainst: " if-against", ifWorking: " if-working"}
	wantNames      = [...]string{state.WantUp: "up", state.WantDown: "down", state.WantOnce: "once", state.WantExit: "exit"}
	flagNames      = [...]string{same: "", set: "set", unset: "unset"}
)

// printMachine is the machine as text.
func printMachine() string {
	var b strings.Builder
	b.WriteString("# in every phase: event, changes\n")
	for ev, c := range changes {
		if c == (change{}) {
			continue
		}
		fmt.Fprintf(&b, "%-12s", eventNames[ev])
		for _, part := range []struct {
			there bool
			text  string
		}{
			{c.gives, "want=" + wantNames[c.want]},
			{c.failed != same, "failed=" + flagNames[c.failed]}, {c.paused != same, "paused=" + flagNames[c.paused]}, {c.termed != same, "termed=" + flagNames[c.termed]},
			{c.only, "in-Running"}, {c.except, "not-in-Running"}, {c.notLogs, "not-of-a-log"}, {c.last != Nothing, "if-it-stays-down: " + effectNames[c.last]},
		} {
			if part.there {
				b.WriteString(" " + part.text)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("# phase, event, next phase, effect, condition, what is written when\n")
	for p, row := range moves {
		for ev, r := range row {
			if r == nil {
				continue
			}
			line := fmt.Sprintf("%-9s %-12s -> %-9s %s%s", phaseNames[p], eventNames[ev], phaseNames[r.next], effectNames[r.Do], conditionNames[r.when])
			if r.Later {
				line += " status-later"
			}
			if r.Record {
				line += " record-once"
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestMachineTable compares the machine with its printed form, so that a change of
// it is seen. After a change that is meant: go test ./supervise -run TestMachineTable -machine
func TestMachineTable(t *testing.T) {
	const path = "testdata/machine.txt"
	got := printMachine()
	if *writeTable {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the machine (-want +got):\n%s", diff)
	}
}
