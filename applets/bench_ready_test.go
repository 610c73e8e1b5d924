//go:build bench

package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBenchReady measures how long `sv start` takes to return when the service has written
// its newline to notification-fd: the service notes the time just before.
func TestBenchReady(t *testing.T) {
	bin := withLinks(t, built(t))
	tree, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tree) })
	web := filepath.Join(tree, "web")
	if err := os.MkdirAll(web, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"run":             "#!/bin/sh\nsleep .2\ndate +%s%N >said\necho >&3\nexec sleep 1000\n",
		"notification-fd": "3\n",
		"down":            "",
	} {
		if err := writeFile(filepath.Join(web, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	scanner := exec.Command(filepath.Join(bin, "runsvdir"), tree)
	if err := scanner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // HUP: services end, and then the tree
		scanner.Process.Signal(unix.SIGHUP)
		scanner.Wait()
	})
	sv := func(command string) {
		t.Helper()
		if text, err := exec.Command(filepath.Join(bin, "sv"), "-w", "9", command, web).CombinedOutput(); err != nil {
			t.Fatalf("sv %s: %v: %s", command, err, text)
		}
	}
	var took []time.Duration
	for range 20 {
		sv("start")
		end := time.Now()
		said, err := os.ReadFile(filepath.Join(web, "said"))
		if err != nil {
			t.Fatal(err)
		}
		at, err := strconv.ParseInt(strings.TrimSpace(string(said)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, end.Sub(time.Unix(0, at)))
		sv("stop")
	}
	slices.Sort(took)
	target(t, "sv start behind the newline of notification-fd (median)", float64(took[len(took)/2])/1e6, " ms", true, 5)
}
