package initstage

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// world is a system without a kernel. What is done to it is written down, with
// the seconds since the start.
type world struct {
	begin     time.Time
	log       []string
	container bool
	script    bool
	stopFlag  bool
	reboot    bool
	halt      bool
	newer     *life         // of the try of a new executable
	came      []unix.Signal // while it was become
	readOnly  bool
	starting  func(w *world, stage int) (int, error)
	killed    func(w *world, pid int, sig unix.Signal)
	builtin   bool // the stages are, in a container
	powered   func(w *world, what powerDown, tell func(error))
	pids      int
	dead      chan death
	stopAt    time.Duration
	one       *one
	children  chan os.Signal
	signals   chan os.Signal
}

type death struct {
	pid int
	ws  unix.WaitStatus
}

// Wait statuses as wait4(2) gives them.
func exited(code int) unix.WaitStatus          { return unix.WaitStatus(code << 8) }
func signaled(sig unix.Signal) unix.WaitStatus { return unix.WaitStatus(sig) }
func (w *world) note(format string, a ...any) {
	w.log = append(w.log, fmt.Sprintf("%g ", time.Since(w.begin).Seconds())+fmt.Sprintf(format, a...))
}
func (w *world) say(format string, args ...any) { w.note(format, args...) }

func (w *world) start(stage int) (int, error) { return w.starting(w, stage) }
func (w *world) startScript() (int, error)    { w.pids++; return w.pids, nil }
func (w *world) kill(pid int, sig unix.Signal) {
	w.note("kill %d %s", pid, unix.SignalName(sig))
	if w.killed != nil {
		w.killed(w, pid, sig)
	}
}

func (w *world) reap() (int, unix.WaitStatus) {
	select {
	case d := <-w.dead:
		if d.pid < 0 { // the end of the test, in process 1's own goroutine
			w.one.leave, w.one.status = true, -1
			return 0, 0
		}
		return d.pid, d.ws
	default:
		return 0, 0
	}
}

func (w *world) words(err error) string { return err.Error() }
func (w *world) name(stage int) string  { return fmt.Sprintf("/%d", stage) }
func (w *world) scriptName() string     { return "/cad" }
func (w *world) hasScript() bool        { return w.script }
func (w *world) rebootSet() bool        { return w.reboot }
func (w *world) haltSet() bool          { return w.halt }
func (w *world) try(s state) (int, error) {
	if w.newer == nil {
		return 0, nil
	}
	w.note("try %v", s)
	if w.newer.err != nil {
		return 0, w.newer.err
	}
	w.pids++
	pid := w.pids
	if !w.newer.forever {
		time.AfterFunc(w.newer.time, func() { w.die(pid, w.newer.ws) })
	}
	return pid, nil
}
func (w *world) passed(ws unix.WaitStatus) bool { return ws == 0 }
func (w *world) become(s state) ([]unix.Signal, error) {
	w.note("become %v", s)
	return w.came, errors.New("become x: no")
}
func (w *world) contained() bool { return w.container }
func (w *world) quiet(int) bool  { return w.builtin }
func (w *world) killAll()        { w.note("kill all") }
func (w *world) clearStop()      { w.stopFlag, w.stopAt = false, 0 }
func (w *world) stopSet() bool {
	return w.stopFlag || w.stopAt > 0 && time.Since(w.begin) >= w.stopAt
}

func (w *world) setReboot(on bool) error {
	if w.readOnly {
		return unix.EROFS
	}
	w.reboot = on
	return nil
}

func (w *world) power(what powerDown, tell func(error)) {
	w.note("power %s", [...]string{"off", "reboot", "halt"}[what])
	if w.powered != nil {
		w.powered(w, what, tell)
		return
	}
	tell(nil)
}

// die makes a child die.
func (w *world) die(pid int, ws unix.WaitStatus) {
	w.dead <- death{pid, ws}
	select {
	case w.children <- unix.SIGCHLD:
	default:
	}
}

// stages answers start: each stage lives for a time and ends so.
func stages(ends map[int][]life) func(*world, int) (int, error) {
	return func(w *world, stage int) (int, error) {
		l := ends[stage][0]
		if len(ends[stage]) > 1 {
			ends[stage] = ends[stage][1:]
		}
		if l.err != nil {
			return 0, l.err
		}
		w.pids++
		pid := w.pids
		if l.forever {
			return pid, nil
		}
		time.AfterFunc(l.time, func() { w.die(pid, l.ws) })
		return pid, nil
	}
}

type life struct {
	time    time.Duration
	ws      unix.WaitStatus
	err     error
	forever bool
}

// refusing has reboot(2) refused.
func refusing(_ *world, _ powerDown, tell func(error)) {
	tell(nil)
	tell(fmt.Errorf("reboot: %w", unix.EPERM))
}

