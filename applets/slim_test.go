package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// slim is the path of the executable that make build SLIM=1 makes.
var slim = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(suiteDir, "slim")
	text, err := exec.Command("make", "-C", "..", "build", "SLIM=1", "OUT="+dir).CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(text), Err: err}
	}
	return filepath.Join(dir, "runitbox"), nil
})

// TestSlim: the slim executable, which has another reader of options, answers as the
// whole one does, but that it has no manuals and no collection.
func TestSlim(t *testing.T) {
	t.Parallel()
	whole := built(t)
	small, err := slim()
	if err != nil {
		t.Fatal(err)
	}
	// None of these does anything: each is a wrong call, or one for help or the version.
	calls := []string{
		"sv", "sv -x", "sv -w", "sv --wait", "sv --wait=", "sv -h", "sv --nosuch", "sv --=x", "sv ---", "sv -V", "sv --version", "sv -vwx", "sv -w5", "sv -w 5 status",
		"sv status nosuch", "sv -w=1 status nosuch", "sv --wait=1 status nosuch", "sv --wait 1 start nosuch", "sv -vw1 start nosuch", "sv -- status nosuch",
		"sv status -v nosuch", "sv --json status nosuch", "sv --json=false status nosuch", "sv --json=nosense status nosuch", "sv --help=false status nosuch", "sv -- -w", "sv - nosuch",
		"svlogd", "svlogd -tt", "svlogd -ttz", "svlogd -l", "svlogd -b 1 nosuch", "svlogd -r ab nosuch", "svlogd -V", "svlogd -t=3", "svlogd --timestamp=x", "svlogd nosuch",
		"halt -x", "halt x", "reboot --nosuch", "poweroff -t", "shutdown", "shutdown -t", "shutdown -t x now", "shutdown -z", "shutdown --delay=x now", "shutdown nosense",
		"utmpset", "utmpset -V", "utmpset --version", "utmpset -z tty", "runsv", "runsv a b", "runsv nosuch", "runsvdir", "runsvdir -P", "runsvchdir", "runsvchdir .x",
		"runit -x", "runit --stage x", "runit-init", "runit-init -V", "init",
		"runitbox -x", "runitbox nosuch -x", "runitbox -v", "runitbox --version", "runitbox --nosuch", "runitbox install", "runitbox install a b",
		"runitbox install --nosuch x", "runitbox install --hard", "runitbox install nosuch --no-init", "runitbox install --",
		"runitbox completion", "runitbox completion bash", "runitbox completion -x", "runitbox help a b", "runitbox help -x", "runitbox help nosuch",
		"runitbox complete sv sta", "runitbox complete sv -", "runitbox complete", "runitbox complete runitbox install -",
	}
	for _, name := range names() {
		if name != "sv" { // whose help tells of the verbs that the slim one has not
			calls = append(calls, name+" --help", "runitbox "+name+" --help")
		}
	}
	for _, name := range []string{"install", "completion", "help"} {
		calls = append(calls, "runitbox "+name+" --help", "runitbox "+name+" -h")
	}
	env := []string{"SVDIR=" + t.TempDir(), "RUNSVDIR=" + t.TempDir()}
	for _, call := range calls {
		if diff := cmp.Diff(ask(t, whole, env, strings.Split(call, " ")...), ask(t, small, env, strings.Split(call, " ")...)); diff != "" {
			t.Errorf("%s (-whole +slim):\n%s", call, diff)
		}
	}
	for call, want := range map[string]answer{
		"runitbox help sv":               {Stdout: strings.Replace(helpText("sv"), verbsHelp(), "", 1)},
		"runsvdir --prefix .":            {"", "runsvdir: --prefix: not in this executable, which was built with SLIM=1\nusage: runsvdir [-P] dir\n\n", 1},
		"runitbox probe -w 1 ::1":        {"", "runitbox: fatal: probe: not in this executable, which was built with SLIM=1\n", 111},
		"runitbox setup services --list": {"", "runitbox: fatal: setup: not in this executable, which was built with SLIM=1\n", 111},
	} {
		if diff := cmp.Diff(want, ask(t, small, nil, strings.Split(call, " ")...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", call, diff)
		}
	}
}

// TestSlimCatchAll: the slim runsvdir says once that it does not supervise .log, however often
// it looks, and leaves it alone.
func TestSlimCatchAll(t *testing.T) {
	t.Parallel()
	small, err := slim()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+"/run", []byte("#!/bin/sh\n: >up\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	cmd := &exec.Cmd{Path: small, Args: []string{"runsvdir", dir}, Stderr: &said}
	put("first")
	put(".log")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await := func(name string) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, name, "up")); err == nil {
				return
			}
			if time.Now().After(limit) {
				t.Errorf("%s does not run", name)
				return
			}
		}
	}
	await("first")
	put("second") // which takes another look
	await("second")
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Wait()
	if want := "runsvdir " + dir + ": warning: .log is not supervised: this build (SLIM=1) knows nothing of it\n"; said.String() != want {
		t.Errorf("said %q, want %q", said.String(), want)
	}
	if names, _ := os.ReadDir(dir + "/.log"); len(names) != 1 {
		t.Errorf("in .log: %v, want run only", names)
	}
}
