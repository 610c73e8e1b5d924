package applets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/applets/quick"
	"runitbox/supervise/state"
)

func TestSvAction(t *testing.T) {
	type answer struct {
		Send, Until string
		Wait, Kill  bool
		Odd         string
		OK          bool
	}
	for _, tt := range []struct {
		words string
		lsb   bool
		want  answer
	}{
		{"start", false, answer{"u", "u", true, false, "", true}},
		{"start", true, answer{"u", "u", true, false, "", true}},
		{"shutdown2 startx s stat", true, answer{}},
		{"stop", true, answer{"d", "d", true, false, "", true}},
		{"shutdown", true, answer{"x", "x", true, false, "", true}},
		{"status s st stat", false, answer{OK: true}},
		{"sto start-it", false, answer{Odd: "status", OK: true}},
		{"restart", false, answer{"tcu", "tcu", true, false, "", true}},
		{"try-restart", false, answer{"tc", "tc", true, false, "", true}},
		{"reload", false, answer{"r", "", true, false, "", true}},
		{"check", false, answer{"", "C", true, false, "", true}},
		{"force-stop D", false, answer{"d", "d", true, true, "", true}},
		{"Down", false, answer{"d", "d", true, true, "D", true}},
		{"force-reload T", false, answer{"tc", "tc", true, true, "", true}},
		{"force-restart", false, answer{"tcu", "tcu", true, true, "", true}},
		{"force-shutdown X E", false, answer{"x", "x", true, true, "", true}},
		{"u up", false, answer{"u", "u", false, false, "", true}},
		{"usr1 under", false, answer{"u", "u", false, false, "up", true}},
		{"d do down", true, answer{"d", "d", false, false, "", true}},
		{"disable", false, answer{"d", "d", false, false, "down", true}},
		{"o once", false, answer{"o", "o", false, false, "", true}},
		{"p pause", false, answer{"p", "p", false, false, "", true}},
		{"c cont continue", false, answer{"c", "c", false, false, "", true}},
		{"checks", false, answer{"c", "c", false, false, "cont", true}},
		{"h hup", false, answer{"h", "", false, false, "", true}},
		{"help", false, answer{"h", "", false, false, "hup", true}},
		{"a alarm", false, answer{"a", "", false, false, "", true}},
		{"i int interrupt", false, answer{"i", "", false, false, "", true}},
		{"q quit", false, answer{"q", "", false, false, "", true}},
		{"k kill", false, answer{"k", "k", false, false, "", true}},
		{"t term", false, answer{"t", "t", false, false, "", true}},
		{"try", false, answer{"t", "t", false, false, "term", true}},
		{"1", false, answer{"1", "", false, false, "", true}},
		{"2", false, answer{"2", "", false, false, "", true}},
		{"e exit", false, answer{"x", "x", false, false, "", true}},
		{"enable", false, answer{"x", "x", false, false, "exit", true}},
		{"x", false, answer{"x", "x", false, false, "", true}},
		{"re restar r force f foo list 3 - \xff S U", false, answer{}},
	} {
		for word := range strings.FieldsSeq(tt.words) {
			act, odd := svAction(word, tt.lsb)
			ok := act != nil
			if !ok {
				act = &action{}
			}
			got := answer{act.send, act.until, act.wait, act.kill, odd, ok}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", word, diff)
			}
			if status := ok && got.Send == "" && got.Until == ""; act.status != status {
				t.Errorf("%q: status is %v", word, act.status)
			}
		}
	}
	if act, _ := svAction("", false); act != nil {
		t.Error("an empty word is a command")
	}
}

// FuzzSvAction tries words: none may do what its first letter does not say.
func FuzzSvAction(f *testing.F) {
	for _, word := range []string{"", "s", "start", "\xff", "D", "enable"} {
		f.Add(word, true)
		f.Add(word, false)
	}
	f.Fuzz(func(t *testing.T, word string, lsb bool) {
		act, _ := svAction(word, lsb)
		if act == nil {
			return
		}
		if findAction(word) == nil && act.send != findAction(word[:1]).send {
			t.Errorf("%q sends %q", word, act.send)
		}
	})
}