// filtering has reboot(2) refused as a filter of system calls does.
func filtering(_ *world, _ powerDown, tell func(error)) {
	tell(nil)
	tell(fmt.Errorf("reboot: %w", unix.ENOSYS))
}

// syncing has a disk that takes ten seconds to be written.
func syncing(_ *world, what powerDown, tell func(error)) {
	if what == powerOff {
		time.AfterFunc(10*time.Second, func() { tell(nil) })
	}
}

func TestLoop(t *testing.T) {
	const second = time.Second
	noFork := fmt.Errorf("%w: %w", errNoFork, unix.EAGAIN)
	type sent struct {
		at  time.Duration
		sig unix.Signal
	}
	for _, tt := range []struct {
		name   string
		world  world
		ends   map[int][]life
		sent   []sent
		stopAt time.Duration // the stop flag is set then
		status int
		want   []string
	}{
		{
			name:  "a container that cannot reboot(2)",
			world: world{container: true, powered: refusing},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{}}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2", "3 leave stage: /2", "3 enter stage: /3",
				"3 leave stage: /3", "3 sending KILL signal to all processes...", "3 kill all", "3 power off..."},
		},
		{
			name:  "of the built-in stages of a container only the end is told",
			world: world{container: true, builtin: true},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{}}},
			want: []string{"3 leave stage: /2", "3 enter stage: /3",
				"3 leave stage: /3", "3 sending KILL signal to all processes...", "3 kill all", "3 power off..."},
		},
		{
			name:  "a container where a filter knows no reboot(2)",
			world: world{container: true, powered: filtering},
			ends:  map[int][]life{1: {{ws: exited(100)}}, 3: {{}}},
			want: []string{"0 enter stage: /1", "0 warning: child failed: /1", "0 leave stage: /1", "0 warning: skipping stage 2...",
				"0 enter stage: /3", "0 leave stage: /3", "0 sending KILL signal to all processes...", "0 kill all",
				"0 power off..."},
		},
		{
			name:  "a machine is not halted while its disks are written for the power off",
			world: world{powered: syncing},
			ends:  map[int][]life{1: {{ws: exited(100)}}, 3: {{}}},
			want: []string{"0 enter stage: /1", "0 warning: child failed: /1", "0 leave stage: /1", "0 warning: skipping stage 2...",
				"0 enter stage: /3", "0 leave stage: /3", "0 sending KILL signal to all processes...", "0 kill all",
				"0 power off...", "0 power off", "12 system halt.", "12 power halt"},
			status: -1,
		},
		{
			name:  "a container is to end while stage 1 cannot be forked",
			world: world{container: true, powered: refusing},
			ends:  map[int][]life{1: {{err: noFork}}, 3: {{}}},
			sent:  []sent{{second, unix.SIGTERM}},
			want: []string{"0 enter stage: /1",
				"0 fatal: unable to fork for \"/1\" pausing: unable to fork: resource temporarily unavailable",
				"1 warning: skipping stage 2...", "1 enter stage: /3", "1 leave stage: /3", "1 sending KILL signal to all processes...", "1 kill all",
				"1 power off..."},
		},
		{
			name:  "INT is a container's reboot, and its flag cannot be written",
			world: world{container: true, readOnly: true, powered: refusing, killed: func(w *world, pid int, _ unix.Signal) { w.die(pid, signaled(unix.SIGTERM)) }},
			ends:  map[int][]life{1: {{}}, 2: {{forever: true}}, 3: {{}}},
			sent:  []sent{{second, unix.SIGINT}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2", "1 kill 2 SIGTERM", "1 leave stage: /2", "1 enter stage: /3",
				"1 leave stage: /3", "1 sending KILL signal to all processes...", "1 kill all", "1 system reboot.", "1 power reboot",
				"1 warning: unable to end the system: reboot: operation not permitted"},
			status: 129,
		},
		{
			name:  "a machine whose power stays on is halted, and stays",
			world: world{powered: refusing},
			ends:  map[int][]life{1: {{ws: exited(100)}}, 3: {{time: second, ws: exited(5)}}},
			want: []string{"0 enter stage: /1", "0 warning: child failed: /1", "0 leave stage: /1", "0 warning: skipping stage 2...",
				"0 enter stage: /3", "1 warning: child failed: /3", "1 leave stage: /3", "1 sending KILL signal to all processes...", "1 kill all",
				"1 power off...", "1 power off", "1 warning: unable to end the system: reboot: operation not permitted",
				"3 system halt.", "3 power halt", "3 warning: unable to end the system: reboot: operation not permitted"},
			status: -1,
		},
		{
			name: "stage 2 exits 111, is killed, and is deaf",
			world: world{killed: func(w *world, pid int, sig unix.Signal) {
				if sig == unix.SIGKILL && pid > 0 {
					w.die(pid, signaled(sig))
				}
			}},
			ends:   map[int][]life{1: {{}}, 2: {{ws: exited(111)}, {ws: signaled(unix.SIGSEGV)}, {forever: true}}, 3: {{}}},
			stopAt: 11 * second,
			sent:   []sent{{12 * second, unix.SIGCONT}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1",
				"0 enter stage: /2", "0 warning: child failed: /2", "0 warning: killing all processes in stage 2...", "0 kill -2 SIGKILL",
				"5 warning: restarting.", "5 enter stage: /2", "5 warning: child crashed: /2", "5 warning: killing all processes in stage 2...", "5 kill -3 SIGKILL",
				"10 warning: restarting.", "10 enter stage: /2", "12 kill 4 SIGTERM",
				"17 warning: stage 2 not terminated, sending sigkill...", "17 kill 4 SIGKILL", "17 leave stage: /2", "17 enter stage: /3",
				"17 leave stage: /3", "17 sending KILL signal to all processes...", "17 kill all", "17 power off...", "17 power off", "19 system halt.", "19 power halt"},
			status: -1,
		},
		{
			name:  "nothing can be forked for a while, and stage 3 never",
			world: world{},
			ends:  map[int][]life{1: {{err: noFork}, {err: noFork}, {}}, 2: {{time: second}}, 3: {{err: noFork}}},
			want: []string{"0 enter stage: /1",
				"0 fatal: unable to fork for \"/1\" pausing: unable to fork: resource temporarily unavailable",
				"5 fatal: unable to fork for \"/1\" pausing: unable to fork: resource temporarily unavailable",
				"10 leave stage: /1", "10 enter stage: /2", "11 leave stage: /2", "11 enter stage: /3",
				"11 fatal: unable to fork for \"/3\" pausing: unable to fork: resource temporarily unavailable",
				"16 fatal: unable to fork for \"/3\" pausing: unable to fork: resource temporarily unavailable",
				"21 fatal: unable to fork for \"/3\" pausing: unable to fork: resource temporarily unavailable",
				"26 fatal: unable to fork for \"/3\" pausing: unable to fork: resource temporarily unavailable",
				"31 fatal: unable to fork for \"/3\" pausing: unable to fork: resource temporarily unavailable",
				"31 warning: child failed: /3", "31 leave stage: /3", "31 sending KILL signal to all processes...", "31 kill all",
				"31 power off...", "31 power off", "33 system halt.", "33 power halt"},
			status: -1,
		},
		{
			name:  "the end comes while stage 2 cannot be forked: nothing is signalled",
			world: world{stopFlag: true},
			ends:  map[int][]life{1: {{}}, 2: {{err: noFork}}, 3: {{}}},
			sent:  []sent{{second, unix.SIGCONT}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"0 fatal: unable to fork for \"/2\" pausing: unable to fork: resource temporarily unavailable",
				"1 leave stage: /2", "1 enter stage: /3", "1 leave stage: /3", "1 sending KILL signal to all processes...", "1 kill all",
				"1 power off...", "1 power off", "3 system halt.", "3 power halt"},
			status: -1,
		},
		{
			name:  "a new executable that cannot be become before stage 3",
			world: world{newer: &life{time: second}},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{forever: true}}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"3 leave stage: /2", "3 try 1 3 0 2 false false 0", "4 become 1 3 0 2 false false 0", "4 warning: unable to become x: no", "4 enter stage: /3"},
			status: -1,
		},
		{
			name:  "one that cannot take over",
			world: world{newer: &life{time: second, ws: exited(111)}},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{forever: true}}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"3 leave stage: /2", "3 try 1 3 0 2 false false 0", "4 warning: the new executable cannot take over, going on with the one before", "4 enter stage: /3"},
			status: -1,
		},
		{
			name:  "one that cannot be tried",
			world: world{newer: &life{err: unix.EAGAIN}},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{forever: true}}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"3 leave stage: /2", "3 try 1 3 0 2 false false 0", "3 warning: unable to try the new executable: resource temporarily unavailable", "3 enter stage: /3"},
			status: -1,
		},
		{
			name:  "one that hangs",
			world: world{newer: &life{forever: true}},
			ends:  map[int][]life{1: {{}}, 2: {{time: 3 * second}}, 3: {{forever: true}}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"3 leave stage: /2", "3 try 1 3 0 2 false false 0", "8 warning: the new executable hangs, going on with the one before", "8 kill 3 SIGKILL", "8 enter stage: /3"},
			status: -1,
		},
		{
			name:  "one that cannot be become in stage 2, and a request comes meanwhile",
			world: world{newer: &life{time: second}, came: []unix.Signal{unix.SIGPWR}, killed: func(w *world, pid int, _ unix.Signal) { w.die(pid, signaled(unix.SIGTERM)); w.newer = nil }},
			ends:  map[int][]life{1: {{}}, 2: {{forever: true}}, 3: {{forever: true}}},
			sent:  []sent{{second, unix.SIGUSR2}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"1 try 1 2 2 2 false false 0", "2 become 1 2 2 2 false false 0", "2 warning: unable to become x: no", "2 kill 2 SIGTERM", "2 leave stage: /2", "2 enter stage: /3"},
			status: -1,
		},
		{
			name:  "one that hangs in stage 2",
			world: world{newer: &life{forever: true}},
			ends:  map[int][]life{1: {{}}, 2: {{forever: true}}, 3: {{forever: true}}},
			sent:  []sent{{second, unix.SIGUSR2}},
			want: []string{"0 enter stage: /1", "0 leave stage: /1", "0 enter stage: /2",
				"1 try 1 2 2 2 false false 0", "6 warning: the new executable hangs, going on with the one before", "6 kill 3 SIGKILL"},
			status: -1,
		},
		{
			name:  "a halt leaves the power on",
			world: world{halt: true},
			ends:  map[int][]life{1: {{ws: exited(100)}}, 3: {{}}},
			want: []string{"0 enter stage: /1", "0 warning: child failed: /1", "0 leave stage: /1", "0 warning: skipping stage 2...",
				"0 enter stage: /3", "0 leave stage: /3", "0 sending KILL signal to all processes...", "0 kill all", "0 system halt.", "0 power halt"},
			status: -1,
		},
		{
			name: "a panic is said and outlived",
			world: world{starting: func(w *world, stage int) (int, error) {
				if len(w.log) < 3 {
					panic("oops")
				}
				return stages(map[int][]life{1: {{}}, 2: {{forever: true}}})(w, stage)
			}},
			want:   []string{"0 enter stage: /1", "0 warning: panic, going on: oops", "5 enter stage: /1", "5 leave stage: /1", "5 enter stage: /2"},
			status: -1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tt.world
				w.begin, w.stopAt = time.Now(), tt.stopAt
				w.children, w.signals, w.dead = make(chan os.Signal, 1), make(chan os.Signal, 8), make(chan death, 8)
				if w.starting == nil {
					w.starting = stages(tt.ends)
				}
				for _, s := range tt.sent {
					time.AfterFunc(s.at, func() { w.signals <- s.sig })
				}
				w.one = newOne(&w)
				ended := make(chan int, 1)
				go func() { ended <- w.one.loop(w.children, w.signals) }()
				time.Sleep(time.Minute)
				select {
				case status := <-ended:
					ended <- status
				default:
					w.die(-1, 0)
				}
				status := <-ended
				if status != tt.status {
					t.Errorf("status %d, want %d", status, tt.status)
				}
				for i, line := range w.log { // the trace of a panic is not compared
					w.log[i], _, _ = strings.Cut(line, "\n")
				}
				if diff := cmp.Diff(tt.want, w.log); diff != "" {
					t.Errorf("what is done (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestVerdict(t *testing.T) {
	for ws, want := range map[unix.WaitStatus]event{
		exited(0): done, exited(1): failed, exited(100): quit100, exited(111): quit111, exited(255): failed,
		signaled(unix.SIGKILL): crashed, signaled(unix.SIGSEGV) | 0x80: crashed,
	} {
		if got := verdict(ws); got != want {
			t.Errorf("%#x: %d, want %d", int(ws), got, want)
		}
	}
}

// TestForkErrorIsTold: what the loop asks for and what is printed.
func TestForkErrorIsTold(t *testing.T) {
	var err error = &forkError{unix.EAGAIN}
	if !errors.Is(err, errNoFork) || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v is neither", err)
	}
}

// TestState: what is handed over is what comes out, and nothing else is a state.
func TestState(t *testing.T) {
	for text, ok := range map[string]bool{
		"1 2 17 17 false false 0": true, "1 3 0 17 true true 8001": true, "1 3 0 0 false false ffffffffffffffff": true,
		"": false, "1": false, "2 3 0 17 true true 0": false, "1 3 5 17 true true 0": false, "1 2 0 0 false false 0": false,
		"1 2 1 1 false false 0": false, "1 1 9 9 false false 0": false, "1 2 x 9 false false 0": false, "1 2 9 9 false false 0 0": false,
	} {
		s, got := parseState(text)
		if got != ok || ok && s.String() != text {
			t.Errorf("%q is %q, %v, want %v", text, s, got, ok)
		}
	}
}
