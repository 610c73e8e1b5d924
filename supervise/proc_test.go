package supervise

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// A process that is being made writes its pid into the line.
func TestMakingLife(t *testing.T) {
	for _, word := range []string{state.ProcMaking, state.ProcFinishing} {
		path := t.TempDir() + "/proc"
		l := state.Process{Word: word, Ticks: 1 << 41, World: state.World{Boot: 1<<32 - 1, Space: 7}, Core: 1 << 22, Status: statusUnknown, Pipe: 1<<64 - 1}
		m, err := writeMaking(unix.AT_FDCWD, path, l)
		if err != nil {
			t.Fatal(err)
		}
		back, ok, _ := readLife(unix.AT_FDCWD, path)
		if diff := cmp.Diff(l, back, cmp.AllowUnexported(state.Process{})); !ok || diff != "" {
			t.Errorf("before: %t (-want +got):\n%s", ok, diff)
		}
		write := func(pid uint32) {
			if _, err := unix.Pwrite(m.fd, binary.NativeEndian.AppendUint32(nil, pid), state.ProcPID); err != nil {
				t.Fatal(err)
			}
		}
		for _, pid := range []int{1 << 22, '\n'<<16 | ' '<<8 | '\n'} {
			write(uint32(pid))
			l.PID = pid
			back, ok, _ = readLife(unix.AT_FDCWD, path)
			if diff := cmp.Diff(l, back, cmp.AllowUnexported(state.Process{})); !ok || diff != "" {
				t.Errorf("made: %t (-want +got):\n%s", ok, diff)
			}
		}
		write(1 << 31)
		if l, ok, _ := readLife(unix.AT_FDCWD, path); ok {
			t.Errorf("a pid that is none is accepted: %+v", l)
		}
		m.close()
		after := state.Process{Word: state.ProcRun, PID: 7, Ticks: 8}
		if err := writeLife(unix.AT_FDCWD, path, after); err != nil {
			t.Fatal(err)
		}
		if back, ok, _ := readLife(unix.AT_FDCWD, path); !ok || back != after {
			t.Errorf("after: %+v, %t", back, ok)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "12 (a) b (c) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 268112" + strings.Repeat(" 0", 29) + " 256"
	got, ok := parseStat([]byte(line))
	if diff := cmp.Diff(procStat{"a) b (c", 'S', 7, 268112, 256}, got, cmp.AllowUnexported(procStat{})); !ok || diff != "" {
		t.Errorf("%t (-want +got):\n%s", ok, diff)
	}
	for _, bad := range []string{"", "12", "12 (a", "12 (a) S", ")(", "1 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
	own, ok, _ := statOf(os.Getpid())
	if !ok || own.ppid != os.Getppid() || own.ticks == 0 || own.ticks > ticksNow() {
		t.Errorf("own: %+v, %t; now %d", own, ok, ticksNow())
	}
}

// A record that is no file of its own tells nothing.
func TestReadLife(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/proc"
	l := state.Process{Word: state.ProcRun, PID: 1, Ticks: 1, Core: 1}
	if err := writeLife(unix.AT_FDCWD, path, l); err != nil {
		t.Fatal(err)
	}
	if back, ok, _ := readLife(unix.AT_FDCWD, path); !ok || back != l {
		t.Errorf("%+v, %t", back, ok)
	}
	if err := os.Symlink(path, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := writeLife(unix.AT_FDCWD, dir+"/link", l); err == nil {
		t.Error("a record was written through a link")
	}
	if _, ok, err := readLife(unix.AT_FDCWD, dir+"/none"); ok || err != nil {
		t.Error("an absent record counts")
	}
}
