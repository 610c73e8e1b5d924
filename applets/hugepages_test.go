package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHugePages: no memory of a process of ours may be in huge pages, however the
// machine makes these; a mapping that could be says that it is not to be (nh).
func TestHugePages(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	for _, args := range [][]string{{"svlogd", dir}, {"runsvdir", filepath.Join(dir, "tree")}} {
		t.Run(args[0], func(t *testing.T) {
			os.Mkdir(filepath.Join(dir, "tree"), 0o755)
			cmd := exec.Command(exe, args...)
			cmd.Stdin = in
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			pids := []int{cmd.Process.Pid}
			if args[0] == "runsvdir" {
				defer cmd.Process.Signal(unix.SIGHUP)
				core := 0
				for end := time.Now().Add(10 * time.Second); core == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					core = childOf(pids[0], "runsv") // not one that looks at a directory, and is gone at once
				}
				pids = append(pids, core)
			} else {
				defer cmd.Process.Signal(unix.SIGTERM)
			}
			for _, pid := range pids {
				// The runtime says nh of a mapping just behind having made it.
				large, bad := 0, []string{""}
				for end := time.Now().Add(10 * time.Second); (large == 0 || len(bad) > 0) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					large, bad = largeMappings(pid)
				}
				if len(bad) > 0 {
					t.Errorf("may be in huge pages: %q", bad)
				}
				if large == 0 && runtime.GOARCH == "amd64" {
					t.Error("no heap was found")
				}
			}
		})
	}
}

// largeMappings counts the mappings of a process that have room for half a huge page of
// 2 MiB and may be written to, and names those for which the kernel may make one: two of
// half the size that lie side by side may become one.
func largeMappings(pid int) (n int, bad []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	var mapping string
	large := false
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if k, _ := fmt.Sscanf(line, "%x-%x rw-p 00000000 00:00 0", &from, &to); k == 2 && strings.Contains(line, " rw-p ") {
			mapping, large = strings.TrimSpace(line), to-from >= 1<<20 && !strings.Contains(line, "[stack]")
		} else if k, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); k == 2 {
			large = false
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && large {
			n++
			if !strings.Contains(flags, " nh") {
				bad = append(bad, mapping)
			}
		}
	}
	return n, bad
}
