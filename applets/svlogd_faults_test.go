package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failing mounts a file system at dir/d whose operations fail as rules say.
func failing(t *testing.T, dir string) (rules func(lines string)) {
	t.Helper()
	needFuse(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "rules")
	cmd := exec.Command(self)
	cmd.Args = []string{"stallfs", filepath.Join(dir, "d"), file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Unmount(filepath.Join(dir, "d"), unix.MNT_DETACH)
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(file + ".ready"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the file system is never mounted")
		}
	}
	return func(lines string) {
		t.Helper()
		if err := writeFile(file, []byte(lines), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSvlogdFailsOnce has a step fail for a while: it is said, and when it can
// succeed it does, and nothing is lost.
func TestSvlogdFailsOnce(t *testing.T) {
	t.Parallel()
	rotate := func(r *loggerRun) { r.signal(unix.SIGALRM) }
	rotated := func(r *loggerRun) bool {
		return len(glob(r.t, r.dir, "d/@*.s")) == 1 && len(glob(r.t, r.dir, "d/@*.[ut]")) == 0
	}
	for _, tt := range []struct {
		name, config string
		rule         string // of what fails, while
		event        func(r *loggerRun)
		said         string
		then         func(r *loggerRun) bool
	}{
		{"write", "", "write d/current", func(r *loggerRun) { r.write("b\n") }, "pausing: unable to write to current: d: input/output error",
			func(r *loggerRun) bool { return fileIs(r, "d/current", "a\nb\n") }},
		{"fsync of current", "", "fsync current", rotate, "pausing: unable to fsync current logfile: d: input/output error", rotated},
		{"rename of current", "", "rename current", rotate, "pausing: unable to rename current: d: input/output error", rotated},
		{"a name that may be taken", "", "lookup @*.u", rotate, "pausing: unable to rename current: d: input/output error", rotated},
		{"new current", "", "create current", rotate, "pausing: unable to create new current: d: input/output error", rotated},
		{"the processor's directory", "!cat\n", "readdir *", rotate, "pausing: unable to read directory: d: input/output error", rotated},
		{"a file for the processor", "!cat\n", "create @*.t", rotate, "fatal: unable to open output for processor: d: input/output error", rotated},
		{"mode of what is processed", "!echo >>../runs; cat\n", "setattr @*.t", rotate, "pausing: unable to set mode of processed: d: input/output error",
			func(r *loggerRun) bool { return rotated(r) && fileIs(r, "runs", "\n") }},
		{"rename of what is processed", "!echo >>../runs; cat\n", "rename @*.t", rotate, "pausing: unable to rename processed: d: input/output error",
			func(r *loggerRun) bool { return rotated(r) && fileIs(r, "runs", "\n") }},
		{"unlink of what was processed", "!echo >>../runs; cat\n", "unlink @*.u", rotate, "pausing: unable to unlink: @",
			func(r *loggerRun) bool { return rotated(r) && fileIs(r, "runs", "\n") }},
		{"rename of the state", "!echo state >&5; cat\n", "rename newstate", rotate, "pausing: unable to rename state: d: input/output error",
			func(r *loggerRun) bool { return rotated(r) && fileIs(r, "d/state", "state\n") }},
		{"unlink of an old log", "n1\n", "unlink @*.s", func(r *loggerRun) {
			rotate(r)
			r.has("d/current", "")
			r.write("b\n")
			r.has("d/current", "b\n")
			rotate(r)
		}, "warning: unable to unlink oldest logfile: d: input/output error", func(r *loggerRun) bool {
			rotate(r) // the next rotation deletes it, if there is something to rotate
			r.in.WriteString("c\n")
			return len(glob(r.t, r.dir, "d/@*.s")) == 1
		}},
		{"config at a HUP", "pold: \n", "open config", func(r *loggerRun) { r.signal(unix.SIGHUP) }, "warning: unable to read config: d: input/output error",
			func(r *loggerRun) bool {
				r.in.WriteString("b\n")
				text, _ := os.ReadFile(filepath.Join(r.dir, "d/current"))
				return bytes.Contains(text, []byte("new: b\n"))
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := logDir(t, "")
			rules := failing(t, dir)
			setConfig(t, dir, tt.config)
			r := startLogger(t, ourLogger(t), dir, "d")
			r.write("a\n")
			r.until("has a", func() bool {
				text, _ := os.ReadFile(filepath.Join(dir, "d/current"))
				return bytes.HasSuffix(text, []byte("a\n"))
			})
			setConfig(t, dir, strings.ReplaceAll(tt.config, "old", "new"))
			rules(strings.Replace(tt.rule, " d/", " ", 1) + " 5\n")
			tt.event(r)
			r.says("svlogd: "+tt.said, 1)
			rules("")
			r.until("goes on", func() bool { return tt.then(r) })
			if status := r.end(); status != 0 {
				t.Errorf("exit %d: %s", status, r.said())
			}
		})
	}
}

// fileIs says whether a file has this content.
func fileIs(r *loggerRun, name, content string) bool {
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	return err == nil && string(text) == content
}

// TestSvlogdConfigLater starts where the config cannot be read for a while: it
// deletes nothing meanwhile, and takes the config when it can be read.
func TestSvlogdConfigLater(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	rules := failing(t, dir)
	setConfig(t, dir, "n20\npnow: \n")
	for i := range 12 { // more than stay without a config
		name := fmt.Sprintf("d/@400000006b034ba322cffa%02d.s", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old\n"), 0o744); err != nil {
			t.Fatal(err)
		}
	}
	rules("read config 5\n")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.says("svlogd: warning: unable to read config: d: input/output error\n", 1)
	r.write("a\n")
	r.has("d/current", "a\n")
	r.signal(unix.SIGALRM)
	r.has("d/current", "")
	rules("")
	r.until("has read the config", func() bool {
		r.in.WriteString("b\n")
		text, _ := os.ReadFile(filepath.Join(dir, "d/current"))
		return bytes.Contains(text, []byte("now: b\n"))
	})
	r.end()
	if old := glob(t, dir, "d/@*.s"); len(old) != 13 {
		t.Errorf("%d old logs are left", len(old))
	}
}

// TestSvlogdReadError says why there is no more input, and ends.
func TestSvlogdReadError(t *testing.T) {
	t.Parallel()
	for _, term := range []bool{false, true} { // while it waits for the end of a line, too
		dir := logDir(t, "")
		master, tty := rawTerminal(t) // the master's end without the other one is an error
		defer master.Close()
		r := startLoggerOn(t, ourLogger(t), dir, master, "-v", "d")
		tty.WriteString("a\nhalf")
		r.has("d/current", "a\n")
		r.until("has read it", func() bool { return unread(master) == 0 })
		if term {
			r.signal(unix.SIGTERM)
			r.says("sigterm received.", 1) // it has a second's patience with the line
		}
		tty.Close()
		r.succeeds()
		if want := "svlogd: warning: unable to read standard input: input/output error\n"; !strings.Contains(r.said(), want) {
			t.Errorf("said %q, want %q", r.said(), want)
		}
		r.has("d/current", "a\nhalf\n")
	}
}

// TestSvlogdReadOnly waits on a file system that has turned read-only, instead
// of giving up for a lock.
func TestSvlogdReadOnly(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 1<<20, "")
	d := filepath.Join(dir, "d")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("a\n")
	r.has("d/current", "a\n")
	r.end()
	if err := unix.Mount("", d, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	r = startLogger(t, ourLogger(t), dir, "d")
	r.write("b\n")
	r.says("svlogd: pausing: unable to open current: d: read-only file system\n", 1)
	if err := unix.Mount("", d, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	r.has("d/current", "a\nb\n")
	r.end()
}

// limit changes a limit of a logger that runs, as its user may.
func (r *loggerRun) limit(name string, soft int) {
	r.t.Helper()
	path, err := exec.LookPath("prlimit")
	if err != nil {
		skip(r.t, "needs prlimit")
	}
	cmd := exec.Command(path, "--pid", strconv.Itoa(r.cmd.Process.Pid), fmt.Sprintf("--%s=%d:", name, soft))
	if attr := r.cmd.SysProcAttr; attr.Credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: attr.Credential}
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, text)
	}
}

// TestSvlogdNoDescriptors starts where descriptors are few for a while.
func TestSvlogdNoDescriptors(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "pnow: \n")
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	r.write("a\n")
	r.has("d/current", "now: a\n")
	r.limit("nofile", 3)
	setConfig(t, dir, "pthen: \n")
	r.signal(unix.SIGHUP)
	r.says("svlogd: pausing: unable to open log directory: d: ", 1)
	r.write("b\n")
	r.limit("nofile", 100)
	r.has("d/current", "now: a\nthen: b\n")
	if status := r.end(); status != 0 {
		t.Errorf("exit %d: %s", status, r.said())
	}
}

