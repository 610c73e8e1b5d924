package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// at is a moment of the tables below.
func at(sec int64) time.Time { return time.Unix(sec, 500) }

func TestArrived(t *testing.T) {
	var (
		down     = state.Record{Since: at(1), Want: state.WantDown, State: state.Down}
		resting  = state.Record{Since: at(1), Want: state.WantUp, State: state.Down} // the pause before a restart
		up       = state.Record{Since: at(1), PID: 5, Want: state.WantUp, State: state.Run}
		again    = state.Record{Since: at(1).Add(time.Microsecond), PID: 6, Want: state.WantUp, State: state.Run}
		same     = state.Record{Since: at(9), PID: 5, Want: state.WantUp, State: state.Run} // the pid came round
		once     = state.Record{Since: at(1), PID: 5, Want: state.WantDown, State: state.Run}
		termed   = state.Record{Since: at(1), PID: 5, Want: state.WantUp, Termed: true, State: state.Run}
		leaving  = state.Record{Since: at(1), PID: 5, Want: state.WantDown, Termed: true, State: state.Run}
		paused   = state.Record{Since: at(1), PID: 5, Paused: true, Want: state.WantUp, State: state.Run}
		ending   = state.Record{Since: at(1), PID: 7, Want: state.WantUp, State: state.Finish}
		endingD  = state.Record{Since: at(1), PID: 7, Want: state.WantDown, State: state.Finish}
		finishes = state.Record{Since: at(1), Want: state.WantDown, State: state.Finish} // ./finish is not forked yet
		ended    = state.Record{Since: at(2), Want: state.WantDown, State: state.Down}
	)
	for _, tt := range []struct {
		name        string
		until       string
		before, now state.Record
		want        bool
	}{
		{"up: it runs", "u", down, up, true},
		{"up: it ran before", "u", up, up, true},
		{"up: not while down is wanted", "u", leaving, leaving, false},
		{"up: not in the pause", "u", resting, resting, false},
		{"up: not in finish", "u", ending, ending, false},
		{"down: it is", "d", up, down, true},
		{"down: not while it runs", "d", up, leaving, false},
		{"down: not in the pause before a restart", "d", up, resting, false},
		{"down: not while finish runs", "d", up, endingD, false},
		{"down: not before finish runs", "d", up, finishes, false},
		{"term: another process, in the same second", "t", up, again, true},
		{"term: the same pid, later", "t", up, same, true},
		{"term: nothing has happened yet", "t", up, up, false},
		{"term: the process is told", "t", up, termed, false},
		{"term: in finish, whose pid is another", "t", up, ending, false},
		{"term: in the pause", "t", up, resting, false},
		{"term: down and meant to be", "t", down, down, true},
		{"kill: as term", "k", up, again, true},
		{"kill: once is over", "k", once, ended, true},
		{"kill: nothing has happened yet", "k", up, up, false},
		{"cont: it is not paused", "c", paused, up, true},
		{"cont: it is paused", "c", paused, paused, false},
		{"cont: there is no process", "c", paused, down, true},
		{"pause: it is paused", "p", up, paused, true},
		{"pause: not yet", "p", up, up, false},
		{"pause: there is no process", "p", down, down, true},
		{"once: it runs", "o", down, once, true},
		{"once: it was up and will end", "o", up, once, true},
		{"once: it is over already", "o", down, ended, true},
		{"once: nothing has happened yet", "o", down, down, false},
		{"once: up is wanted yet", "o", up, up, false},
		{"check: up as wanted", "C", state.Record{}, up, true},
		{"check: down as wanted", "C", state.Record{}, down, true},
		{"check: up is wanted", "C", state.Record{}, resting, false},
		{"check: down is wanted", "C", state.Record{}, once, false},
		{"check: finish is not down", "C", state.Record{}, finishes, false},
		{"restart: all of it", "tcu", up, again, true},
		{"restart: paused", "tcu", up, state.Record{Since: at(3), PID: 8, Paused: true, State: state.Run}, false},
		{"restart: the old one runs", "tcu", up, up, false},
		{"restart: of what was down", "tcu", down, again, true},
		{"exit: there is no status for it", "x", up, ended, false},
		{"nothing to wait for", "", up, up, true},
		{"a want byte that is none is no order to be up", "d", up, state.Record{Since: at(2), Want: state.WantUnknown}, true},
		{"nor one to be down", "u", down, state.Record{Since: at(2), PID: 8, State: state.Run, Want: state.WantUnknown}, true},
		{"nor is what does not run then renewed", "t", up, state.Record{Since: at(2), Want: state.WantUnknown}, false},
		{"it is checked as if wanted up", "C", up, state.Record{Since: at(2), Want: state.WantUnknown}, false},
	} {
		if got := met(tt.until, tt.before, tt.now); got != tt.want {
			t.Errorf("%s: met(%q) = %v", tt.name, tt.until, got)
		}
	}
	for _, tt := range []struct {
		until string
		now   state.Record
		want  bool
	}{
		{"u", up, true}, {"tcu", up, true}, {"t", up, true}, {"k", up, true}, {"C", up, true},
		{"C", down, false}, {"t", down, false}, {"d", down, false}, {"o", once, false}, {"p", paused, false}, {"C", once, false},
	} {
		if got := checked(tt.until, tt.now); got != tt.want {
			t.Errorf("checked(%q, %v) = %v", tt.until, tt.now, got)
		}
	}
}

