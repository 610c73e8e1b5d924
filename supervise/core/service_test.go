package core

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// scene is a service whose processes are made up.
type scene struct {
	*service
	orders chan order
	over   chan struct{}
	pid    int
	path   string // of the service directory
}

// newScene begins a service in a new directory with these files.
func newScene(t *testing.T, files ...string) *scene {
	t.Helper()
	path := t.TempDir()
	if err := os.MkdirAll(path+"/supervise", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		os.MkdirAll(path+"/control", 0o755)
		if err := os.WriteFile(path+"/"+f, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := servicedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir.FD) })
	orders := make(chan order, 8)
	c := &Core{
		Say:   func(_ diag.Level, _ string, err error) { t.Log(err) },
		start: func(o order) { orders <- o }, log: -1,
		procs: newProcesses(false),
	}
	sc := &scene{service: newService(c, "web", "", dir), orders: orders, over: make(chan struct{}), pid: 1 << 30, path: path}
	sc.main.since, sc.published = time.Now(), true
	sc.end = func() { close(sc.over) }
	sc.resume(&sc.main)
	sc.work(nil)
	return sc
}

// made waits for an order and answers that its process is there.
func (sc *scene) made() order {
	o := <-sc.orders
	sc.pid++
	sc.post(event{kind: evSpawned, who: o.who, role: o.role, pid: sc.pid})
	synctest.Wait()
	return o
}

// dies tells the death of the latest process.
func (sc *scene) dies(o order, ws unix.WaitStatus) {
	sc.post(event{kind: evDied, who: o.who, role: o.role, pid: sc.pid, ws: ws})
	synctest.Wait()
}

func (sc *scene) command(cmd machine.Event) {
	sc.post(event{kind: evCommand, cmd: cmd})
	synctest.Wait()
}

func TestRest(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lives time.Duration
		rests time.Duration
	}{
		{"what dies at once rests a second", 0, time.Second},
		{"what dies within a second too", 999 * time.Millisecond, time.Second},
		{"what has lived a second does not rest", time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sc := newScene(t)
				o := sc.made()
				time.Sleep(tt.lives)
				sc.dies(o, 0)
				begin := time.Now()
				sc.made()
				if rest := time.Since(begin); rest != tt.rests {
					t.Errorf("restarted after %v, want %v", rest, tt.rests)
				}
				sc.command(machine.CmdExit)
				sc.dies(o, 15)
				<-sc.over
			})
		})
	}
}

// The end of a process is recorded before anything follows it, but for the last of a service
// that exits: its record is about to be removed.
func TestLastEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		order machine.Event
		want  string
	}{
		{"it is to stay down", nil, machine.CmdDown, state.ProcEnded},
		{"its service exits", nil, machine.CmdExit, ""},
		{"its service exits, and ./finish comes before", []string{"finish"}, machine.CmdExit, state.ProcEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sc := newScene(t, tt.files...)
				o := sc.made()
				sc.command(tt.order)
				sc.dies(o, 15)
				text, err := os.ReadFile(sc.path + "/supervise/proc")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				if word, _, _ := strings.Cut(string(text), " "); word != tt.want {
					t.Errorf("recorded %q, want %q", word, tt.want)
				}
				sc.command(machine.CmdExit)
				if tt.files != nil {
					sc.dies(sc.made(), 0)
				}
				<-sc.over
			})
		})
	}
}

// The time of ./run and ./finish together counts.
func TestRestAfterFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, "finish")
		o := sc.made()
		sc.dies(o, 3<<8)
		f := sc.made()
		if diff := cmp.Diff([]string{"./finish", "3", "0"}, f.argv); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(1200 * time.Millisecond)
		sc.dies(f, 0)
		begin := time.Now()
		sc.made()
		if rest := time.Since(begin); rest != 0 {
			t.Errorf("restarted after %v, want at once", rest)
		}
		sc.command(machine.CmdExit)
		sc.dies(o, 15)
		f = sc.made()
		if diff := cmp.Diff([]string{"./finish", "-1", "15"}, f.argv); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		sc.dies(f, 0)
		<-sc.over
	})
}

// What starts again at once is not written as down first, but where a script comes
// before it that may take its time.
func TestWrittenWhenItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, files := range [][]string{nil, {"control/u"}} {
			sc := newScene(t, files...)
			stat := func() string {
				b, err := sys.Slurp(sc.dir.FD, "supervise/stat", 64)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			up := func(want string) order {
				if files != nil {
					if s := stat(); s != "down\n" {
						t.Errorf("with %q it is %q while the script runs", files, s)
					}
					sc.dies(sc.made(), 0)
					want = "down\n"
				}
				if s := stat(); s != want {
					t.Errorf("with %q it is %q before it runs, want %q", files, s, want)
				}
				o := sc.made()
				if s := stat(); s != "run\n" {
					t.Errorf("with %q it is %q", files, s)
				}
				return o
			}
			o := up("down\n")
			time.Sleep(time.Second)
			sc.dies(o, 0)
			o = up("run\n")
			sc.command(machine.CmdExit)
			sc.dies(o, 15)
			<-sc.over
		}
	})
}

