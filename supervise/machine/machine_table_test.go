package machine

import (
	"flag"
	"fmt"
	"os"
	"slices"
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
		Prepared: "Prepared", Unready: "Unready", Ready: "Ready", Late: "Late", Spawned: "Spawned", Unmade: "Unmade", Held: "Held", Left: "Left", StraysLate: "StraysLate", StraysGone: "StraysGone", Died: "Died", Gone: "Gone", GoneSoon: "GoneSoon", Rested: "Rested", GoneBackoff: "GoneBackoff", TooMany: "TooMany", Refused: "Refused", FoundFailed: "FoundFailed", CmdReload: "reload", Works: "Works", Silent: "Silent", Hangs: "Hangs", AbortSent: "AbortSent",
		TermSent: "TermSent", Asked: "Asked", Overdue: "Overdue", Taken: "Taken", StopSent: "StopSent", ContSent: "ContSent", Unfed: "Unfed",
		Begin: "Begin", BeginSoon: "BeginSoon", BeginUnready: "BeginUnready", FoundRun: "FoundRun", FoundFinish: "FoundFinish",
		FoundMaking: "FoundMaking", FoundOther: "FoundOther", Resumed: "Resumed", Scripted: "Scripted", Lacking: "Lacking", NeedsChanged: "NeedsChanged", Met: "Met",
	}
	effectNames = [...]string{
		Nothing: "-", Start: "Start", Spawn: "Spawn", SpawnFinish: "SpawnFinish", Stop: "Stop", Rest: "Rest", RestLong: "RestLong", RestOn: "RestOn",
		RestBackoff: "RestBackoff", SendReload: "SendReload", Abort: "Abort", Await: "Await", TellUnready: "TellUnready", TellHeld: "TellHeld", SendKill: "SendKill", SendStop: "SendStop", SendCont: "SendCont",
		SendHup: "SendHup", SendAlarm: "SendAlarm", SendInt: "SendInt", SendQuit: "SendQuit", SendUsr1: "SendUsr1", SendUsr2: "SendUsr2", LimitStop: "LimitStop", LimitFinish: "LimitFinish", LimitHung: "LimitHung", Watch: "Watch", WatchAnew: "WatchAnew", LimitReady: "LimitReady", TellReady: "TellReady", StopLate: "StopLate", ResumeStop: "ResumeStop", ResumeFinish: "ResumeFinish", KillRun: "KillRun", KillFinish: "KillFinish", EndStrays: "EndStrays", KillStrays: "KillStrays", Release: "Release", Over: "Over", GiveUp: "GiveUp", TellNeeds: "TellNeeds", AwaitNeeds: "AwaitNeeds", LookNeeds: "LookNeeds",
	}
	conditionNames = [...]string{always: "", ifUp: "if-up", ifWanted: "if-wanted", ifAgainst: "if-against", ifTermed: "if-termed", ifUntermed: "if-untermed", ifUnready: "if-unready", ifPaused: "if-paused", ifWorking: "if-working"}
	wantNames      = [...]string{state.WantUp: "up", state.WantDown: "down", state.WantOnce: "once", state.WantExit: "exit"}
	flagNames      = [...]string{same: "", set: "set", unset: "unset"}
)

// printMachine is the machine as text: the rows of each event, each with all phases that
// have the same, and behind the first what the event changes.
func printMachine() string {
	var b strings.Builder
	line := func(ev, in, when, then, changes string) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-12s %-34s %-11s %-34s %s", ev, in, when, then, changes), " ") + "\n")
	}
	line("# event", "in phase", "", "next phase, what is done", "in every phase")
	for ev := range Event(events) {
		if eventNames[ev] == "" {
			continue
		}
		rows, in := rowsOf(ev)
		name, changes := eventNames[ev], printChange(ev)
		for _, r := range rows {
			line(name, strings.Join(in[r], " "), conditionNames[r.when], printDo(r), changes)
			name, changes = "", ""
		}
		if len(rows) == 0 {
			line(name, "", "", "", changes)
		}
	}
	return b.String()
}

// rowsOf are the rows of an event, and the phases that have each.
func rowsOf(ev Event) (rows []Row, in map[Row][]string) {
	in = map[Row][]string{}
	for p := range Phase(phases) {
		all := moves[p]
		if p.mayEnd() {
			all = append(slices.Clone(all), ends[:]...)
		}
		for _, r := range all {
			if r.on != ev {
				continue
			}
			if in[r] == nil {
				rows = append(rows, r)
			}
			in[r] = append(in[r], phaseNames[p])
		}
	}
	return rows, in
}

// printChange is what an event changes, as text.
func printChange(ev Event) (text string) {
	for _, c := range changes {
		if c.on != ev {
			continue
		}
		for _, part := range []struct {
			there bool
			text  string
		}{
			{c.gives, "want=" + wantNames[c.want]},
			{c.failed != same, "failed=" + flagNames[c.failed]}, {c.paused != same, "paused=" + flagNames[c.paused]}, {c.termed != same, "termed=" + flagNames[c.termed]},
			{c.hung != same, "hung=" + flagNames[c.hung]}, {c.unready != same, "unready=" + flagNames[c.unready]}, {c.only, "in-Running"}, {c.except, "not-in-Running"}, {c.clears, "flags=unset"}, {c.notLogs, "not-of-a-log"},
		} {
			if part.there {
				text = strings.TrimLeft(text+" "+part.text, " ")
			}
		}
	}
	return text
}

// printDo is what a row has done, as text.
func printDo(r Row) string {
	text := phaseNames[r.next]
	if r.Do != Nothing {
		text += ", " + effectNames[r.Do]
	}
	if r.Later {
		text += ", status-later"
	}
	if r.Record {
		text += ", record-once"
	}
	return text
}

// TestMachineNames: each event and effect has a name of its own in the printed table.
func TestMachineNames(t *testing.T) {
	for ev := Event(0x80); ev < events; ev++ {
		if eventNames[ev] == "" {
			t.Errorf("event %#x has no name", ev)
		}
	}
	for e, name := range effectNames {
		if name == "" {
			t.Errorf("effect %d has no name", e)
		}
	}
}

// TestMachineRows: a row that could never count is not in the table.
func TestMachineRows(t *testing.T) {
	counts := map[*Row]bool{}
	everyStatus(func(s Status) {
		for ev := range Event(events) {
			for _, rows := range [][]Row{moves[s.Phase], ends[:]} {
				if r := s.first(rows, ev); r != nil {
					counts[r] = true
				}
			}
		}
	})
	for p, rows := range append(moves[:], ends[:]) {
		for i := range rows {
			if !counts[&rows[i]] {
				t.Errorf("table %d, %s, %s: %s", p, eventNames[rows[i].on], conditionNames[rows[i].when], printDo(rows[i]))
			}
		}
	}
}

// TestMachineTable compares the machine with its printed form, so that a change of
// it is seen. After a change that is meant: go test ./supervise/machine -run TestMachineTable -machine
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
