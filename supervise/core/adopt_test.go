package core

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
)

// openedFDs counts the descriptors of this process, but for the one that it takes.
func openedFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Whatever a service cannot be opened for, no descriptor is left of it, though its
// process runs: neither of those that it has opened itself, nor of those that the
// scanner has kept. When it is opened later, it has its process.
func TestOpenLeaksNothing(t *testing.T) {
	pid, err := (child.Child{Path: "/bin/sh", Argv: []string{"sh", "-c", "exec sleep 1000"}, Files: []int{0, 1, 2}}).Start(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Wait4(pid, nil, 0, nil)
	defer unix.Kill(pid, unix.SIGKILL)
	for _, tt := range []struct {
		name  string
		wrong string // which file
		dir   bool   // is a directory, else a file
		fails bool
	}{
		{"nothing is wrong", "none", false, false},
		{"supervise is a file", "supervise", false, true},
		{"lock is a directory", "supervise/lock", true, true},
		{"control is no FIFO", "supervise/control", false, true},
		{"ok is no FIFO", "supervise/ok", false, true},
		{"log is a file", "log", false, false},
		{"log/supervise is a file", "log/supervise", false, true},
		{"log/supervise/lock is a directory", "log/supervise/lock", true, true},
		{"log/supervise/control is no FIFO", "log/supervise/control", false, true},
		{"log/supervise/ok is no FIFO", "log/supervise/ok", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := bareCore(t)
			if err := c.poller.open(); err != nil { // it is closed with its last use
				t.Fatal(err)
			}
			path := t.TempDir()
			for _, name := range []string{"supervise", "log/supervise"} {
				if err := os.MkdirAll(filepath.Join(path, name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			st, ok, err := proc.StatOf(pid)
			if !ok || err != nil {
				t.Fatal("the process is not there", err)
			}
			opened, err := servicedir.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			place, err := (&service{dir: opened}).place("")
			unix.Close(opened.FD)
			if err != nil {
				t.Fatal(err)
			}
			record := state.Process{Word: state.ProcRun, PID: pid, Ticks: st.Ticks, Place: place, Core: 1}
			for _, prefix := range []string{"/", "/log/"} {
				if err := proc.Write(unix.AT_FDCWD, path+prefix+"supervise/proc", record); err != nil {
					t.Fatal(err)
				}
			}
			wrong := filepath.Join(path, tt.wrong)
			if tt.wrong == "supervise" || tt.wrong == "log" || tt.wrong == "log/supervise" {
				os.RemoveAll(wrong)
			}
			if tt.dir {
				err = os.Mkdir(wrong, 0o700)
			} else {
				err = os.WriteFile(wrong, nil, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			try := func() error {
				dir, err := servicedir.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				k := stash{}
				for _, tag := range []string{"control", "ok", "log/control", "log/ok", "pipe", "pid1"} {
					if k[tag], err = unix.MemfdCreate(tag, unix.MFD_CLOEXEC); err != nil {
						t.Fatal(err)
					}
				}
				s := newService(c, "web", "key", dir)
				s.yield = func() {}
				err = s.open(k)
				if err == nil && tt.wrong != "log" && s.main.pid != pid {
					t.Errorf("its process is %d, want %d", s.main.pid, pid)
				}
				s.detached = true
				s.close()
				c.procs.unreserve("key")
				return err
			}
			try() // the first has more to do than the others
			before := openedFDs(t)
			for range 5 {
				if err := try(); (err != nil) != tt.fails {
					t.Errorf("%v", err)
				}
			}
			after := openedFDs(t)
			for end := time.Now().Add(10 * time.Second); after > before && time.Now().Before(end); after = openedFDs(t) {
				time.Sleep(time.Millisecond) // what the scanner got is closed there
			}
			if after > before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
		})
	}
}

// A core that is asked to let go before it knows that its scanner is gone is asked
// again.
func TestAskedAgain(t *testing.T) {
	path := t.TempDir()
	dir, err := servicedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir.FD)
	if _, err := dir.MakeSupervise(""); err != nil {
		t.Fatal(err)
	}
	held, err := dir.Lock("")
	if err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(path, "supervise/control")
	if err := unix.Mkfifo(control, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	go func() {
		b := make([]byte, 1)
		fifo.Read(b) // of which it thinks nothing
		fifo.Read(b)
		unix.Close(held)
	}()
	s := newService(bareCore(t), "web", "key", dir)
	s.yield = func() {}
	l, err := s.waitForLock(&s.main, state.Process{}, unix.EAGAIN)
	if err != nil {
		t.Fatal("the lock was not got:", err)
	}
	unix.Close(l)
}

// What is left of the rest behind the last end is still due under the next core, be it the
// second that all rest or the pause of backoff, and not more than that.
func TestFoundInTheRest(t *testing.T) {
	tests := []struct {
		name  string
		pause time.Duration // of backoff
		since time.Duration // since the last end
		want  machine.Event
	}{
		{"within the second", 0, 0, machine.BeginSoon},
		{"after the second", 0, 30 * time.Second, machine.Begin},
		{"within the pause of backoff", time.Minute, 30 * time.Second, machine.BeginSoon},
		{"after the pause of backoff", time.Minute, 90 * time.Second, machine.Begin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &service{}
			s.main.began = time.Now().Add(-tt.since)
			s.main.deaths.Pause = tt.pause
			if got := s.found(&s.main); got != tt.want {
				t.Errorf("event %d, want %d", got, tt.want)
			}
		})
	}
}