// nprocUser is nobody else's: what it may have of processes is counted by user.
const nprocUser = 61815

// TestSvlogdNoThreads has no process and no thread made for a while: svlogd
// writes, rotates, tells and takes signals all the same; a processor waits.
func TestSvlogdNoThreads(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "the limit of processes is no limit of this user's alone")
	}
	dir := logDir(t, "s200000\nn0\ne*\n!cat\n")
	for _, name := range []string{filepath.Dir(dir), dir, filepath.Join(dir, "d")} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	in, out := pipe(t)
	nobody, stderr := pipe(t)
	said := make(chan string, 1)
	r := &loggerRun{t: t, dir: dir, exited: make(chan struct{}), in: out}
	r.cmd = exec.Command(loggerBinary(t), "-v", "d")
	r.cmd.Args[0] = "svlogd"
	r.cmd.Dir, r.cmd.Stdin, r.cmd.Stderr = dir, in, stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Credential: &syscall.Credential{Uid: nprocUser, Gid: nprocUser}}
	if err := r.cmd.Start(); err != nil {
		if errors.Is(err, unix.EACCES) {
			skip(t, "another user cannot execute what is built here")
		}
		t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		close(r.exited)
	}()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.exited
	})
	stderr.Close()
	r.write("first\n")
	r.has("d/current", "first\n")
	r.until("has all its threads", func() bool { // which it makes while it works already
		return len(glob(t, "/proc", fmt.Sprintf("%d/task/*", r.cmd.Process.Pid))) >= 6 && asleep(r)
	})
	r.limit("nproc", 1)

	// All at once: a full stderr, signals, rotations with their chores.
	go func() {
		line := strings.Repeat("x", 99) + "\n"
		for range 10000 {
			out.WriteString(line)
		}
		out.WriteString(strings.Repeat(line, 100000))
	}()
	for range 20 {
		r.signal(unix.SIGALRM)
		r.signal(unix.SIGHUP)
		r.signal(unix.SIGCHLD)
		time.Sleep(5 * time.Millisecond) // so that these are many
	}
	time.Sleep(300 * time.Millisecond) // stderr is full meanwhile
	go func() {
		text, _ := io.ReadAll(nobody)
		said <- string(text)
	}()
	total := func() (n int) {
		for _, name := range append(glob(t, dir, "d/@*.u"), filepath.Join(dir, "d/current")) {
			if st, err := os.Stat(name); err == nil {
				n += int(st.Size())
			}
		}
		return n
	}
	r.until("has all", func() bool { return total() == 110000*100+6 })
	if done := glob(t, dir, "d/@*.s"); len(done) > 0 {
		t.Fatalf("processors could be started: this tests nothing")
	}
	r.limit("nproc", 1000)
	r.until("has processed all", func() bool { return len(glob(t, dir, "d/@*.u")) == 0 })
	r.in.Close()
	r.succeeds()
	if text := <-said; !strings.Contains(text, "svlogd: pausing: unable to fork for processor: d: temporary failure\n") || strings.Contains(text, "goroutine") {
		t.Errorf("said %.2000q", text)
	}
}