func TestSvPath(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	defer func(was string) { quick.Dirs = was }(quick.Dirs)
	quick.Dirs = "/nosuch:" + first + ":" + second
	for _, tt := range []struct{ svdir, name, want string }{
		{"-", "web", first + "/web"},
		{"-", "web/log", first + "/web/log"},
		{"-", "-v", first + "/-v"},
		{"/srv", "web", "/srv/web"},
		{"srv", "web", "srv/web"},
		{"", "web", ""},
		{"/srv", "./web", "./web"},
		{"/srv", ".web", ".web"},
		{"/srv", "/web", "/web"},
		{"/srv", "web/", "web/"},
		{"/srv", "", ""},
	} {
		t.Setenv("SVDIR", tt.svdir)
		if tt.svdir == "-" {
			os.Unsetenv("SVDIR")
		}
		if got := svPath(tt.name); got != tt.want {
			t.Errorf("SVDIR=%s: %q is %q, want %q", tt.svdir, tt.name, got, tt.want)
		}
	}
	quick.Dirs = "/nosuch:/none"
	os.Unsetenv("SVDIR")
	if got := svPath("web"); got != "/nosuch/web" {
		t.Errorf("with none of the directories: %q", got)
	}
}

func TestSvLine(t *testing.T) {
	since := time.Unix(1000, 600e6)
	now := time.Unix(1003, 100e6)
	for _, tt := range []struct {
		rec  state.Record
		down bool
		want string
	}{
		{state.Record{Want: state.WantDown}, true, "down: web: 3s"},
		{state.Record{Want: state.WantDown}, false, "down: web: 3s, normally up"},
		{state.Record{Want: state.WantUp}, false, "down: web: 3s, normally up, want up"},
		{state.Record{Paused: true, Termed: true, Want: state.WantDown}, true, "down: web: 3s"},
		{state.Record{PID: 5, State: state.Run}, false, "run: web: (pid 5) 3s"},
		{state.Record{PID: 5, State: state.Run}, true, "run: web: (pid 5) 3s, normally down"},
		{state.Record{PID: 5, State: state.Run, Paused: true, Termed: true, Want: state.WantDown}, true, "run: web: (pid 5) 3s, normally down, paused, want down, got TERM"},
		{state.Record{PID: 5, State: state.Finish, Want: state.WantDown}, false, "finish: web: (pid 5) 3s, want down"},
		{state.Record{State: state.Finish}, false, "finish: web: (pid 0) 3s, normally up, want up"},
		{state.Record{PID: 5, State: 7}, false, "web: (pid 5) 3s"},
	} {
		tt.rec.Since = since
		if got := svLine("web", tt.rec, tt.down, now); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.rec, got, tt.want)
		}
	}
	if got := svLine("web", state.Record{Since: now.Add(time.Hour), Want: state.WantDown}, true, now); got != "down: web: 0s" {
		t.Errorf("from the future: %q", got)
	}
}

