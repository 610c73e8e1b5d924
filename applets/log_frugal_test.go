package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLogHostFrugal: what a process of log services takes of memory for each of them, idle
// and when it has written, that it has no thread more for any, and that none wakes it.
func TestLogHostFrugal(t *testing.T) {
	t.Parallel()
	const few, more = 4, 24
	exe := built(t)
	bin, tree := withLinks(t, exe), t.TempDir()
	path := func(i int, name string) string { return filepath.Join(tree, fmt.Sprintf("s%d", i), name) }
	plant := func(from, to int) {
		for i := from; i < to; i++ {
			fresh := filepath.Join(bin, fmt.Sprintf("fresh%d", i))
			if err := os.MkdirAll(fresh+"/log/main", 0o755); err != nil {
				t.Fatal(err)
			}
			unix.Mkfifo(fresh+"/in", 0o644)
			os.WriteFile(fresh+"/run", []byte("#!/bin/sh\nexec cat <>in\n"), 0o755)
			os.WriteFile(fresh+"/log/run", []byte("#!/bin/sh\nexec svlogd -tt ./main\n"), 0o755)
			if err := os.Rename(fresh, path(i, "")); err != nil {
				t.Fatal(err)
			}
		}
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for begin := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > 30*time.Second {
				t.Fatalf("never %s", what)
			}
		}
	}
	plant(0, few)
	cmd := contained(t, exec.Command(bin+"/runsvdir", tree))
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(unix.SIGHUP)
		cmd.Wait()
	}()
	var host string
	hosted := func(n int) func() bool {
		return func() bool {
			first, _ := os.ReadFile(path(0, "log/supervise/pid"))
			for i := range n {
				if pid, _ := os.ReadFile(path(i, "log/supervise/pid")); len(pid) == 0 || !bytes.Equal(pid, first) {
					return false
				}
			}
			host = strings.TrimSpace(string(first))
			return true
		}
	}
	told := func(file, name string) int {
		text, err := os.ReadFile("/proc/" + host + "/" + file)
		m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+)`).FindSubmatch(text)
		if m == nil {
			skip(t, fmt.Sprintf("the kernel tells nothing of a process's %s: %v", name, err))
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n
	}
	// What taking engines took is given back after a while.
	settled := func() (kib, threads int) {
		last, since := -1, time.Now()
		until("settles", func() bool {
			if kib = told("smaps_rollup", "Anonymous"); kib != last {
				last, since = kib, time.Now()
			}
			return time.Since(since) > 3*time.Second
		})
		return kib, told("status", "Threads")
	}
	until("hosts the first", hosted(few))
	host = outside(t, cmd.Process.Pid, host)
	before, threads := settled()
	plant(few, more)
	until("hosts all", hosted(more))
	host = outside(t, cmd.Process.Pid, host)
	idle, same := settled()
	line := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), 1<<20/100)
	for i := few; i < more; i++ {
		if err := os.WriteFile(path(i, "in"), line, 0); err != nil {
			t.Fatal(err)
		}
		until("has written", func() bool {
			size := 0
			for _, file := range append(glob(t, path(i, "log/main"), "@*"), path(i, "log/main/current")) {
				if st, err := os.Stat(file); err == nil {
					size += int(st.Size())
				}
			}
			return size > len(line)
		})
	}
	written, after := settled()
	each := func(kib int) float64 { return float64(kib-before) / (more - few) }
	t.Logf("%d KiB and %d threads; each further engine %.1f KiB, having written %.1f KiB", before, threads, each(idle), each(written))
	if each(idle) > 12 || each(written) > 16 {
		t.Errorf("an engine takes %.1f KiB, and %.1f when it has written", each(idle), each(written))
	}
	if same != threads || after > threads+2 { // for a flood there is one more turn
		t.Errorf("%d threads, with more engines %d, after a flood %d", threads, same, after)
	}
	switches := func() (n int) {
		for _, file := range glob(t, "/proc/"+host, "task/*/status") {
			text, _ := os.ReadFile(file)
			for _, m := range regexp.MustCompile(`voluntary_ctxt_switches:\s(\d+)`).FindAllSubmatch(text, -1) {
				k, _ := strconv.Atoi(string(m[1]))
				n += k
			}
		}
		return n
	}
	for quiet := range 8 {
		now := switches()
		time.Sleep(3 * time.Second)
		if switches() == now {
			break
		}
		if quiet == 7 {
			t.Error("wakes up though nothing comes")
		}
	}
}

// outside is the pid of a process that has another in the pid namespace of a process.
func outside(t *testing.T, of int, pid string) string {
	t.Helper()
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", of))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range glob(t, "/proc", "[0-9]*") {
		text, _ := os.ReadFile(dir + "/status")
		if to, _ := os.Readlink(dir + "/ns/pid"); to == space && regexp.MustCompile(`(?m)^NSpid:.*\t`+pid+`$`).Match(text) {
			return filepath.Base(dir)
		}
	}
	t.Fatalf("no process is %s", pid)
	return ""
}
