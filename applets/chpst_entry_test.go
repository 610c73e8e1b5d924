package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plainLinks is as loaderLinks, but of what a plain go build makes.
var plainLinks = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(suiteDir, "plain")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "runitbox")
	cmd := exec.Command("go", "build", "-o", out, "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, text)
	}
	return linkAll(out)
})

// TestBeginning starts the program with all that may lie on its stack at its
// beginning, which the entry must leave as it is.
func TestBeginning(t *testing.T) {
	t.Parallel()
	made := ours(t)
	plain, err := plainLinks()
	if err != nil {
		t.Fatal(err)
	}
	for name, bin := range map[string]string{"make build": made, "go build": plain} {
		chpst := filepath.Join(bin, "chpst")
		run := func(argv, env []string) (string, int) {
			var out bytes.Buffer
			cmd := exec.Cmd{Path: chpst, Args: argv, Env: env, Stdout: &out, Stderr: &out}
			cmd.Run()
			return out.String(), cmd.ProcessState.ExitCode()
		}
		if out, code := run([]string{"chpst", "/usr/bin/env"}, []string{}); out != "" || code != 0 {
			t.Errorf("%s: an empty environment becomes %q, exit %d", name, out, code)
		}
		var env []string
		for i := range 1000 {
			env = append(env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 100)))
		}
		env = append(env, "LONG="+strings.Repeat("y", 100000), "EMPTY=", "UTF=\xff\xfe")
		out, code := run([]string{"chpst", "/usr/bin/env", "-0"}, env)
		if diff := cmp.Diff(env, strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")); diff != "" || code != 0 {
			t.Errorf("%s: a large environment, exit %d (-want +got):\n%s", name, code, diff)
		}
		args := []string{"", strings.Repeat("z", 100000), "\xff", "--", "-u"}
		for range 2000 {
			args = append(args, "a")
		}
		out, code = run(append([]string{"chpst", "/usr/bin/printf", `%s\n`}, args...), []string{})
		if diff := cmp.Diff(args, strings.Split(strings.TrimSuffix(out, "\n"), "\n")); diff != "" || code != 0 {
			t.Errorf("%s: many arguments, exit %d (-want +got):\n%s", name, code, diff)
		}
		// Nobody's name: a kernel from 5.18 on makes one empty argument of none.
		for _, argv := range [][]string{{""}, {"/"}} {
			if out, code := run(argv, []string{}); code != 127 || !strings.Contains(out, "applet not found") {
				t.Errorf("%s: called as %q: exit %d: %s", name, argv, code, out)
			}
		}
		if code := withoutArguments(t, chpst); code != 127 && code != 0 {
			t.Errorf("%s: without arguments: exit %d", name, code)
		}
	}
}

// withoutArguments executes a program with argc 0 and gives its exit status.
func withoutArguments(t *testing.T, path string) int {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := null.Fd()
	pid, err := syscall.ForkExec(path, nil, &syscall.ProcAttr{Files: []uintptr{fd, fd, fd}})
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	return ws.ExitStatus()
}

// TestPlainBuild: what an executable without the entry does otherwise is what
// procenv/README.md says.
func TestPlainBuild(t *testing.T) {
	t.Parallel()
	made := ours(t)
	plain, err := plainLinks()
	if err != nil {
		t.Fatal(err)
	}
	busybox := peer(t, "busybox")
	for _, tt := range []struct{ sh, made, plain string }{
		{`trap '' HUP INT QUIT PIPE TERM; chpst grep SigIgn /proc/self/status | tail -c 6`, "05007\n0", "00003\n0"},
		{`chpst readlink /proc/self/fd/0 <&-`, "1", "/dev/null\n0"},
		{`chpst -0 true <&-`, "chpst: fatal: unable to close stdin: file descriptor not open\n111", "0"},
		{`ulimit -n 4000; ulimit -Sn 300; chpst sh -c 'ulimit -Sn; ulimit -Hn'`, "300\n4000\n0", "300\n4000\n0"},
		{`chpst -u nobody:daemon id -u; chpst -o 77 sh -c 'ulimit -Sn'; chpst -u nosuch true`, "65534\n77\nchpst: fatal: unknown user/group: nosuch\n111", "65534\n77\nchpst: fatal: unknown user/group: nosuch\n111"},
	} {
		for bin, want := range map[string]string{made: tt.made, plain: tt.plain} {
			if diff := cmp.Diff(want, play(t, tt.sh, bin, busybox)); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", bin, tt.sh, diff)
			}
		}
	}
}

// TestEarlyTable: the table of descriptors of a runsvdir grows once, to what its directory
// needs, and that of nobody else does: a program that chpst becomes would keep it.
func TestEarlyTable(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	out, err := exec.Command(filepath.Join(bin, "chpst"), "sed", "-n", "s/^FDSize:.//p", "/proc/self/status").Output()
	if n, _ := strconv.Atoi(strings.TrimSpace(string(out))); n == 0 || n >= 1024 || err != nil {
		t.Errorf("chpst: room for %q descriptors, %v", out, err)
	}
	dir := t.TempDir()
	for i := range 250 {
		if err := os.Mkdir(filepath.Join(dir, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Cmd{Path: filepath.Join(bin, "chpst"), Args: []string{"runsvdir", dir}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Signal(syscall.SIGHUP)
	status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(status)
		_, size, _ := bytes.Cut(text, []byte("\nFDSize:\t"))
		size, _, _ = bytes.Cut(size, []byte("\n"))
		if n, e := strconv.Atoi(string(size)); err == nil && e == nil && n >= 1024 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("runsvdir: %v, %s", err, text)
		}
	}
}
