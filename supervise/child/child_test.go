package child

import (
	"encoding/binary"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// seal has no child get what the tests were started with.
func seal(t *testing.T) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// alone is Start without a slot.
func alone(c Child, files *unix.Rlimit) (int, error) { return c.Start(nil, files) }

// inSession is StartInSession without a slot.
func inSession(c Child, files *unix.Rlimit) (int, error) { return c.StartInSession(nil, files) }

// testWay is a way to make a child: what is refused before.
type testWay struct {
	name    string
	refused []refusal
}

// use has children be made that way.
func (w testWay) use() {
	for no := range refused {
		refused[no].Store(slices.Contains(w.refused, refusal(no)))
	}
}

// ways are how a child is made, from a kernel of today down to an emulator's.
func ways(t *testing.T) []testWay {
	t.Cleanup(testWay{}.use)
	all := []testWay{
		{"clone3", nil},
		{"clone", []refusal{noClone3}},
		{"a copy of the descriptors", []refusal{noClone3, noShare}},
		{"no close_range", []refusal{noShare, noRange}},
		{"fork", []refusal{noClone3, noShare, noVfork}},
		{"fork without close_range", []refusal{noClone3, noShare, noVfork, noRange}},
	}
	if !hasVfork {
		return all[len(all)-2:]
	}
	return all
}

// TestChild makes processes each way that there is and has them say how they
// are: arguments, environment, descriptors, limits, session, signals.
func TestChild(t *testing.T) {
	seal(t)
	signal.Ignore(unix.SIGHUP)
	defer signal.Reset(unix.SIGHUP)
	const shows = `echo "$0 $1 $A"
		ulimit -Sn; ulimit -Hn
		fds=; for fd in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$fd ] && fds="$fds $fd"; done; echo $fds
		cat <&0; cat <&3
		set -- $(cat /proc/$$/stat); echo $1 $6 | sed 's/^\([0-9]*\) \1$/leads/; s/[0-9][0-9]*/N/g'
		exec sed -n 's/^Sig\(Blk\|Cgt\):[^0-9a-f]*/\1 /p; s/^SigIgn:.*\(.\)$/Ign \1/p; $q7' /proc/self/status`
	dir := t.TempDir()
	file := func(name, text string) int {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	var own unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &own)
	for _, way := range ways(t) {
		t.Run(way.name, func(t *testing.T) {
			way.use()
			for _, tt := range []struct {
				name    string
				session bool
				start   func(Child, *unix.Rlimit) (int, error)
				limit   *unix.Rlimit
				want    string
			}{
				{"as it is", false, alone, nil, "N N\n"},
				{"a session", true, alone, nil, "leads\n"},
				{"in a session", false, inSession, nil, "N N\n"},
				{"limits", false, alone, &unix.Rlimit{Cur: 50, Max: 60}, "N N\n"},
			} {
				out := file("out", "")
				c := Child{
					Path: "/bin/sh", Argv: []string{"sh", "-c", shows, "zero", "one"}, Env: []string{"A=value", "PATH=/usr/bin:/bin"},
					Files: []int{file("in", "stdin\n"), out, 2, file("three", "three\n")}, Session: tt.session,
				}
				c.Record = file("record", state.Blank)
				pid, err := tt.start(c, tt.limit)
				if err != nil {
					t.Fatal(tt.name, err)
				}
				record, _ := os.ReadFile(filepath.Join(dir, "record"))
				if wrote := int(binary.NativeEndian.Uint32(record[state.ProcPID:])); wrote != pid || len(record) != state.ProcSize {
					t.Errorf("%s: the child wrote pid %d into %q, it is %d", tt.name, wrote, record, pid)
				}
				var ws unix.WaitStatus
				if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil || ws.ExitStatus() != 7 {
					t.Error(tt.name, ws, err)
				}
				got, _ := os.ReadFile(filepath.Join(dir, "out"))
				text := string(got)
				limits := regexp.MustCompile(`(?m)^(\d+)\n(\d+)$`)
				if tt.limit != nil {
					if !strings.Contains(text, "\n50\n60\n") {
						t.Errorf("%s: limits: %s", tt.name, text)
					}
				}
				text = limits.ReplaceAllString(text, "SOFT HARD")
				want := "zero one value\nSOFT HARD\n0 1 2 3\nstdin\nthree\n" + tt.want + "Blk 0000000000000000\nIgn 1\nCgt 0000000000000000\n"
				if diff := cmp.Diff(want, text); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
			}
			for path, want := range map[string]error{
				dir + "/none": unix.ENOENT, dir: unix.EACCES, dir + "/in": unix.EACCES, "/dev/null/x": unix.ENOTDIR, "a\x00b": unix.EINVAL,
			} {
				c := Child{Path: path, Argv: []string{"x"}, Files: []int{0, 1, 2}}
				if pid, err := c.Start(nil, nil); err != want {
					t.Errorf("%q: pid %d, %v, want %v", path, pid, err, want)
				}
				if pid, err := inSession(c, nil); err != want {
					t.Errorf("%q in a session: pid %d, %v, want %v", path, pid, err, want)
				}
			}
			if pid, err := (Child{Path: "/bin/true", Argv: []string{"true"}, Files: []int{0, 1, 99999}}).Start(nil, nil); err != unix.EBADF {
				t.Errorf("no descriptor: pid %d, %v", pid, err)
			}
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
				t.Errorf("a child is left: %d, %v", pid, err)
			}
		})
	}
	var now unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &now); now != own {
		t.Errorf("the process's own limit is %v, was %v", now, own)
	}
}

// Children are made while the memory around is collected, stacks move and the
// runtime sends its own signals: each has the arguments that were meant for it.
func TestChildAmongGarbage(t *testing.T) {
	over := make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				if deep(50+n%50) == nil {
					return
				}
				if n%20 == 0 {
					runtime.GC()
				}
			}
		})
	}
	for _, way := range ways(t) {
		way.use()
		for i := range 30 {
			code := strconv.Itoa(i)
			c := Child{
				Path: "/bin/sh", Argv: []string{"sh", "-c", `[ "$0$A" = "` + code + "x" + code + `" ]`, code}, Env: []string{"A=x" + code},
				Files: []int{0, 1, 2},
			}
			start := Child.Start
			if i%2 == 0 {
				start = Child.StartInSession
			}
			pid, err := start(c, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var ws unix.WaitStatus
			for err = unix.EINTR; err == unix.EINTR; {
				_, err = unix.Wait4(pid, &ws, 0, nil)
			}
			if err != nil || ws != 0 {
				t.Errorf("%s %d: %v, %v", way.name, i, ws, err)
			}
		}
	}
	close(over)
	busy.Wait()
}

// deep makes a stack and garbage.
func deep(n int) []byte {
	var room [256]byte
	if n == 0 {
		return make([]byte, 4096)
	}
	b := deep(n - 1)
	room[n%256] = b[0]
	return append(b[:len(b):len(b)], room[:]...)
}
