package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/client"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// golden compares text with a file of testdata/golden; with RUNITBOX_GOLDEN=write in
// the environment it writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("../testdata/golden", name)
	if os.Getenv("RUNITBOX_GOLDEN") == "write" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// widths are those of the golden files.
var widths = []int{40, 80, 200}

// goldenNow is when the golden files were looked at.
var goldenNow = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// sampleServices are one of each kind.
func sampleServices() []*survey.Service {
	ago := func(d time.Duration) time.Time { return goldenNow.Add(-d) }
	run := func(name string, pid int, age time.Duration) *survey.Service {
		return &survey.Service{Name: name, Path: "/service/" + name, Linked: true,
			Record: state.Record{Since: ago(age), PID: pid, State: state.Run},
			Use:    survey.Usage{Known: true, Processes: 2, Memory: int64(pid) * 40960, CPU: time.Duration(pid) * 300 * time.Millisecond},
			Life:   survey.Life{Restarts: -1}}
	}
	web := run("web", 714, 52*time.Hour)
	web.Target = "/etc/sv/web"
	web.Log = run("web/log", 713, 52*time.Hour)
	blocked := run("blocked", 99, 14*time.Minute)
	blocked.Blocked = true
	blocked.Log = &survey.Service{Name: "blocked/log", Path: "/service/blocked/log", Record: state.Record{Since: ago(time.Second)}, Life: survey.Life{Restarts: -1,
		Ends: []survey.End{{At: ago(time.Second), Status: unix.WaitStatus(1 << 8)}}}}
	crash := run("crash", 0, time.Second)
	crash.Record.PID, crash.Record.State, crash.Use = 0, state.Down, survey.Usage{}
	crash.Life.Ends = []survey.End{{At: ago(time.Second), Status: unix.WaitStatus(11 | 0x80)}}
	stopped := run("stopped", 0, 400*24*time.Hour)
	stopped.Record, stopped.HasDown, stopped.Use = state.Record{Since: ago(400 * 24 * time.Hour), Want: state.WantDown}, true, survey.Usage{}
	stopping := run("stopping", 4242, 7*time.Second)
	stopping.Record.Want, stopping.Record.Termed, stopping.HasDown = state.WantDown, true, true
	finish := run("finish", 31, 2*time.Second)
	finish.Record.State = state.Finish
	paused := run("paused", 1234567, 99*time.Second)
	paused.Record.Paused = true
	gone := run("gone", 88, 3*time.Hour)
	gone.Linked = false
	loop := run("loop", 77, 300*time.Millisecond)
	for i, status := range []unix.WaitStatus{3 << 8, 9, state.StatusUnknown} {
		loop.Life.Ends = append(loop.Life.Ends, survey.End{At: ago(time.Duration(9-2*i) * time.Second), Lived: 150 * time.Millisecond, Status: status,
			Monotonic: time.Hour + time.Duration(i)*time.Second, Memory: int64(i) * 4000, CPU: 1500 * time.Microsecond, OOM: i == 1})
	}
	loop.Life.Ends[0].Ready, loop.Life.Ready = 100*time.Millisecond, 90*time.Millisecond
	loop.Life.Flaps, loop.Life.Restarts = 3, 3
	loop.Ready = state.IsReady
	return []*survey.Service{blocked, crash, finish,
		{Name: "new", Path: "/service/new", Linked: true, Err: client.ErrNotRunning},
		paused, {Name: "secret", Path: "/service/secret", Linked: true, Err: fmt.Errorf("unable to open supervise/ok: %w", unix.EACCES)},
		stopped, stopping, web,
		{Name: "with\x1b[31mcolours\n and a name that is rather long", Path: "/service/x", Linked: true, Err: client.Unreachable{Err: unix.ENOENT}},
		gone, loop}
}

// TestSvListGolden shows a list at several widths, and for programs.
func TestSvListGolden(t *testing.T) {
	for _, width := range widths {
		var b bytes.Buffer
		listTable(&b, screen{width: width}, sampleServices(), goldenNow, nil)
		golden(t, fmt.Sprintf("list-%d.txt", width), b.String())
	}
	var b bytes.Buffer
	listTable(&b, screen{width: 80, colour: true}, sampleServices(), goldenNow, nil)
	golden(t, "list-colour.txt", b.String())
	b.Reset()
	for _, s := range sampleServices() {
		fmt.Fprintln(&b, jsonService(s, goldenNow))
	}
	golden(t, "list.json", b.String())
	for _, line := range bytes.Split(bytes.TrimSpace(b.Bytes()), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestSvMetrics has Prometheus' own tool read what sv metrics writes.
func TestSvMetrics(t *testing.T) {
	all := append(sampleServices(), &survey.Service{Name: "quo\"te\\ \n\xff"})
	var b bytes.Buffer
	writeMetrics(&b, all)
	golden(t, "metrics.txt", b.String())
	check := exec.Command(peer(t, "promtool"), "check", "metrics")
	check.Stdin = &b
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestSvVerbsAsUser: who has no rights is told so, and never that something does not
// exist.
func TestSvVerbsAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "needs root")
	}
	bin := toolbox(t, transcript{body: "sv; runsv; runsvdir; svlogd; chpst"}, "runitbox", "runitbox")
	out := run(t, bin, `
mkdir sv coll; export SVDIR=$T/sv SVCOLLECTION=$T/coll; mk sv/a; ml sv/a; mk coll/b; mk sv/c
setsid runsvdir sv >log 2>&1 </dev/null & P=$!
until sv check a c >/dev/null 2>&1 && [ -e sv/a/log/supervise/ok ]; do sleep .05; done
chmod 755 . sv coll sv/*; chmod 700 sv/a/supervise sv/c
as() { chpst -u nobody sv "$@"; echo "[$1 ${2#--}] rc=$?"; }
as list | cut -c 1-90 | sed 's/ *[0-9]*s .*//'; as why a; as why c | head -2; as log 2>&1; as log a; as log c; as enable b; as disable a; as lint c; as watch c; as chart a c; as metrics a | grep -v "^#"; as status a c; as check -w 1 c; as start a
chpst -u nobody sv watch a >hidden 2>&1 & W=$!
until [ -s hidden ] || ! kill -0 $W; do sleep .05; done; kill $W; cat hidden
sv exit a c; kill -HUP $P; wait $P`)
	golden(t, "as-user.txt", regexp.MustCompile("/[^ :]*/(sv|coll)/").ReplaceAllString(out, "DIR/$1/"))
}

