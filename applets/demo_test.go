package applets

import (
	"bufio"
	"bytes"
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

// demo is the demo about to run on a copy of all it needs, with a directory of
// its own for what it makes, so that what it leaves behind can be seen.
func demo(t *testing.T, box string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "runitbox-demo-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tmp = filepath.Join(dir, "tmp")
	if err := os.CopyFS(filepath.Join(dir, "demo"), os.DirFS("../testdata/demo")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "runitbox")
	if err := writeFile(at, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, tmp: 0o1777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd = exec.Command("/bin/sh", filepath.Join(dir, "demo/demo.sh"), at)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.WaitDelay = time.Minute // a process left behind may hold the pipe
	t.Cleanup(func() {
		for _, pid := range inherited("TMPDIR=" + tmp) {
			unix.Kill(pid, unix.SIGKILL)
		}
	})
	return cmd, tmp
}

// inherited lists the processes that have the variable in their environment.
func inherited(variable string) []int {
	var pids []int
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), append([]byte("\x00"+variable), 0)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// clean checks that the demo has left nothing behind.
func clean(t *testing.T, tmp string) {
	t.Helper()
	for _, pid := range inherited("TMPDIR=" + tmp) {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		t.Errorf("process %d is left: %q", pid, line)
	}
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	users := map[string]*syscall.Credential{"as it is": nil}
	if os.Geteuid() == 0 {
		users["as nobody"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, tmp := demo(t, built(t))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
			begin := time.Now()
			text, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, text)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if !strings.Contains(string(text), "\n10. ") || !strings.Contains(string(text), "Nothing runs on") {
				t.Errorf("not all steps are shown:\n%s", text)
			}
			clean(t, tmp)
		})
	}
}

// TestDemoEnds ends the demo before its time.
func TestDemoEnds(t *testing.T) {
	t.Parallel()
	t.Run("by a signal", func(t *testing.T) {
		t.Parallel()
		cmd, tmp := demo(t, built(t))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "3. ") {
		}
		cmd.Process.Signal(unix.SIGTERM)
		io.Copy(io.Discard, out)
		cmd.Wait()
		if status := cmd.ProcessState.ExitCode(); status != 143 {
			t.Errorf("exit status %d, want 143\n%s", status, errs.String())
		}
		clean(t, tmp)
	})
	t.Run("by a failure", func(t *testing.T) {
		t.Parallel()
		// A suite that cannot do what the demo asks for: sv does nothing.
		broken := filepath.Join(t.TempDir(), "runitbox")
		text := "#!/bin/sh\nln -s " + built(t) + " $2/runsvdir\nln -s " + built(t) + " $2/runsv\nln -s " + built(t) + " $2/svlogd\nln -s /bin/true $2/sv\n"
		if err := writeFile(broken, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd, tmp := demo(t, broken)
		text2, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(text2), "demo: step 2: never: isup ticker") {
			t.Errorf("%v\n%s", err, text2)
		}
		clean(t, tmp)
	})
}