// stage is a service directory with the files of a runsv, played by the test.
type stage struct {
	t       *testing.T
	path    string
	control *os.File
	ok      int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, path: t.TempDir(), ok: -1}
	if err := os.Mkdir(s.path+"/supervise", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"control", "ok"} {
		if err := unix.Mkfifo(s.path+"/supervise/"+name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// enter makes the service supervised.
func (s *stage) enter() {
	s.t.Helper()
	var err error
	if s.control, err = os.OpenFile(s.path+"/supervise/control", os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		s.t.Fatal(err)
	}
	if s.ok, err = unix.Open(s.path+"/supervise/ok", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.leave)
}

// leave ends the supervision.
func (s *stage) leave() {
	if s.ok >= 0 {
		s.control.Close()
		unix.Close(s.ok)
		s.ok = -1
	}
}

// show puts a status in place.
func (s *stage) show(r state.Record) {
	name := s.path + "/supervise/status"
	if err := errors.Join(os.WriteFile(name+".new", r.Bytes(), 0o644), os.Rename(name+".new", name)); err != nil {
		s.t.Error(err)
	}
}

// hear reads n command bytes.
func (s *stage) hear(n int) string {
	b := make([]byte, n)
	s.control.SetReadDeadline(time.Now().Add(10 * time.Second))
	for at := 0; at < n; {
		m, err := s.control.Read(b[at:])
		if err != nil {
			s.t.Errorf("heard %q: %v", b[:at], err)
			break
		}
		at += m
	}
	return string(b)
}

// lineOf is a record as a file holds it.
func lineOf(p state.Process) string {
	b := p.Bytes()
	return string(b[:])
}

// boot is the id of this boot.
func boot(t *testing.T) string {
	t.Helper()
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(id))
}

// write makes a file of the service directory.
func (s *stage) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	syscall.ForkLock.RLock() // a process forked meanwhile would have it open for writing: "text file busy"
	err := os.WriteFile(filepath.Join(s.path, name), []byte(text), mode)
	syscall.ForkLock.RUnlock()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestProbe(t *testing.T) {
	s := newStage(t)
	probe := func() string {
		r, err := Reach(s.path)
		if err != nil {
			return err.Error()
		}
		defer r.Close()
		_, err = r.Probe()
		return fmt.Sprint(err)
	}
	check := func(what, want string) {
		t.Helper()
		if got := probe(); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("without a runsv", "runsv not running")
	s.enter()
	check("before the first status", "unable to open supervise/status: no such file or directory")
	s.show(state.Record{Since: at(1)})
	check("with a status", "<nil>")
	for _, size := range []int{0, 1, 18, 19} {
		s.write("supervise/status", strings.Repeat("\x40", size), 0o644)
		check(fmt.Sprintf("with %d bytes", size), "unable to read supervise/status: bad format")
	}
	os.Remove(s.path + "/supervise/status")
	os.Mkdir(s.path+"/supervise/status", 0o755)
	check("with a directory", "unable to read supervise/status: is a directory")
	s.leave()
	check("after its end", "runsv not running")
	os.Remove(s.path + "/supervise/ok")
	check("without ok", "unable to open supervise/ok: no such file or directory")
	s.path += "/nosuch"
	check("without a directory", "unable to change to service directory: no such file or directory")
	s.path = ""
	check("nowhere", "unable to change to service directory: no such file or directory")
}

func TestAbandoned(t *testing.T) {
	s := newStage(t)
	r, err := Reach(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	here := state.World{Boot: state.Hash(boot(t)), Space: 1}
	line := func(w state.World) string {
		return lineOf(state.Process{Word: state.ProcRun, PID: 5, Ticks: 12345, World: w})
	}
	former := func(id string) string { return fmt.Sprintf("%-127s\n", "run 5 12345 "+id+" 1 0 0") }
	for _, tt := range []struct {
		proc string
		want bool
	}{
		{line(here), true},
		{line(state.World{Boot: here.Boot, Space: 2}), true}, // its client may be in another namespace
		{former(boot(t)), true},
		{line(state.World{Boot: here.Boot + 1}), false},
		{line(state.World{}), false},
		{former("00000000-0000-0000-0000-000000000000"), false},
		{line(here)[:100], false},
		{line(here) + "x", false},
		{state.Blank, false},
		{"", false},
	} {
		s.write("supervise/proc", tt.proc, 0o644)
		if got := r.abandoned(); got != tt.want {
			t.Errorf("%q: %v", tt.proc, got)
		}
	}
	os.Remove(s.path + "/supervise/proc")
	if r.abandoned() {
		t.Error("without supervise/proc")
	}
}

// FuzzProbe reads statuses of any form.
func FuzzProbe(f *testing.F) {
	f.Add(state.Record{Since: at(1), PID: 7, State: state.Run}.Bytes())
	f.Add([]byte("x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rec, err := state.ParseRecord(text)
		if (err == nil) != (len(text) == state.StatusSize) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
		if rec.PID < 0 {
			t.Errorf("pid %d", rec.PID)
		}
	})
}

// outcomes collects what Wait says.
func outcomes(c *Client, orders []*Order, limit time.Duration) []string {
	var all []string
	c.Wait(orders, time.Now().Add(limit), func(o *Order, out Outcome) {
		all = append(all, fmt.Sprintf("%s %s %v", filepath.Base(o.Path), [...]string{"notice", "done", "failed", "timeout"}[out.Result], out.Err))
	})
	return all
}

// TestWakes has the wait end with what it waits for, not with the next look.
func TestWakes(t *testing.T) {
	s := newStage(t)
	s.enter()
	up, down := state.Record{PID: 5, Want: state.WantUp, State: state.Run}, state.Record{Want: state.WantDown}
	s.show(down)
	const rounds = 10
	var spent time.Duration
	for i := range rounds {
		var c Client
		o, err := c.Send(s.path, "u", "u")
		if err != nil {
			t.Fatal(err)
		}
		var shown atomic.Int64
		go func() {
			s.hear(1)
			time.Sleep(30 * time.Millisecond) // until it surely sleeps; after its first looks
			shown.Store(time.Now().UnixNano())
			up.Since = at(int64(i))
			s.show(up)
		}()
		if got := outcomes(&c, []*Order{o}, time.Minute); len(got) != 1 || !strings.HasSuffix(got[0], "done <nil>") {
			t.Fatal(got)
		}
		spent += time.Since(time.Unix(0, shown.Load()))
		s.show(down)
	}
	t.Logf("%v from the status to the answer", spent/rounds)
	if spent > rounds*askWatched/2 { // what looking alone would take on average
		t.Errorf("%d times took %v: it was not woken", rounds, spent)
	}
}

// TestWakesForEnd has it wake when runsv goes.
func TestWakesForEnd(t *testing.T) {
	for _, tt := range []struct{ until, want string }{
		{"x", "done runsv not running"},
		{"d", "failed runsv not running"},
	} {
		s := newStage(t)
		s.enter()
		s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
		var c Client
		o, err := c.Send(s.path, tt.until, tt.until)
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan bool)
		go func() {
			s.hear(1)
			time.Sleep(30 * time.Millisecond)
			s.leave()
			close(left)
		}()
		begin := time.Now()
		got := outcomes(&c, []*Order{o}, time.Minute)
		<-left
		if len(got) != 1 || !strings.HasSuffix(got[0], tt.want) {
			t.Errorf("%s: %v", tt.until, got)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s: after %v", tt.until, d)
		}
	}
}

// TestUnread believes no status from before the command was read.
func TestUnread(t *testing.T) {
	s := newStage(t)
	s.enter()
	s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
	var c Client
	o, err := c.Send(s.path, "u", "u")
	if err != nil {
		t.Fatal(err)
	}
	if got := outcomes(&c, []*Order{o}, 100*time.Millisecond); !strings.HasSuffix(got[0], "timeout <nil>") {
		t.Error(got)
	}
	if o.control != -1 {
		t.Error("the FIFO is open yet")
	}
}

// TestSkip leaves out a d that has been obeyed, unless another command waits.
func TestSkip(t *testing.T) {
	s := newStage(t)
	s.enter()
	send := func(cmd string) {
		t.Helper()
		var c Client
		if _, err := c.Send(s.path, cmd, cmd); err != nil {
			t.Fatal(err)
		}
	}
	s.show(state.Record{PID: 5, Want: state.WantDown, Termed: true, State: state.Run})
	send("d")
	send("u") // always, whatever is wanted
	send("d")
	s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
	send("u")
	if got := s.hear(3); got != "udu" {
		t.Errorf("heard %q", got)
	}
}

// TestReplaced loses no command to a core that is replaced.
func TestReplaced(t *testing.T) {
	proc := lineOf(state.Process{Word: state.ProcRun, PID: 5, Ticks: 1, World: state.World{Boot: state.Hash(boot(t))}})

	t.Run("sent while there is none", func(t *testing.T) {
		s := newStage(t)
		s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
		s.write("supervise/proc", proc, 0o644)
		entered := make(chan bool)
		time.AfterFunc(100*time.Millisecond, func() {
			s.enter()
			close(entered)
		})
		c := Client{Patience: time.Now().Add(10 * time.Second)}
		if _, err := c.Send(s.path, "d", "d"); err != nil {
			t.Fatal(err)
		}
		<-entered
		if got := s.hear(1); got != "d" {
			t.Errorf("heard %q", got)
		}
	})
	// unread sends cmd to a runsv that dies before it reads it; a while later another
	// comes, and answers.
	unread := func(t *testing.T, cmd string, answer func(*stage)) (*Client, *Order) {
		t.Helper()
		s := newStage(t)
		s.enter()
		s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
		s.write("supervise/proc", proc, 0o644)
		c := &Client{Patience: time.Now().Add(10 * time.Second)}
		o, err := c.Send(s.path, cmd, cmd)
		if err != nil {
			t.Fatal(err)
		}
		s.leave()
		answered := make(chan bool)
		t.Cleanup(func() { <-answered })
		time.AfterFunc(300*time.Millisecond, func() {
			s.enter()
			answer(s)
			close(answered)
		})
		return c, o
	}
	t.Run("dies before it reads, nobody waits", func(t *testing.T) {
		heard := make(chan string, 1)
		c, _ := unread(t, "t", func(s *stage) { heard <- s.hear(1) })
		c.Deliver(50 * time.Millisecond)
		if got := <-heard; got != "t" {
			t.Errorf("heard %q", got)
		}
	})
	t.Run("dies before it reads, somebody waits", func(t *testing.T) {
		c, o := unread(t, "d", func(s *stage) {
			s.hear(1)
			s.show(state.Record{Since: at(3), Want: state.WantDown})
		})
		if got := outcomes(c, []*Order{o}, 10*time.Second); len(got) != 1 || !strings.HasSuffix(got[0], "done <nil>") {
			t.Error(got)
		}
	})
	t.Run("nobody comes", func(t *testing.T) {
		s := newStage(t)
		s.write("supervise/proc", proc, 0o644)
		c := Client{Patience: time.Now().Add(50 * time.Millisecond)}
		if _, err := c.Send(s.path, "d", "d"); !errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
		os.Remove(s.path + "/supervise/proc")
		c = Client{Patience: time.Now().Add(time.Hour)} // which is not used: it let go
		if _, err := c.Send(s.path, "d", "d"); !errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
	})
	t.Run("an exit that nobody finishes", func(t *testing.T) {
		s := newStage(t)
		s.enter()
		s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
		var c Client
		o, err := c.Send(s.path, "x", "x")
		if err != nil {
			t.Fatal(err)
		}
		s.write("supervise/proc", proc, 0o644)
		s.leave()
		if got := outcomes(&c, []*Order{o}, 200*time.Millisecond); len(got) != 1 || !strings.HasSuffix(got[0], "done runsv not running") {
			t.Error(got)
		}
	})
}

// TestCheck judges a service by its check script, in the time there is.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		mode         os.FileMode
		want         []string
	}{
		{"passes", "#!/bin/sh\necho to nobody\nexit 0\n", 0o755, []string{"done <nil>"}},
		{"fails", "#!/bin/sh\nexit 1\n", 0o755, []string{"timeout <nil>"}},
		{"killed", "#!/bin/sh\nkill -9 $$\n", 0o755, []string{"timeout <nil>"}},
		{"hangs", "#!/bin/sh\necho $$ >pid\nsleep 1000 & wait\n", 0o755, []string{"timeout <nil>"}},
		{"later", "#!/bin/sh\necho >>n; test $(wc -l <n) -ge 3\n", 0o755, []string{"done <nil>"}},
		{"noexec", "#!/bin/sh\nexit 1\n", 0o644, []string{"notice unable to run check: permission denied", "done <nil>"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.enter()
			s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
			s.write("check", tt.script, tt.mode)
			var c Client
			limit := time.Minute
			if strings.HasPrefix(tt.want[0], "timeout") {
				limit = 500 * time.Millisecond
			}
			o, err := c.Send(s.path, "", "C")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, out := range outcomes(&c, []*Order{o}, limit) {
				_, out, _ = strings.Cut(out, " ")
				got = append(got, out)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if pid, err := os.ReadFile(s.path + "/pid"); err == nil {
				n := 0
				fmt.Sscan(string(pid), &n)
				if err := groupGone(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// groupGone waits until a process group has no member.
func groupGone(pid int) error {
	for range 1000 {
		if errors.Is(unix.Kill(-pid, 0), unix.ESRCH) {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("group %d lives", pid)
}

// TestWaitMany waits for many at once, some of them twice, each with its own
// end, and tells them in the order of their ends.
func TestWaitMany(t *testing.T) {
	var c Client
	var orders []*Order
	stages := map[string]*stage{}
	for range 50 {
		s := newStage(t)
		s.enter()
		s.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
		stages[s.path] = s
		for range 2 {
			o, err := c.Send(s.path, "d", "d")
			if err != nil {
				t.Fatal(err)
			}
			orders = append(orders, o)
		}
	}
	played := make(chan bool)
	defer func() { <-played }()
	go func() {
		for _, s := range stages {
			s.hear(2)
			s.show(state.Record{Since: at(5), Want: state.WantDown})
		}
		close(played)
	}()
	seen := map[string]int{}
	c.Wait(orders, time.Now().Add(time.Minute), func(o *Order, out Outcome) {
		if out.Result != Done {
			t.Errorf("%s: %+v", o.Path, out)
		}
		seen[o.Path]++
	})
	for path := range stages {
		if seen[path] != 2 {
			t.Errorf("%s: %d answers", path, seen[path])
		}
	}
}

// TestUnwatched asks where it cannot watch: here below a link that is replaced
// while it waits, so that its watch is on the wrong directory.
func TestUnwatched(t *testing.T) {
	old, next := newStage(t), newStage(t)
	old.enter()
	next.enter()
	old.show(state.Record{PID: 5, Want: state.WantUp, State: state.Run})
	next.show(state.Record{Want: state.WantDown})
	link := t.TempDir() + "/service"
	if err := os.Symlink(old.path, link); err != nil {
		t.Fatal(err)
	}
	var c Client
	o, err := c.Send(link, "d", "d")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		old.hear(1)
		if err := errors.Join(os.Symlink(next.path, link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Error(err)
		}
	}()
	if got := outcomes(&c, []*Order{o}, time.Minute); len(got) != 1 || !strings.HasSuffix(got[0], "done <nil>") {
		t.Error(got)
	}
}
