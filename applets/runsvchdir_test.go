package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestSwitchOrder watches what happens to the links in which order: with
// runit's runsvchdir current is gone for a moment, with ours it never is.
func TestSwitchOrder(t *testing.T) {
	t.Parallel()
	for maker, want := range map[string][]string{
		"runit": {
			"made current.new", "current to previous", "current.new to current",
			"made current.new", "removed previous", "current to previous", "current.new to current",
		},
		"runitbox": {
			"made current.new", "made previous.new", "previous.new to previous", "current.new to current",
			"made current.new", "made previous.new", "previous.new to previous", "current.new to current",
		},
	} {
		t.Run(maker, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 {
				skip(t, "needs root")
			}
			bin := toolbox(t, transcript{body: "runsvchdir"}, maker, maker)
			dir := levelDirs(t)
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO); err != nil {
				t.Fatal(err)
			}
			cmd := contained(t, exec.Command("bash", "-ec", `e=$(mktemp -d); mount -t tmpfs none /etc; mkdir -p /etc/runit/runsvdir; mount --bind "$0" /etc/runit/runsvdir; rmdir $e
"$1" single; "$1" default`, dir, filepath.Join(bin, "runsvchdir")))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if diff := cmp.Diff(want, events(t, fd)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// levelDirs makes a directory of two services directories and current.
func levelDirs(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	for _, name := range []string{"default", "single"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("default", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// events tells what inotify has seen.
func events(t *testing.T, fd int) (told []string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	from := ""
	for at := 0; at < n; {
		mask, size := le(buf[at+4:]), le(buf[at+12:])
		name := unix.ByteSliceToString(buf[at+16 : at+16+size])
		at += 16 + size
		switch {
		case mask&unix.IN_CREATE != 0:
			told = append(told, "made "+name)
		case mask&unix.IN_DELETE != 0:
			told = append(told, "removed "+name)
		case mask&unix.IN_MOVED_FROM != 0:
			from = name
		case mask&unix.IN_MOVED_TO != 0:
			told = append(told, from+" to "+name)
		}
	}
	return told
}

func le(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 | int(b[3])<<24 }

// TestSwitchAtomic switches from several sides at once, while a reader looks:
// current always leads somewhere, and previous is what current was before.
func TestSwitchAtomic(t *testing.T) {
	t.Parallel()
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := levelDirs(t)
	if err := os.Mkdir(filepath.Join(dir, "third"), 0o755); err != nil {
		t.Fatal(err)
	}
	stop := make(chan bool)
	missed := make(chan error, 1)
	go func() {
		defer close(missed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := os.Stat(dir + "/current/."); err != nil {
				missed <- err
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for n := range 30 {
				name := []string{"default", "single", "third"}[(i+n)%3]
				cmd := exec.Command(ours, "runsvchdir", name)
				cmd.Env = []string{"RUNSVDIR=" + dir}
				out, err := cmd.CombinedOutput()
				if s := string(out); err != nil || s != fmt.Sprintf("runsvchdir: %s: current.\n", name) && s != fmt.Sprintf("runsvchdir: %s: now current.\n", name) {
					t.Errorf("%s: %v: %s", name, err, out)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	if err := <-missed; err != nil {
		t.Error(err)
	}
	now, _ := os.Readlink(dir + "/current")
	before, _ := os.Readlink(dir + "/previous")
	if now == before || before == "" {
		t.Errorf("current -> %s, previous -> %s", now, before)
	}
	left, err := filepath.Glob(dir + "/*.new")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSwitchWaits has a switch wait for another that is under way.
func TestSwitchWaits(t *testing.T) {
	t.Parallel()
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := levelDirs(t)
	lock, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(lock, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(ours, "runsvchdir", "single")
	cmd.Env = []string{"RUNSVDIR=" + dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It waits when the kernel lists it as blocked on the lock of this directory.
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		if waits(string(locks), cmd.Process.Pid) {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("it does not wait:\n%s", locks)
		}
	}
	if now, _ := os.Readlink(dir + "/current"); now != "default" {
		t.Errorf("current -> %s while another holds the lock", now)
	}
	unix.Close(lock)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if now, _ := os.Readlink(dir + "/current"); now != "single" {
		t.Errorf("current -> %s", now)
	}
}

// TestSwitchHeld has somebody hold the lock who never lets go, as any user can
// who may read the directory: the level is switched all the same.
func TestSwitchHeld(t *testing.T) {
	t.Parallel()
	dir := levelDirs(t)
	lock, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lock)
	if err := unix.Flock(lock, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	got := ask(t, built(t), []string{"RUNSVDIR=" + dir}, "runsvchdir", "single")
	if diff := cmp.Diff(answer{"runsvchdir: single: now current.\n", "", 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if now, _ := os.Readlink(dir + "/current"); now != "single" {
		t.Errorf("current -> %s", now)
	}
}

// waits says whether /proc/locks shows pid waiting.
func waits(locks string, pid int) bool {
	n, kind, mode, access, who := 0, "", "", "", 0
	for _, line := range strings.Split(locks, "\n") {
		if _, err := fmt.Sscanf(line, "%d: -> %s %s %s %d", &n, &kind, &mode, &access, &who); err == nil && who == pid {
			return true
		}
	}
	return false
}

// TestSwitchBack: previous goes back to the level before, and again forth.
func TestSwitchBack(t *testing.T) {
	t.Parallel()
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := levelDirs(t)
	for _, step := range []struct{ to, says, current, previous string }{
		{"previous", "runsvchdir: fatal: previous: file does not exist\n", "default", ""},
		{"single", "runsvchdir: single: now current.\n", "single", "default"},
		{"previous", "runsvchdir: previous: now current.\n", "default", "single"},
		{"previous", "runsvchdir: previous: now current.\n", "single", "default"},
		{"current", "runsvchdir: current: current.\n", "single", "default"},
	} {
		cmd := exec.Command(ours, "runsvchdir", step.to)
		cmd.Env = []string{"RUNSVDIR=" + dir}
		out, _ := cmd.CombinedOutput()
		current, _ := os.Readlink(dir + "/current")
		previous, _ := os.Readlink(dir + "/previous")
		if string(out) != step.says || current != step.current || previous != step.previous {
			t.Errorf("%s: %scurrent -> %s, previous -> %s; want %scurrent -> %s, previous -> %s", step.to, out, current, previous, step.says, step.current, step.previous)
		}
	}
}
