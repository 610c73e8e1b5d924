package core

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/state"
)

// newSceneWithFIFO is a service that is down, and its supervise/control.
func newSceneWithFIFO(t *testing.T) (sc *scene, control int) {
	t.Helper()
	sc = newScene(t, "down")
	sc.main.st, sc.ordered = machine.Status{Phase: machine.Idle, Want: state.WantDown}, 0
	if err := sc.dir.MakeFIFO("supervise/control"); err != nil {
		t.Fatal(err)
	}
	control, err := sc.dir.OpenFIFO("supervise/control", unix.O_RDWR, "open")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(control) })
	sc.main.control = control
	return sc, control
}

// TestExitBeforeDetach holds that a service which the scanner has told to exit does so,
// although another core has asked for it before: that one would know of no such order.
func TestExitBeforeDetach(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event event // what comes before the order
	}{
		{"the request is read with the order", event{kind: evReady}},
		{"the request is read before the order", event{kind: evReadable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc, control := newSceneWithFIFO(t)
			sc.core.orphaned = true
			sc.main.st = machine.Status{Phase: machine.Running, Want: state.WantUp}
			unix.Write(control, []byte{byte(byteDetach)})
			tt.event.who = &sc.main
			sc.inbox.owned = true
			sc.post(tt.event)
			sc.post(event{kind: evCommand, cmd: machine.CmdExit})
			sc.work(nil)
			if sc.detached || sc.main.st.Want != state.WantExit {
				t.Errorf("detached %v, wants %v", sc.detached, sc.main.st.Want)
			}
		})
	}
}

// TestCommandsWait holds that a command is in its FIFO until the order that it gives is
// recorded, and out of it before it is acted on: a core that is killed meanwhile leaves
// it to the next, and no signal is sent twice. That a record is being written shows
// where it cannot be.
func TestCommandsWait(t *testing.T) {
	sc, fd := newSceneWithFIFO(t)
	u := &sc.main
	var err error
	if u.rec.Place, err = sc.place(""); err != nil {
		t.Fatal(err)
	}
	if _, err := sc.core.here(); err != nil {
		t.Fatal(err)
	}
	os.Remove(sc.path + "/supervise/proc")
	if err := os.Mkdir(sc.path+"/supervise/proc", 0o700); err != nil {
		t.Fatal(err)
	}
	type moment struct {
		What    string
		Waiting int
	}
	var got []moment
	look := func(what string) {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, moment{what, n})
	}
	sc.core.start = func(o order) { look(o.argv[0]) }
	sc.core.Say = func(_ diag.Level, _ string, err error) {
		if errors.Is(err, unix.EISDIR) {
			look("record")
		}
	}
	unix.Write(fd, []byte("?ux"))
	sc.drain(u)
	sc.repairTimer.Stop()
	look("all obeyed")
	want := []moment{{"record", 2}, {"./run", 1}, {"all obeyed", 0}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
