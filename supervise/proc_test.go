package supervise

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLife(t *testing.T) {
	boot := "85ff9b2e-396b-4bbd-8f67-40ec1c2f8c79"
	for _, l := range []Life{
		{Word: LifeMaking, Ticks: 1 << 40, Boot: boot, Core: 1 << 22},
		{Word: LifeRun, PID: 1 << 22, Ticks: 1<<63 - 1, Boot: boot, Core: 1 << 22, Status: statusUnknown},
		{Word: LifeEnded, Boot: boot, Core: 7, Status: 139, Pipe: 1 << 63},
		{Word: LifeFinish, PID: 9, Ticks: 12, Boot: boot, Status: 3 << 8},
		{Word: LifeDown, Boot: "-"},
	} {
		b := lineOf(l)
		back, ok := parseLife(b)
		if !ok {
			t.Errorf("%q is not accepted", b)
		}
		if diff := cmp.Diff(l, back); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	whole := string(lineOf(Life{Word: LifeRun, PID: 9, Ticks: 12, Boot: boot, Core: 3}))
	making := string(lineOf(Life{Word: LifeMaking, Ticks: 12, Boot: boot, Core: 3}))
	for name, text := range map[string]string{
		"empty":        "",
		"blank":        blank,
		"cut short":    whole[:60],
		"too long":     whole + "x",
		"garbage":      strings.Repeat("\xff", lifeSize-1) + "\n",
		"no pid":       strings.Replace(whole, "run 9 ", "run 0 ", 1),
		"wrote pid 0":  making[:lifePID] + "\x00\x00\x00\x00" + making[lifePID+4:],
		"another word": strings.Replace(whole, "run 9 ", "ran 9 ", 1),
		"a field less": strings.Replace(whole, " 3 0 0 ", " 3 0   ", 1),
	} {
		if l, ok := parseLife([]byte(text)); ok {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

// A process that is being made writes its pid into the line.
func TestMakingLife(t *testing.T) {
	for _, word := range []string{LifeMaking, LifeFinishing} {
		path := t.TempDir() + "/proc"
		l := Life{Word: word, Ticks: 1<<64 - 1, Boot: bootID(), Core: 1 << 22, Status: statusUnknown, Pipe: 1<<64 - 1}
		m, err := writeMaking(unix.AT_FDCWD, path, l)
		if err != nil {
			t.Fatal(err)
		}
		back, ok := readLife(unix.AT_FDCWD, path)
		if diff := cmp.Diff(l, back); !ok || diff != "" {
			t.Errorf("before: %t (-want +got):\n%s", ok, diff)
		}
		write := func(pid uint32) {
			if _, err := unix.Pwrite(m.fd, binary.NativeEndian.AppendUint32(nil, pid), lifePID); err != nil {
				t.Fatal(err)
			}
		}
		for _, pid := range []int{1 << 22, '\n'<<16 | ' '<<8 | '\n'} {
			write(uint32(pid))
			l.PID = pid
			back, ok = readLife(unix.AT_FDCWD, path)
			if diff := cmp.Diff(l, back); !ok || diff != "" {
				t.Errorf("made: %t (-want +got):\n%s", ok, diff)
			}
		}
		write(1 << 31)
		if l, ok := readLife(unix.AT_FDCWD, path); ok {
			t.Errorf("a pid that is none is accepted: %+v", l)
		}
		m.close()
		after := Life{Word: LifeRun, PID: 7, Ticks: 8, Boot: bootID()}
		if err := writeLife(unix.AT_FDCWD, path, after); err != nil {
			t.Fatal(err)
		}
		if back, ok := readLife(unix.AT_FDCWD, path); !ok || back != after {
			t.Errorf("after: %+v, %t", back, ok)
		}
	}
}

func lineOf(l Life) []byte {
	b := l.bytes()
	return b[:]
}

func FuzzParseLife(f *testing.F) {
	f.Add(lineOf(Life{Word: LifeRun, PID: 9, Ticks: 12, Boot: "x", Core: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := parseLife(b)
		if !ok {
			return
		}
		if back, ok := parseLife(lineOf(l)); !ok || back != l {
			t.Errorf("%+v became %+v", l, back)
		}
	})
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
	own, ok := statOf(os.Getpid())
	if !ok || own.ppid != os.Getppid() || own.ticks == 0 || own.ticks > ticksNow() {
		t.Errorf("own: %+v, %t; now %d", own, ok, ticksNow())
	}
}

// A record of an earlier boot, or one that is no file of its own, tells nothing.
func TestReadLife(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/proc"
	l := Life{Word: LifeRun, PID: 1, Ticks: 1, Boot: bootID(), Core: 1}
	if err := writeLife(unix.AT_FDCWD, path, l); err != nil {
		t.Fatal(err)
	}
	if back, ok := readLife(unix.AT_FDCWD, path); !ok || back != l {
		t.Errorf("%+v, %t", back, ok)
	}
	old := l
	old.Boot = "00000000-0000-0000-0000-000000000000"
	if err := writeLife(unix.AT_FDCWD, path, old); err != nil {
		t.Fatal(err)
	}
	if back, ok := readLife(unix.AT_FDCWD, path); ok {
		t.Errorf("a record of another boot counts: %+v", back)
	}
	if err := os.Symlink(path, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := writeLife(unix.AT_FDCWD, dir+"/link", l); err == nil {
		t.Error("a record was written through a link")
	}
	if _, ok := readLife(unix.AT_FDCWD, dir+"/none"); ok {
		t.Error("an absent record counts")
	}
}
