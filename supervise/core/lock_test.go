package core

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
)

// openService is a service of a new directory with an empty supervise.
func openService(t *testing.T, c *Core) (s *service, path string) {
	t.Helper()
	path = t.TempDir()
	if err := os.Mkdir(filepath.Join(path, "supervise"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := servicedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir.FD) })
	return newService(c, "web", "key", dir), path
}

// Where a service cannot be opened now, as one whose record may still change, it is tried
// again later. Until then the scanner has its lock as before, so that no other supervisor
// comes in, and the process that the record names is kept for it.
func TestKeptLockIsGivenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		lock bool // supervise/lock cannot be opened; else a process is still being made
		want error
	}{
		{"being made", false, proc.ErrBeingMade},
		{"the lock cannot be opened", true, unix.EISDIR},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := bareCore(t)
			s, path := openService(t, c)
			scanners, err := s.dir.Lock("")
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(scanners)
			kept, err := unix.Dup(scanners)
			if err != nil {
				t.Fatal(err)
			}
			lock := filepath.Join(path, "supervise/lock")
			other, err := unix.Open(lock, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(other)
			place, err := s.place("")
			if err != nil {
				t.Fatal(err)
			}
			st, ok, err := proc.StatOf(os.Getpid())
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			at, err := c.here()
			if err != nil {
				t.Fatal(err)
			}
			m, err := proc.WriteMaking(s.dir.FD, "supervise/proc", state.Process{
				Word: state.ProcRun, PID: os.Getpid(), Ticks: st.Ticks, World: at.world, Tree: at.tree, Place: place, Core: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if tt.lock {
				if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
					t.Fatal(err)
				}
			}

			if _, err := s.lock(&s.main, stash{"lock": kept}, policy.Names{Supervise: true}); !errors.Is(err, tt.want) {
				t.Fatalf("locked with %v, want %v", err, tt.want)
			}
			if err := unix.Flock(other, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
				t.Errorf("another supervisor gets the lock: %v", err)
			}
			if p := c.procs.known[os.Getpid()]; p == nil || p.reservedFor != "key" {
				t.Errorf("its process is not kept for it: %+v", p)
			}
			c.procs.unreserve("key")
			if c.procs.known[os.Getpid()] != nil || c.procs.reserved != 0 {
				t.Errorf("it is still kept, and %d in all", c.procs.reserved)
			}
		})
	}
}

// A supervise directory that is removed between the look at its parent and the lock is made
// again.
func TestSuperviseGoesBeforeTheLock(t *testing.T) {
	s, path := openService(t, bareCore(t))
	if err := os.Remove(filepath.Join(path, "supervise")); err != nil {
		t.Fatal(err)
	}
	_, err := s.lock(&s.main, stash{}, policy.Names{Supervise: true})
	if err != nil || !s.main.fresh {
		t.Errorf("%v, fresh: %v", err, s.main.fresh)
	}
	s.main.unlock(false)
}

// A core may be killed between the writing of supervise/stat and of supervise/status, and
// then one is newer than the other. What the next core takes for the content of stat is
// what is in it, whatever both say; else it would leave it as it is.
func TestStatIsWhatItSays(t *testing.T) {
	var all []state.Record
	for st := state.Down; st <= state.Finish; st++ {
		for want := state.WantUp; want <= state.WantExit; want++ {
			for flags := range 4 {
				all = append(all, state.Record{State: st, Want: want, Paused: flags&1 != 0, Termed: flags&2 != 0})
			}
		}
	}
	s, path := openService(t, bareCore(t))
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(path, "supervise", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts := map[string]bool{}
	for _, r := range all {
		texts[r.Text()] = true
	}
	for _, r := range all {
		write("status", r.Bytes())
		for text := range texts {
			write("stat", []byte(text))
			var was priorState
			if err := s.readStatus("", &was); err != nil || was.stat != text {
				t.Fatalf("status of %+v: stat is taken for %q, %v; it is %q", r, was.stat, err, text)
			}
		}
	}
	os.Remove(filepath.Join(path, "supervise/stat"))
	var was priorState
	if err := s.readStatus("", &was); err != nil || was.stat != "" {
		t.Errorf("no stat: %q, %v", was.stat, err)
	}
}

// A core writes the status files behind the record. Where another reads them in between,
// before it has the lock, it reads them again when it has: else it would leave them as they
// are, and wrong.
func TestStatusBehindTheRecord(t *testing.T) {
	c := bareCore(t)
	s, path := openService(t, c)
	lock, err := s.dir.Lock("")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lock)
	if s.main.rec.Place, err = s.place(""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.here(); err != nil {
		t.Fatal(err)
	}
	if err := proc.Write(s.at(""), "supervise/proc", c.sign(&s.main, state.Process{Word: state.ProcEnded})); err != nil {
		t.Fatal(err)
	}
	write := func(r state.Record) {
		t.Helper()
		for name, b := range map[string][]byte{"status": r.Bytes(), "stat": []byte(r.Text())} {
			if err := os.WriteFile(filepath.Join(path, "supervise", name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var was priorState
	write(state.Record{State: state.Run, PID: 10, Want: state.WantUp})
	if err := s.before(&s.main, nil, &was); err != nil || was.stat != "run\n" {
		t.Fatalf("before the lock: %q, %v", was.stat, err)
	}
	write(state.Record{State: state.Down, Want: state.WantUp})
	if err := s.settled(&s.main, nil, &was); err != nil || was.stat != "down\n" {
		t.Errorf("with the lock: %q, %v", was.stat, err)
	}
}
