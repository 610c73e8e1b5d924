package state

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unknown is a wait status that no process ends with.
const unknown = 0xffff0000

func TestProcess(t *testing.T) {
	w, at := World{1<<32 - 1, 1}, Place{3, 1 << 31}
	for _, l := range []Process{
		{Word: ProcMaking, Ticks: 1 << 40, World: w, Place: at, Tree: 1<<32 - 1, Line: 1 << 31, Core: 1 << 22, Want: WantOnce},
		{Word: ProcRun, PID: 1 << 22, Ticks: 1 << 41, World: w, Place: at, Core: 1 << 22, Status: unknown, Want: WantExit},
		{Word: ProcEnded, World: w, Place: at, Core: 7, Status: 139, Pipe: 1 << 63},
		{Word: ProcFinish, PID: 9, Ticks: 12, World: w, Status: 3 << 8, Want: WantDown},
		{Word: ProcFinishing, Ticks: 1 << 41, World: w, Place: at, Tree: 1<<32 - 1, Line: 1, Core: 1 << 22, Status: unknown, Pipe: 1<<64 - 1},
		{Word: ProcDown},
	} {
		b := bytesOf(l)
		back, ok := ParseProcess(b)
		if !ok {
			t.Errorf("%q is not accepted", b)
		}
		if diff := cmp.Diff(l, back); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	whole := string(bytesOf(Process{Word: ProcRun, PID: 9, Ticks: 12, Core: 3}))
	making := string(bytesOf(Process{Word: ProcMaking, Ticks: 12, Core: 3}))
	for name, text := range map[string]string{
		"empty":        "",
		"blank":        Blank,
		"cut short":    whole[:60],
		"too long":     whole + "x",
		"garbage":      strings.Repeat("\xff", ProcSize-1) + "\n",
		"no pid":       strings.Replace(whole, "run 9 ", "run 0 ", 1),
		"wrote pid 0":  making[:ProcPID] + "\x00\x00\x00\x00" + making[ProcPID+4:],
		"another word": strings.Replace(whole, "run 9 ", "ran 9 ", 1),
		"a field less": strings.Replace(whole, " 3 0 0 ", " 3 0   ", 1),
		"no order":     whole[:ProcWant] + " " + whole[ProcWant+1:],
	} {
		if l, ok := ParseProcess([]byte(text)); ok {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

func bytesOf(l Process) []byte {
	b := l.Bytes()
	return b[:]
}

func FuzzParseProcess(f *testing.F) {
	f.Add(bytesOf(Process{Word: ProcRun, PID: 9, Ticks: 12, Core: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := ParseProcess(b)
		if !ok {
			return
		}
		l.Former = false // it is written in the newer format
		if back, ok := ParseProcess(bytesOf(l)); !ok || back != l {
			t.Errorf("%+v became %+v", l, back)
		}
	})
}

// TestProcessTag hands a record to the scanner and back.
func TestProcessTag(t *testing.T) {
	for _, prefix := range []string{"", "log/"} {
		l := Process{Word: ProcFinish, PID: 1 << 22, Ticks: 1 << 40, World: World{1, 2}, Place: Place{3, 4}, Tree: 5, Line: 8, Core: 6, Status: unknown, Pipe: 7, Want: WantOnce}
		got, back, ok := ParseTag(l.Tag(prefix))
		if !ok || got != prefix || back != l {
			t.Errorf("%q, %+v, %t", got, back, ok)
		}
	}
	for _, bad := range []string{"", "=", "=:", "=:u", "=log/:run:1:u", "control", "=:" + Blank, "=:::::::::::::u", "log/control"} {
		if _, l, ok := ParseTag(bad); ok {
			t.Errorf("%q is %+v", bad, l)
		}
	}
}

// TestFormerProcess reads lines of the formats before: one tells the tree alone, and the
// older one has other fields.
func TestFormerProcess(t *testing.T) {
	alone := "run 9 12 0000000100000002 0000000300000004 00000005 6 139 7"
	line := alone + Blank[len(alone):ProcWant] + "u\n"
	got, ok := ParseProcess([]byte(line))
	want := Process{Word: ProcRun, PID: 9, Ticks: 12, World: World{1, 2}, Place: Place{3, 4}, Tree: 5, Line: 5, Core: 6, Status: 139, Pipe: 7}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
	line = "run 9 12 5f0e-boot 3 139 7"
	got, ok = ParseProcess([]byte(line + Blank[len(line):]))
	want = Process{Word: ProcRun, PID: 9, Ticks: 12, World: World{Boot: Hash("5f0e-boot")}, Core: 3, Status: 139, Pipe: 7, Former: true}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
}
