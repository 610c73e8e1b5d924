package core

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
)

// TestWorth compares records with where they are read.
func TestWorth(t *testing.T) {
	w, p := state.World{Boot: 1, Space: 0x50002}, state.Place{Dir: 3, Lock: 4}
	worlds := map[string]struct {
		state.World
		same bool
	}{
		"the same world":             {w, true},
		"another boot":               {state.World{Boot: 9, Space: 0x50002}, false},
		"another namespace":          {state.World{Boot: 1, Space: 0x60009}, false},
		"another, by its inode":      {state.World{Boot: 1, Space: 0x50009}, false},
		"another, by its process 1":  {state.World{Boot: 1, Space: 0x60002}, false},
		"another, without /proc":     {state.World{Boot: 0, Space: 0x60000}, false},
		"the same, without /proc":    {state.World{Boot: 0, Space: 0x50000}, true},
		"the same, without pidfs":    {state.World{Boot: 1, Space: 2}, true},
		"a namespace that is hidden": {state.World{Boot: 1, Space: 0}, true},
		"without /proc":              {state.World{}, true},
	}
	places := map[string]struct {
		state.Place
		worth trust
	}{
		"the same place": {p, trustAll},
		"a copy":         {state.Place{Dir: 8, Lock: 9}, untrusted},
		"another lock":   {state.Place{Dir: 3, Lock: 9}, trustProcess},
		"a directory put beside the same supervise directory": {state.Place{Dir: 9, Lock: 4}, trustStopped},
	}
	for wn, wt := range worlds {
		for pn, pt := range places {
			want := pt.worth
			if !wt.same {
				want = untrusted
			}
			if got := trustOf(state.Process{World: wt.World, Place: pt.Place}, w, p); got != want {
				t.Errorf("%s, %s: %d, want %d", wn, pn, got, want)
			}
		}
	}
}

// TestJudge says of each kind of record what it means.
func TestJudge(t *testing.T) {
	all := map[string]verdict{}
	for _, w := range []trust{untrusted, trustProcess, trustStopped, trustAll} {
		for _, runs := range []bool{false, true} {
			for _, tree := range []string{"this tree", "a tree that lives", "a tree that is gone"} {
				for _, want := range []state.Want{state.WantUp, state.WantDown, state.WantOnce, state.WantExit} {
					v := judge(state.Process{Want: want}, w, runs, tree == "this tree", tree == "a tree that lives")
					name := fmt.Sprintf("worth %d, runs %t, %s, %c", w, runs, tree, want.Command())
					all[name] = v
				}
			}
		}
	}
	want := map[string]verdict{}
	for name := range all {
		var w int
		var runs bool
		var tree string
		fmt.Sscanf(name, "worth %d, runs %t,", &w, &runs)
		tree = name[len(fmt.Sprintf("worth %d, runs %t, ", w, runs)):]
		order := tree[len(tree)-1]
		tree = tree[:len(tree)-3]
		switch {
		case trust(w) == trustAll && tree == "this tree":
			want[name] = verdict{counts: true, order: true}
		case trust(w) == trustAll && (runs || tree == "a tree that lives"):
			want[name] = verdict{counts: true, order: order != 'x'} // exit was for another supervisor
		case trust(w) == trustProcess && runs:
			want[name] = verdict{counts: true}
		case trust(w) == trustStopped && runs:
			want[name] = verdict{counts: true, stop: true}
		default:
			want[name] = verdict{}
		}
	}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(verdict{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPlace tells a copy of a directory from the directory under another name.
func TestPlace(t *testing.T) {
	root := t.TempDir()
	at := func(name string) state.Place {
		t.Helper()
		dir, err := servicedir.Open(root + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(dir.FD)
		p, err := (&service{dir: dir}).place("")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := os.MkdirAll(root+"/web/supervise", 0o755); err != nil {
		t.Fatal(err)
	}
	if p := at("web"); p.Lock != 0 || p.Dir == 0 {
		t.Errorf("without a lock: %+v", p)
	}
	if err := os.WriteFile(root+"/web/supervise/lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	web := at("web")
	for _, cmd := range [][]string{{"cp", "-a", "web", "copy"}, {"mv", "web", "moved"}, {"ln", "-s", "moved", "link"}, {"cp", "-a", "copy", "web"}} {
		c := exec.Command(cmd[0], cmd[1:]...)
		c.Dir = root
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, same := range map[string]bool{"moved": true, "link": true, "copy": false, "web": false} {
		p := at(name)
		if (p == web) != same || !same && (p.Dir == web.Dir || p.Lock == web.Lock) {
			t.Errorf("%s: %+v, was %+v", name, p, web)
		}
	}
	// Restored in its place, the file that is locked is another, whatever its inode.
	before := at("moved")
	os.Remove(root + "/moved/supervise/lock")
	os.WriteFile(root+"/moved/supervise/lock", nil, 0o600)
	if p := at("moved"); p.Dir != before.Dir || p.Lock == before.Lock {
		t.Errorf("with a new lock: %+v, was %+v", p, before)
	}
}