// Where there is more to be done than there are places, as when a tree is told to exit, the
// signal comes first: the files are written when there is a place, or with the end.
func TestWrittenWhenThereIsAPlace(t *testing.T) {
	for _, tt := range []struct {
		name   string
		dies   bool // before there is a place
		before string
		after  string
	}{
		{"it takes its time", false, "run\n", "run, want exit\n"},
		{"it ends before", true, "down\n", "down\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sc := newScene(t)
				o := sc.made()
				free := make(chan struct{})
				for range poolMax {
					sc.core.pool.runStart(func(*worker) { <-free })
				}
				synctest.Wait()
				sc.command(machine.CmdExit)
				if tt.dies {
					sc.dies(o, 15)
				}
				stat := func(want string) {
					t.Helper()
					if got, err := sys.Slurp(sc.dir.FD, "supervise/stat", 64); string(got) != want || err != nil {
						t.Errorf("%q, %v, want %q", got, err, want)
					}
				}
				stat(tt.before)
				close(free)
				synctest.Wait()
				stat(tt.after)
				if !tt.dies {
					sc.dies(o, 15)
				}
				<-sc.over
			})
		})
	}
}

// Commands are obeyed during the rest: up ends it, exit ends all at once.
func TestCommandsDuringTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t)
		o := sc.made()
		sc.dies(o, 0)
		begin := time.Now()
		sc.command(machine.CmdDown)
		sc.command(machine.CmdUp)
		o = sc.made()
		sc.dies(o, 0)
		sc.command(machine.CmdExit)
		<-sc.over
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v, want no time at all", took)
		}
	})
}

func TestProcessThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t)
		o := <-sc.orders
		begin := time.Now()
		sc.post(event{kind: evUnmade, who: o.who, role: o.role, err: errors.New("unable to fork, sleeping")})
		sc.made()
		if rest := time.Since(begin); rest != 5*time.Second {
			t.Errorf("tried again after %v, want 5s", rest)
		}
		sc.command(machine.CmdExit)
		sc.dies(o, 15)
		<-sc.over
	})
}

// A control script that hangs holds up neither the end of the service nor the
// commands of another lane.
func TestHangingControlScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t, "control/h", "control/t")
		run := sc.made()
		runPID := sc.pid
		sc.command(machine.CmdHup)
		hup := sc.made()
		if hup.argv[0] != "control/h" {
			t.Fatalf("%q instead of control/h", hup.argv)
		}
		sc.command(machine.CmdDown)
		term := sc.made() // though control/h has not ended
		if term.argv[0] != "control/t" {
			t.Fatalf("%q instead of control/t", term.argv)
		}
		sc.dies(term, 0) // exit 0 suppresses TERM
		if sc.main.st.Termed {
			t.Error("TERM was sent although control/t exited 0")
		}
		sc.pid = runPID
		sc.dies(run, 0)
		if sc.main.st.Phase != machine.Idle {
			t.Errorf("phase %v, want down", sc.main.st.Phase)
		}
		sc.command(machine.CmdExit)
		<-sc.over
	})
}

// The end of ./run waits for the control script that was to end it: nothing is
// begun meanwhile, supervise/pid does not change, and after ten seconds there is
// a warning.
func TestEndWaitsForControlScript(t *testing.T) {
	for _, tt := range []struct {
		script string
		cmd    machine.Event
	}{{"control/t", machine.CmdTerm}, {"control/t", machine.CmdDown}, {"control/k", machine.CmdKill}} {
		t.Run(tt.script+" by "+string(rune(tt.cmd)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sc := newScene(t, "finish", tt.script)
				var said []string
				sc.core.Say = func(_ diag.Level, _ string, err error) { said = append(said, err.Error()) }
				run := sc.made()
				runPID := sc.pid
				sc.command(tt.cmd)
				script := sc.made()
				scriptPID := sc.pid
				sc.pid = runPID
				sc.dies(run, 15)
				time.Sleep(9 * time.Second)
				synctest.Wait()
				if sc.main.st.Phase != machine.Ending || sc.main.pid != runPID || len(sc.orders) > 0 || len(said) > 0 {
					t.Errorf("phase %v, pid %d, %d orders, said %q", sc.main.st.Phase, sc.main.pid, len(sc.orders), said)
				}
				sc.command(0) // none: for the race detector what was read above comes before what follows
				time.Sleep(time.Minute)
				synctest.Wait()
				want := []string{fmt.Sprintf("%s (pid %d) still runs: what comes after the end of ./run waits for it", tt.script, scriptPID)}
				if diff := cmp.Diff(want, said); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				sc.pid = scriptPID
				sc.dies(script, 0)
				finish := sc.made()
				if diff := cmp.Diff([]string{"./finish", "-1", "15"}, finish.argv); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				sc.command(machine.CmdExit)
				sc.dies(finish, 0)
				<-sc.over
			})
		})
	}
}
