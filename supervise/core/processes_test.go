package core

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/servicedir"
)

// dead is a kernel whose children are made up: those that have ended, in the
// order in which waitid(2) tells of them.
type dead struct {
	mu      sync.Mutex
	changed *sync.Cond
	pids    []int
	ws      map[int]unix.WaitStatus
	alarm   chan<- os.Signal
	alarmed bool
	asked   int // how often it was asked for one child, or for any
	over    bool
}

func (d *dead) kernel() kernel {
	return kernel{
		wait: func(block bool, _ *proc.Usage) (int, unix.WaitStatus, bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if !block && len(d.pids) == 0 {
				return 0, 0, false
			}
			for d.asked++; len(d.pids) == 0; {
				if d.over {
					panic("over")
				}
				d.changed.Wait()
			}
			return d.pids[0], d.ws[d.pids[0]], true
		},
		peek: func(pid int, _ *proc.Usage) (unix.WaitStatus, bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.asked++
			return d.ws[pid], slices.Contains(d.pids, pid)
		},
		collect: func(pid int) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.pids = slices.DeleteFunc(d.pids, func(p int) bool { return p == pid })
		},
		list: func() []int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return slices.Clone(d.pids)
		},
		signal: func(on bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.alarmed = on
		},
	}
}

// dies ends a child.
func (d *dead) dies(pid int, ws unix.WaitStatus) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pids = append(d.pids, pid)
	d.ws[pid] = ws
	d.changed.Broadcast()
	if d.alarmed {
		select {
		case d.alarm <- unix.SIGCHLD:
		default:
		}
	}
}

// ends is a ends with a reaper and services that do nothing by
// themselves: what they are told waits in their queues.
type ends struct {
	*processes
	dead   *dead
	places map[string]*expected
	made   map[int]*process
	units  map[string]*unit
	mu     sync.Mutex
	said   []string // to the scanner
}

func newEnds(t *testing.T) *ends {
	g := &ends{processes: newProcesses(true), places: map[string]*expected{}, made: map[int]*process{}, units: map[string]*unit{}}
	g.dead = &dead{ws: map[int]unix.WaitStatus{}, alarm: g.deaths}
	g.dead.changed = sync.NewCond(&g.dead.mu)
	g.kernel = g.dead.kernel()
	g.held = func() bool { return true }
	g.seen = func(pid int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.said = append(g.said, fmt.Sprint("seen ", pid))
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() { recover() }()
		g.reap()
	}()
	return g
}

// end has the reaper end, as the bubble demands.
func (g *ends) end() {
	g.processes.mu.Lock()
	g.leaving = false
	for pid := range g.corpses {
		g.collect(pid)
	}
	g.processes.mu.Unlock()
	g.collectNow()
	g.dead.mu.Lock()
	g.dead.pids, g.dead.over = nil, true
	g.dead.changed.Broadcast()
	g.dead.mu.Unlock()
	g.poke()
	synctest.Wait()
}

// unit is the unit of a service of that name, which is never looked after.
func (g *ends) unit(name string) *unit {
	if g.units[name] == nil {
		s := newService(&Core{procs: g.processes}, name, name, servicedir.Dir{FD: -1})
		s.opened = true
		g.units[name] = &s.main
	}
	return g.units[name]
}

// told takes what a service was told of: the ends of its processes.
func (g *ends) told(name string) (all []event) {
	for {
		ev, ok := g.unit(name).svc.inbox.take(true)
		if !ok {
			return all
		}
		all = append(all, ev)
	}
}

