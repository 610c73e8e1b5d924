package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRsvlogFrugal: what rsvlog does before it is svlogd is no reason to collect
// garbage: that costs half as much memory again, for as long as it lives.
func TestRsvlogFrugal(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, logs := filepath.Join(dir, "web/log"), filepath.Join(dir, "logs")
	if err := os.MkdirAll(log, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(dir, "rsvlog")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "rsvlog"))
	cmd.Dir = log
	cmd.Env = append(os.Environ(), "GODEBUG=gctrace=1", "SV_LOGDIR="+logs, "USERGROUP=root:root")
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(logs, "current"))
		if bytes.HasSuffix(text, []byte(" line\n")) {
			break
		}
		if time.Now().After(end) {
			t.Errorf("the line is not there: %q", text)
			break
		}
	}
	cmd.Process.Signal(unix.SIGTERM)
	in.Close()
	if err := cmd.Wait(); err != nil || strings.Contains(said.String(), "gc 1 ") {
		t.Errorf("%v: %s", err, said.String())
	}
}