// TestTable fits tables to narrow and wide screens: no line is longer than the screen
// wherever its columns can be cut.
func TestTable(t *testing.T) {
	for width := 24; width < 220; width++ {
		var b bytes.Buffer
		listTable(&b, screen{width: width}, sampleServices(), goldenNow, nil)
		for _, line := range bytes.Split(b.Bytes(), []byte("\n")) {
			if n := len([]rune(string(line))); n > width && width >= 26 && n > 26 {
				t.Errorf("width %d: a line of %d: %s", width, n, line)
			}
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "a\nb\tc": `a\nb\tc`, "\x1b[2J\a\x7f": `\x1b[2J\x07\x7f`, "\xff\xfe": `\xff\xfe`,
		"grün 日本": "grün 日本", "\u009b31m": `\u009b31m`, "a\u202eb": `a\u202eb`, "\xe2\x82": `\xe2\x82`, "": "",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 99 * time.Second: "99s", 100 * time.Second: "1m", 3599 * time.Second: "59m", time.Hour: "1h0m",
		24 * time.Hour: "1d0h", 99*24*time.Hour + 5*time.Hour: "99d5h", 100 * 24 * time.Hour: "100d",
	} {
		if got := shortAge(d); got != want {
			t.Errorf("age %v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0K", 4096: "4K", 1 << 20: "1.0M", 999 << 10: "999K", 1000 << 10: "1.0M", 10 << 20: "10M", 3 << 29: "1.5G", 1 << 60: "1.0E"} {
		if got := shortBytes(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0.0s", 1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 303 * time.Second: "5m03s", 2 * time.Hour: "2h00m"} {
		if got := shortCPU(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// TestSvWhyGolden explains services at several widths, and for programs.
func TestSvWhyGolden(t *testing.T) {
	all := sampleServices()
	explained := []*explanation{
		{service: all[1], now: goldenNow, flaps: true, log: []string{"2026-03-01_02:59:59.00000 panic: a rather long line that does not fit into any narrow terminal, and is cut"},
			causes: []survey.Cause{{Code: "signal-SEGV", Text: "./run was killed 1 s ago by signal SEGV: it used memory that it does not have: a fault of the program; it left a core dump"},
				{Code: "log-not-executable", Text: "its log service fails: ./run is not executable", Mend: "chmod +x /service/crash/log/run"}}},
		{service: all[8], now: goldenNow},
		{service: all[len(all)-1], now: goldenNow},
		{service: all[3], now: goldenNow, causes: []survey.Cause{{Code: "no-runsvdir", Text: "no runsvdir looks at /service", Mend: "runsvdir /service"}}},
	}
	for _, width := range widths {
		var b bytes.Buffer
		for _, e := range explained {
			e.show(&b, screen{width: width})
		}
		golden(t, fmt.Sprintf("why-%d.txt", width), b.String())
	}
	var b bytes.Buffer
	for _, e := range explained {
		fmt.Fprintln(&b, e.json())
		if !json.Valid([]byte(e.json())) {
			t.Errorf("no JSON: %s", e.json())
		}
	}
	golden(t, "why.json", b.String())
}

// TestSvChartGolden draws when services began.
func TestSvChartGolden(t *testing.T) {
	for _, width := range widths {
		var b bytes.Buffer
		barsOf(sampleServices()[1:6]).text(&b, screen{width: width})
		golden(t, fmt.Sprintf("chart-%d.txt", width), b.String())
	}
	var b bytes.Buffer
	barsOf(sampleServices()[:6]).svg(&b)
	golden(t, "chart.svg", b.String())
	past := barsOf(sampleServices())
	past.addPast(goldenNow)
	for _, width := range widths {
		var b bytes.Buffer
		c := past
		c.first, c.bars = goldenNow.Add(-12*time.Second), past.bars[len(past.bars)-4:]
		c.text(&b, screen{width: width})
		golden(t, fmt.Sprintf("chart-past-%d.txt", width), b.String())
	}
	b.Reset()
	past.svg(&b)
	golden(t, "chart-past.svg", b.String())
	barsOf(nil).text(&b, screen{})
}