// do does one thing, in words, and says what has come of it.
func (g *ends) do(line string) (got string) {
	var word, name string
	var pid, ws int
	switch f := strings.Fields(line); f[0] {
	case "expect", "close", "disown", "disinherit", "told", "record":
		fmt.Sscan(line, &word, &name)
	case "dies", "gone", "inherited", "collected":
		fmt.Sscan(line, &word, &pid, &ws)
	default:
		fmt.Sscan(line, &word, &name, &pid)
	}
	switch word {
	case "expect":
		pl, ok := g.expect()
		if g.places[name] = pl; !ok {
			return "not any more"
		}
	case "holds":
		g.made[pid] = g.places[name].holds(pid, g.unit(name), isRun)
	case "knows":
		g.processes.told(g.made[pid])
	case "close":
		g.places[name].close()
	case "dies":
		g.dead.dies(pid, unix.WaitStatus(ws))
	case "collected": // by who has made it
		g.kernel.collect(pid)
	case "adopts":
		if g.adopt(pid, -1, g.unit(name), isRun) == nil {
			return "another's"
		}
	case "inherited":
		g.processes.inherited(pid, ending{ws: unix.WaitStatus(ws)})
	case "bequeath":
		g.reserve(pid, name)
	case "disinherit":
		g.unreserve(name)
	case "disown":
		g.forget(g.unit(name).svc)
	case "opening":
		g.opening()
	case "opened":
		g.opened()
	case "leave":
		g.leave()
	case "record": // the ends that the service was told of
		var said []string
		for _, ev := range g.told(name) {
			said = append(said, fmt.Sprintf("%d ended with %d", ev.pid, ev.ws))
			g.recorded(ev.proc)
		}
		return strings.Join(said, ", ")
	case "wait":
		time.Sleep(time.Minute)
	case "corpses":
		return strings.Trim(fmt.Sprint(g.kernel.list()), "[]")
	case "said":
		g.mu.Lock()
		defer g.mu.Unlock()
		defer func() { g.said = nil }()
		slices.Sort(g.said)
		return strings.Join(g.said, ", ")
	case "asked":
		g.dead.mu.Lock()
		defer g.dead.mu.Unlock()
		return fmt.Sprint(g.dead.asked)
	default:
		return "?"
	}
	return ""
}

func TestProcesses(t *testing.T) {
	const web = "expect web; holds web 10; knows web 10; "
	for _, tt := range []struct{ name, story, want string }{
		{"an end is told, and the corpse stays until that is recorded",
			web + "dies 10 7; corpses; record web; corpses", "10 | 10 ended with 7"},
		{"an end before the number is known",
			"expect web; dies 10 7; wait; corpses; holds web 10; record web; knows web 10; record web; corpses", "10 | 10 ended with 7"},
		{"an end before the number is known, behind a corpse that is left",
			web + "dies 10 7; wait; expect db; dies 11 8; holds db 11; knows db 11; record db; corpses; record web; corpses",
			"11 ended with 8 | 10 | 10 ended with 7"},
		{"an end before the service has been told of the beginning",
			"expect web; holds web 10; dies 10 7; wait; record web; knows web 10; record web; corpses", "10 ended with 7"},
		{"who does not record holds up nobody",
			web + "expect db; holds db 11; knows db 11; dies 10 7; dies 11 8; wait; record db; corpses; " +
				"expect db; holds db 12; knows db 12; dies 12 9; wait; record db; corpses; record web; corpses",
			"11 ended with 8 | 10 | 12 ended with 9 | 10 | 10 ended with 7"},
		{"what is left of one who does not record is not asked for again and again",
			web + "dies 10 7; wait; asked; wait; asked", "2 | 2"},
		{"many that end at once are told at once",
			web + "expect db; holds db 11; knows db 11; expect mail; holds mail 12; knows mail 12; " +
				"dies 10 7; dies 11 8; dies 12 9; record web; record mail; asked; record db; corpses",
			"10 ended with 7 | 12 ended with 9 | 3 | 11 ended with 8"},
		{"a stranger is collected at once",
			"dies 30 1; corpses", ""},
		{"a stranger waits while something is being made",
			"expect web; dies 30 1; wait; corpses; holds web 10; corpses", "30"},
		{"a stranger waits for the last place",
			"expect web; expect db; dies 30 1; wait; corpses; holds web 10; corpses; close db; corpses", "30 | 30"},
		{"a stranger behind a corpse that is left",
			web + "dies 10 7; wait; dies 30 1; corpses; record web; corpses", "10 | 10 ended with 7"},
		{"two places, and each finds its own",
			"expect web; expect db; dies 11 8; dies 10 7; wait; holds web 10; knows web 10; holds db 11; knows db 11; record web; record db; corpses",
			"10 ended with 7 | 11 ended with 8"},
		{"what could not be executed and was collected by who has made it",
			"expect web; dies 10 7; collected 10; close web; corpses", ""},
		{"its number is given to another meanwhile, whose end is not that one's",
			"expect web; expect db; dies 10 7; wait; collected 10; holds db 10; knows db 10; record db; dies 10 9; wait; record db; close web; corpses",
			"10 ended with 9"},
		{"no place is left open by a start that failed",
			"expect web; close web; close web; dies 30 1; corpses", ""},
		{"a service that is let go has no ends any more",
			web + "disown web; dies 10 7; record web; corpses", ""},
		{"also where it had not recorded it",
			web + "dies 10 7; disown web; corpses", ""},
		{"a number that was given to another when its first owner has recorded",
			web + "dies 10 7; record web; expect db; holds db 10; knows db 10; disown web; dies 10 8; record db; corpses",
			"10 ended with 7 | 10 ended with 8"},
		{"a core that leaves collects nobody",
			web + "leave web; expect db; dies 10 7; dies 30 1; wait; corpses; disown web; corpses",
			"not any more | 10 30 | 10 30"},
		{"but what its service still records",
			web + "leave web; dies 10 7; record web; corpses", "10 ended with 7"},
		{"an inherited end goes to who has adopted the process",
			"adopts web 20; inherited 20 3; said; record web; said", "20 ended with 3 | seen 20"},
		{"it is told once",
			"adopts web 20; inherited 20 3; inherited 20 3; record web; said", "20 ended with 3 | seen 20"},
		{"one that nobody knows is seen at once",
			"inherited 20 3; said", "seen 20"},
		{"while services are opened it waits for one that adopts it",
			"opening web; opening db; inherited 20 3; inherited 21 4; opened db; said; adopts web 20; opened web; said; record web; said",
			"seen 21 | 20 ended with 3 | seen 20"},
		{"one whose opening hangs holds up no end of those that are known",
			"opening slow; adopts web 20; inherited 30 1; inherited 20 3; record web; said; opened slow; said",
			"20 ended with 3 | seen 20 | seen 30"},
		{"what one that cannot be opened has left waits for it",
			"opening web; bequeath web 20; opened web; inherited 20 3; said; opening web; adopts web 20; disinherit web; opened web; record web; said",
			"20 ended with 3 | seen 20"},
		{"or for nobody",
			"bequeath web 20; inherited 20 3; said; disinherit web; said", "seen 20"},
		{"a process has one owner",
			"adopts web 20; adopts copy 20; inherited 20 3; record copy; record web", "another's | 20 ended with 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newEnds(t)
				defer g.end()
				var got []string
				for line := range strings.SplitSeq(tt.story, "; ") {
					if said := g.do(line); said != "" {
						got = append(got, said)
					}
					synctest.Wait()
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, " | ")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.story, diff)
				}
			})
		})
	}
}

