package survey

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// TestMeasureMany counts more processes than one read of their list tells.
func TestMeasureMany(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 2000 processes")
	}
	const many = 2000
	runtime.LockOSThread() // they are the children of one thread
	defer runtime.UnlockOSThread()
	before := Measure(os.Getpid()).Processes
	var pids []int
	defer func() {
		for _, pid := range pids {
			unix.Wait4(pid, nil, 0, nil)
		}
	}()
	for range many {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		if err != nil {
			t.Skip(err)
		}
		pids = append(pids, pid)
		unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	if got := Measure(os.Getpid()).Processes - before; got != many {
		t.Errorf("%d of %d processes are counted", got, many)
	}
}

// TestLogDirsEnding: between the two files that tell of the end of a log service the logs
// that its process writes for others are not taken for its own, nor is what it uses.
func TestLogDirsEnding(t *testing.T) {
	self, other := os.Getpid(), t.TempDir()
	open, err := os.Create(other + "/current") // this process is the host, and writes this
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, tt := range []struct {
		name   string
		told   state.Process
		shared bool
	}{
		{"its own", state.Process{Word: state.ProcRun, PID: self}, false},
		{"without a record", state.Process{}, false},
		{"shared", state.Process{Word: state.ProcHosted, PID: self, Status: 3}, true},
		{"it has ended", state.Process{Word: state.ProcDown}, true},
		{"another has begun", state.Process{Word: state.ProcRun, PID: self + 1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "web")
			for _, one := range []string{dir, dir + "/log"} {
				if err := os.MkdirAll(one+"/supervise", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := unix.Mkfifo(one+"/supervise/ok", 0o600); err != nil {
					t.Fatal(err)
				}
				ok, err := os.OpenFile(one+"/supervise/ok", os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer ok.Close()
			}
			record, told := state.Record{Since: time.Now(), PID: self, Want: state.WantUp, State: state.Run}, tt.told.Bytes()
			for name, text := range map[string][]byte{
				"supervise/status": record.Bytes(), "log/supervise/status": record.Bytes(), "log/supervise/proc": told[:],
				"log/run": []byte("#!/bin/sh\nexec svlogd ./logs\n"), "log/logs/current": nil,
			} {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, text, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			want := other
			if tt.shared {
				want = dir + "/log/logs"
			}
			s := At("web", dir, Look{Usage: true})
			if s.Log == nil || s.Log.Err != nil {
				t.Fatalf("%+v", s.Log)
			}
			if diff := cmp.Diff([]string{want}, LogDirs(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if counted := s.Log.Use.Processes > 0; counted == tt.shared {
				t.Errorf("what its process uses is counted: %t", counted)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	names := []string{"nginx", "sshd", "postgresql", "cron", "a"}
	for word, want := range map[string]string{
		"ngnix": "nginx", "nginxx": "nginx", "shsd": "sshd", "postgres": "postgresql", "corn": "cron",
		"completely": "", "": "a", "b": "a", "xy": "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// FuzzFormat reads programs of any bytes.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"#!/bin/sh\n", "#!", "\x7fELF\x02\x01", "#! /usr/bin/env -S x\r\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) { format("/nosuch", "run", head) })
}
