package proc

import (
	"encoding/binary"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// A process that is being made writes its pid into the line.
func TestMaking(t *testing.T) {
	for _, word := range []string{state.ProcMaking, state.ProcFinishing} {
		path := t.TempDir() + "/proc"
		l := state.Process{Word: word, Ticks: 1 << 41, World: state.World{Boot: 1<<32 - 1, Space: 7}, Core: 1 << 22, Status: 0xffff0000, Pipe: 1<<64 - 1}
		m, err := WriteMaking(unix.AT_FDCWD, path, l)
		if err != nil {
			t.Fatal(err)
		}
		back, ok, _ := Read(unix.AT_FDCWD, path)
		if diff := cmp.Diff(l, back); !ok || diff != "" {
			t.Errorf("before: %t (-want +got):\n%s", ok, diff)
		}
		write := func(pid uint32) {
			if _, err := unix.Pwrite(m.FD, binary.NativeEndian.AppendUint32(nil, pid), state.ProcPID); err != nil {
				t.Fatal(err)
			}
		}
		for _, pid := range []int{1 << 22, '\n'<<16 | ' '<<8 | '\n'} {
			write(uint32(pid))
			l.PID = pid
			back, ok, _ = Read(unix.AT_FDCWD, path)
			if diff := cmp.Diff(l, back); !ok || diff != "" {
				t.Errorf("made: %t (-want +got):\n%s", ok, diff)
			}
		}
		write(1 << 31)
		if l, ok, _ := Read(unix.AT_FDCWD, path); ok {
			t.Errorf("a pid that is none is accepted: %+v", l)
		}
		m.Close()
		after := state.Process{Word: state.ProcRun, PID: 7, Ticks: 8}
		if err := Write(unix.AT_FDCWD, path, after); err != nil {
			t.Fatal(err)
		}
		if back, ok, _ := Read(unix.AT_FDCWD, path); !ok || back != after {
			t.Errorf("after: %+v, %t", back, ok)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "12 (a) b (c) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 268112" + strings.Repeat(" 0", 29) + " 256"
	got, ok := parseStat([]byte(line))
	if diff := cmp.Diff(Stat{"a) b (c", 'S', 7, 268112, 256}, got); !ok || diff != "" {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
	for _, bad := range []string{"", "12", "12 (a", "12 (a) S", ")(", "1 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
	own, ok, _ := StatOf(os.Getpid())
	if !ok || own.PPID != os.Getppid() || own.Ticks == 0 || own.Ticks > TicksNow() {
		t.Errorf("own: %+v, %t; now %d", own, ok, TicksNow())
	}
}

// A record that is no file of its own tells nothing.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/proc"
	l := state.Process{Word: state.ProcRun, PID: 1, Ticks: 1, Core: 1}
	if err := Write(unix.AT_FDCWD, path, l); err != nil {
		t.Fatal(err)
	}
	if back, ok, _ := Read(unix.AT_FDCWD, path); !ok || back != l {
		t.Errorf("%+v, %t", back, ok)
	}
	if err := os.Symlink(path, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := Write(unix.AT_FDCWD, dir+"/link", l); err == nil {
		t.Error("a record was written through a link")
	}
	if _, ok, err := Read(unix.AT_FDCWD, dir+"/none"); ok || err != nil {
		t.Error("an absent record counts")
	}
}

// TestWorldOfOwn is known, and the same each time.
func TestWorldOfOwn(t *testing.T) {
	a, err1 := ReadWorld()
	b, err2 := ReadWorld()
	if err1 != nil || err2 != nil || a != b || a.Boot == 0 || a.Space == 0 {
		t.Errorf("%+v, %v; %+v, %v", a, err1, b, err2)
	}
}

// Who only reads a record keeps nobody from making a process.
func TestReadHoldsNoLock(t *testing.T) {
	path := t.TempDir() + "/proc"
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					Read(unix.AT_FDCWD, path)
				}
			}
		})
	}
	for range 5000 {
		m, err := WriteMaking(unix.AT_FDCWD, path, state.Process{Word: state.ProcMaking})
		if err != nil {
			t.Error(err)
			break
		}
		m.Close()
	}
	close(over)
	readers.Wait()
}

// What a process has used is told in a word, which is taken only where it is whole.
func TestParseUsage(t *testing.T) {
	for text, want := range map[string]Usage{
		"1234 5000": {true, 1234, 5 * time.Millisecond}, "0 0": {Known: true}, "": {}, "1234": {}, "1234 x": {}, "1 2 3": {}, " ": {},
	} {
		got := ParseUsage(text)
		if got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
		if got.Known && got.String() != text {
			t.Errorf("%q is told as %q", text, got.String())
		}
	}
}