// An end behind a corpse that is left is told at once, and not only when it is
// looked for the next time.
func TestEndBehindACorpse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newEnds(t)
		defer g.end()
		for _, line := range []string{"expect web", "holds web 10", "knows web 10", "dies 10 7"} {
			g.do(line)
		}
		time.Sleep(time.Second)
		begin := time.Now()
		for pid := 11; pid < 100; pid++ {
			name := fmt.Sprint("s", pid)
			g.do("expect " + name)
			g.do(fmt.Sprintf("holds %s %d", name, pid))
			g.do(fmt.Sprintf("knows %s %d", name, pid))
			g.do(fmt.Sprintf("dies %d 1", pid))
			synctest.Wait()
			if got := g.do("record " + name); got == "" {
				t.Errorf("%d was not told", pid)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v, want no time at all", took)
		}
	})
}

// Behind the corpse of one who is held up it is looked when that has lasted for a while.
func TestEndBehindOneHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newEnds(t)
		defer g.end()
		g.held = func() bool { return false }
		for _, line := range []string{"expect web", "holds web 10", "knows web 10", "expect db", "holds db 11", "knows db 11", "dies 10 7", "dies 11 8", "wait"} {
			g.do(line)
			synctest.Wait()
		}
		if got := g.do("record db"); got != "" {
			t.Errorf("before anybody was held up: %s", got)
		}
		g.heldUp()
		synctest.Wait()
		if got, want := g.do("record db"), "11 ended with 8"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestKillTells: what is killed is told while it still lives, since its end may be that of the
// process that tells.
func TestKillTells(t *testing.T) {
	echo := exec.Command("cat")
	in, err1 := echo.StdinPipe()
	out, err2 := echo.StdoutPipe()
	if err := errors.Join(err1, err2, echo.Start()); err != nil {
		t.Fatal(err)
	}
	ps := newProcesses(false)
	s := newService(&Core{procs: ps}, "web", "web", servicedir.Dir{FD: -1})
	ps.known[echo.Process.Pid] = &process{pid: echo.Process.Pid, pidfd: -1, unit: &s.main, role: isRun}
	answer := make([]byte, 1)
	ps.kill(false, func(lateProcess) {
		in.Write([]byte("a"))
		io.ReadFull(out, answer)
	})
	if string(answer) != "a" {
		t.Error("it was killed before it was told")
	}
	if err := echo.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("it ended with %v, want signal: killed", err)
	}
}