// TestSvJSON shows the status to a program: every form of it must be JSON.
func TestSvJSON(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv"}, "runitbox", "runitbox")
	out := run(t, bin, `
mk 'a"\'; ml 'a"\'
n=$(printf 'b\n\377'); mkdir "$n"; : >"$n/down"; printf '#!/bin/sh\n' >"$n/run"; : >"$n/log"
for s in 'a"\' "$n"; do runsv "$s" </dev/null >/dev/null 2>&1 & eval "P$((i += 1))=$!"; done
until [ -s 'a"\/log/supervise/pid' ] && [ -e "$n/supervise/status" ]; do sleep .05; done; sleep .2
sv --json status './a"\' "./$n" ./nosuch; echo "rc=$?"; sv --json up ./x 2>/dev/null; echo "rc=$?"
kill $P1 $P2; wait`)
	type said struct {
		Service, State, Want, Normally, Error string
		Paused, Term                          bool
		PID                                   int
		Seconds                               *int
		Since                                 *time.Time
		Log                                   *said
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 || lines[3] != "rc=2" || lines[4] != "rc=100" {
		t.Fatalf("%s", out)
	}
	var got [3]said
	for i := range got {
		if err := json.Unmarshal([]byte(lines[i]), &got[i]); err != nil {
			t.Fatalf("%v: %s", err, lines[i])
		}
		for s := &got[i]; s != nil; s = s.Log {
			if known := s.Error == ""; known != (s.Seconds != nil) || known != (s.Since != nil && time.Since(*s.Since) < time.Hour) {
				t.Errorf("age: %s", lines[i])
			}
			if (s.State == "run") != (s.PID > 1) {
				t.Errorf("pid: %s", lines[i])
			}
			s.PID, s.Seconds, s.Since = 0, nil, nil
		}
	}
	want := [3]said{
		{Service: `./a"\`, State: "run", Want: "up", Normally: "up", Log: &said{Service: `./a"\/log`, State: "run", Want: "up", Normally: "up"}},
		{Service: "./b\n\uFFFD", State: "down", Want: "down", Normally: "down", Log: &said{Service: "./b\n\uFFFD/log", Error: "unable to change to service directory: not a directory"}},
		{Service: "./nosuch", Error: "unable to change to service directory: file does not exist"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLeadingSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7": 7, "0": 0, "": 0, "x": 0, "5x": 5, " 5": 0, "-5": 0, "007": 7, "12.9": 12,
		"99999999999999999999999999": 1<<31 - 1,
	} {
		if got := leadingSeconds(text); got != want*time.Second {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestSvSoon measures how soon sv has answered and ended once the service is
// up, by the time in supervise/status. The best of some tries must be below
// 20 ms, also for a user who may not watch supervise/.
func TestSvSoon(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, maker, user string }{
		{"runsv of runitbox", "runitbox", ""},
		{"runsv of runit", "runit", ""},
		{"not to be watched", "runitbox", "chpst -u nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.user != "" && os.Geteuid() != 0 {
				skip(t, "needs root")
			}
			maker := tt.maker
			bin := toolbox(t, transcript{body: "sv; runsv"}, "runitbox", maker)
			out := run(t, bin, `as="`+tt.user+`"
mk a; mkdir a/control; printf '#!/bin/sh\nexec sleep .1\n' >a/control/u; chmod 755 a/control/u; : >a/down; rs a .3; [ -z "$as" ] || { chmod 711 a/supervise; chmod 666 a/supervise/ok a/supervise/control; }
for i in 1 2 3 4 5 6 7 8; do
	$as sv start ./a >/dev/null || echo failed; end=${EPOCHREALTIME/./}
	set -- $(od -An -tx1 -N12 a/supervise/status)
	echo "up $(( end - (0x$1$2$3$4$5$6$7$8 - 0x400000000000000a) * 1000000 - 0x$9${10}${11}${12} / 1000 ))"
	sleep 1; sv stop ./a >/dev/null
done; end`)
			var took []int
			for _, m := range regexp.MustCompile(`(?m)^up (\d+)$`).FindAllStringSubmatch(out, -1) {
				took = append(took, atoi(t, m[1]))
			}
			if len(took) != 8 || strings.Contains(out, "failed") {
				t.Fatalf("%s", out)
			}
			slices.Sort(took)
			t.Logf("from the service's start to the end of sv: best %d µs, median %d µs", took[0], took[len(took)/2])
			if took[0] > 20000 {
				t.Errorf("%d µs at best", took[0])
			}
		})
	}
}

// TestSvTimeout has sv end when the time is over, where runit's takes another
// look 420 ms later: never before, and the best of some tries hardly after.
func TestSvTimeout(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv"}, "runitbox", "runitbox")
	out := run(t, bin, `
mk a 'trap "" TERM; echo >ready; while :; do sleep .1; done'; rs a .1; until [ -e a/ready ]; do sleep .05; done
for w in 1 1 1 1 0 0 0 0; do
	begin=${EPOCHREALTIME/./}; sv -w $w stop ./a >/dev/null; r=$?; end=${EPOCHREALTIME/./}
	echo "w$w rc=$r took $((end - begin))"
done
sv -w 0 force-shutdown ./a >/dev/null; wait $P`)
	for w, least := range map[string]int{"1": 1000000, "0": 420000} {
		best := 1 << 30
		for _, m := range regexp.MustCompile(`(?m)^w`+w+` rc=1 took (\d+)$`).FindAllStringSubmatch(out, -1) {
			took := atoi(t, m[1])
			if best = min(best, took); took < least {
				t.Errorf("-w %s: over after %d µs", w, took)
			}
		}
		if best > least+200000 {
			t.Errorf("-w %s: over after %d µs at best\n%s", w, best, out)
		}
	}
}

func atoi(t *testing.T, text string) (n int) {
	t.Helper()
	for _, c := range text {
		n = 10*n + int(c-'0')
	}
	return n
}

// run runs a script with the transcripts' helpers and the programs of bin, and
// returns what it printed.
func run(t *testing.T, bin, body string) string {
	t.Helper()
	tr := transcript{body: body, limit: 2 * time.Minute}
	return tr.play(t, bin)
}

// TestSvCheckEnds ends a check that hangs, and what it has started, when the
// time is over and when sv itself is ended.
func TestSvCheckEnds(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv"}, "runitbox", "runitbox")
	out := run(t, bin, `
mk a; rs a .5
printf '#!/bin/sh\nsleep 1000 & echo $! >sleeper; echo $$ >checker; wait\n' >a/check; chmod 755 a/check
gone() { for i in $(seq 100); do kill -0 $(cat a/checker) 2>/dev/null || kill -0 $(cat a/sleeper) 2>/dev/null || { echo gone; return; }; sleep .05; done; echo "there is $(ps -o args= -p $(cat a/checker) -p $(cat a/sleeper))"; }
sv -w 1 check ./a; echo rc=$?; gone
for s in TERM HUP; do
	rm -f a/checker; sv -w 60 check ./a & S=$!; until [ -s a/checker ]; do sleep .02; done
	kill -$s $S; wait $S; echo rc=$?; gone
done
sv -v down ./a >/dev/null; end`)
	want := "timeout: run: ./a: (pid N) Ns\nrc=1\ngone\nrc=143\ngone\nrc=129\ngone\nrc=0\n"
	got := regexp.MustCompile(`\) \d+s`).ReplaceAllString(out, ") Ns")
	got = regexp.MustCompile(`(?m)^.*line \d+:.*\n`).ReplaceAllString(got, "") // bash tells of those killed
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSvMany controls many services with one call.
func TestSvMany(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv; runsvdir"}, "runitbox", "runitbox")
	out := run(t, bin, `
mkdir sv; for i in $(seq 60); do mk sv/s$i; done
setsid runsvdir sv >log 2>&1 </dev/null & P=$!; export SVDIR=$T/sv
cd sv; until sv status s* >/dev/null 2>&1; do sleep .05; done; cd ..
c() { sv -w 60 "$@" >out; echo "$1 rc=$? $(grep -c '^ok: ' out) $(cut -d: -f3 out | sort | uniq | wc -l)"; }
cd sv; c start s*; c restart s*; c stop s*; c -v up s*; c check s* s*; c try-restart s* nosuch; sv status s* | grep -c '^run: '; c force-stop s*
sv exit s*; kill -HUP $P; wait $P; echo rc=$?`)
	want := `start rc=0 60 60
restart rc=0 60 60
stop rc=0 60 60
-v rc=0 60 60
check rc=0 120 60
try-restart rc=1 60 61
60
force-stop rc=0 60 60
rc=111
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSvFew controls more services with one call than sv may open files.
func TestSvFew(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv; runsvdir"}, "runitbox", "runitbox")
	out := run(t, bin, `
mkdir sv; for i in $(seq 40); do mk sv/s$i; printf '#!/bin/sh\nsleep .3\n' >sv/s$i/check; chmod 755 sv/s$i/check; done
setsid runsvdir sv >log 2>&1 </dev/null & P=$!; export SVDIR=$T/sv
cd sv; until sv status s* >/dev/null 2>&1; do sleep .05; done
c() { sv -w 60 "$@" >../out 2>&1; echo "$1 rc=$? $(grep -c '^ok: ' ../out)"; grep -v '^ok: ' ../out; }
ulimit -n 32; c restart s*; c stop s*; c start s*; c check s*; c status s* | grep -v run:; c force-shutdown s*
kill -HUP $P; wait $P; echo rc=$?`)
	want := `restart rc=0 40
stop rc=0 40
start rc=0 40
check rc=0 40
status rc=0 0
force-shutdown rc=0 40
rc=111
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSvReplaced has sv meet a core that is killed again and again: every
// command arrives, and none comes twice.
func TestSvReplaced(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv; runsv; runsvdir"}, "runitbox", "runitbox")
	out := run(t, bin, `
mkdir sv; mk sv/a 'trap "echo >>../../hups" HUP; : >>../../starts; while :; do sleep .05; done'
setsid runsvdir sv >log 2>&1 </dev/null & P=$!; export SVDIR=$T/sv
until sv check a >/dev/null 2>&1 && [ -e starts ]; do sleep .05; done; : >hups
# One that was killed is no core any more, and the next takes a moment.
core() { until c=$(ps -o pid=,args= --ppid $P | awk '/runsv --tree/{print $1}'); [ -n "$c" ]; do sleep .01; done; echo $c; }
for i in 1 2 3 4; do
	pid=$(cat sv/a/supervise/pid)
	(sleep .00$((3*i)); kill -9 $(core)) & sv hup a; echo rc=$?; wait $!
	n=0; until [ $(wc -l <hups) = $i ] || [ $((n += 1)) = 200 ]; do sleep .05; done; echo "$(wc -l <hups) hups"
	[ "$pid" = "$(cat sv/a/supervise/pid)" ] || echo "another process"
	kill -9 $(core); sv status a | sed 's/(.*//'
	sleep 5
done
pid=$(cat sv/a/supervise/pid); kill -9 $(core); sv restart a | sed 's/(.*//'; [ "$pid" != "$(cat sv/a/supervise/pid)" ] && echo restarted
sv -w 10 stop a >/dev/null; echo "stop rc=$?"
kill -HUP $P; wait $P; echo rc=$?`)
	want := ""
	for i := range 4 {
		want += "rc=0\n" + string(rune('1'+i)) + " hups\nrun: a: \n"
	}
	want += "ok: run: a: \nrestarted\nstop rc=0\nrc=111\n"
	out = regexp.MustCompile(`(?m)^.*line \d+:.*Killed.*\n`).ReplaceAllString(out, "")
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSvTyped tells what a person types at a terminal from what a script does there: for
// that the first letter counts, as with runit.
func TestSvTyped(t *testing.T) {
	t.Parallel()
	bin := toolbox(t, transcript{body: "sv"}, "runitbox", "runitbox")
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/web", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv []string
		want string
	}{
		{[]string{"sv", "tail", "web"}, "sv: tail: no such command; the nearest is log\n"},
		{[]string{"sv", "stats", "web"}, "sv: stats: no such command; the nearest is status\n"},
		{[]string{"sv", "history", "web"}, "sv: history: no such command; the nearest is why\n"},
		{[]string{"sv", "restrat", "web"}, "sv: restrat: no such command; the nearest is restart\n"},
		{[]string{"sv", "zzzzzzzzz", "web"}, "sv: zzzzzzzzz: no such command\n"},
		{[]string{"sv", "stats"}, "sv: stats: no such command; the nearest is status\n"},
		{[]string{"sv", "-v", "tail"}, "sv: tail: no such command; the nearest is log\n"},
		{[]string{"sv", "restart"}, "usage: sv [-v] [-w sec] command service ...\n"},
		{[]string{"sh", "-c", "sv stats; true"}, "usage: sv [-v] [-w sec] command service ...\n"},
		{[]string{"sh", "-c", "sv tail web; true"}, "sv: warning: tail: not a command, taken as term\n"},
		{[]string{"sh", "-c", "sv foo web; true"}, "usage: sv [-v] [-w sec] command service ...\n"},
		{[]string{"sv", "status", "wbe"}, "fail: wbe: unable to change to service directory: file does not exist\nsv: wbe: there is no service wbe; the nearest name is web\n"},
		{[]string{"sv", "status", "web"}, "warning: web: unable to open supervise/ok: file does not exist\nsv: web: no runsvdir looks at " + dir + ": runsvdir " + dir + "\nsv: web: there is no ./run: write " + dir + "/web/run\n"},
		{[]string{"sv", "status"}, "SERVICE  STATE\nweb      unsupervised\n"},
	} {
		master, tty := terminal(t)
		cmd := exec.Command(filepath.Join(bin, tt.argv[0]), tt.argv[1:]...)
		if tt.argv[0] == "sh" {
			cmd = exec.Command("/bin/sh", tt.argv[1:]...)
		}
		cmd.Env = []string{"SVDIR=" + dir, "SVCOLLECTION=/none", "PATH=" + bin + ":/usr/bin:/bin", "NO_COLOR=1"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		cmd.Run()
		fmt.Fprint(tty, "end")
		var got []byte
		for b := make([]byte, 1024); !bytes.HasSuffix(got, []byte("end")); {
			k, err := master.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:k]...)
		}
		tty.Close()
		if text := strings.ReplaceAll(string(got), "\r", ""); !strings.HasPrefix(text, tt.want) {
			t.Errorf("%q says %q, want %q", tt.argv, text, tt.want)
		}
	}
}

// TestSvThroughLinks is sv as an init script, by links that lead through one
// called sv, relative ones and one found in PATH among them.
func TestSvThroughLinks(t *testing.T) {
	t.Parallel()
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{"sbin", "init.d", "services"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for to, from := range map[string]string{
		"sbin/runitbox": ours, "sbin/sv": "runitbox", "init.d/web": "../sbin/sv", "init.d/mail": "web",
		"init.d/other": ours, "sbin/busy": "busy", "init.d/svlogd": "../sbin/sv",
	} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		argv0, want string
		status      int
	}{
		{dir + "/init.d/web", "fail: web: unable to change to service directory: file does not exist\n", 1},
		{dir + "/init.d/mail", "fail: mail: unable to change to service directory: file does not exist\n", 1},
		{"init.d/web", "fail: web: unable to change to service directory: file does not exist\n", 1},
		{"web", "fail: web: unable to change to service directory: file does not exist\n", 1}, // in PATH
		{dir + "/init.d/svlogd", "fail: svlogd: unable to change to service directory: file does not exist\n", 1},
		{dir + "/init.d/other", "runitbox: fatal: other: applet not found\n", 127},
		{"nosuch", "runitbox: fatal: nosuch: applet not found\n", 127},
		{dir + "/sbin/busy", "runitbox: fatal: busy: applet not found\n", 127},
	} {
		cmd := exec.Command(ours, "status")
		cmd.Args[0] = tt.argv0
		cmd.Dir = dir
		cmd.Env = []string{"SVDIR=" + dir + "/services", "PATH=/nosuch:" + dir + "/init.d"}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.status || out.String() != tt.want {
			t.Errorf("%s: exit %d, %q, want %d, %q", tt.argv0, got, out.String(), tt.status, tt.want)
		}
	}
}

// TestSvOddWord refuses on a terminal a word that is no command, and says nothing where
// nobody reads it at once: cron would send it as a letter.
func TestSvOddWord(t *testing.T) {
	t.Parallel()
	master, tty := terminal(t)
	defer tty.Close()
	bin := toolbox(t, transcript{body: "sv"}, "runitbox", "runitbox")
	sv := func(stderr *os.File) {
		cmd := exec.Command(filepath.Join(bin, "sv"), "usr1", "/none")
		cmd.Stderr = stderr
		cmd.Run()
	}
	sv(tty)
	b := make([]byte, 256)
	k, err := master.Read(b)
	if got, want := string(b[:k]), "sv: usr1: no such command; the nearest is 1\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("on a terminal it says %q, %v; want %q", got, err, want)
	}
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir() + "/file", fifo} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sv(f)
		f.WriteString("end")
		f.Seek(0, io.SeekStart)
		if k, err := f.Read(b); string(b[:k]) != "end" {
			t.Errorf("into %s it says %q, %v", path, b[:k], err)
		}
	}
}
