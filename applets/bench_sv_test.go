//go:build bench

package applets

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spent is what one call of a program has cost.
type spent struct {
	wall, cpu time.Duration
	faults    int64
}

// spend runs a program whose output is nobody's.
func spend(t *testing.T, env []string, argv ...string) spent {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = env
	begin := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return spent{time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), int64(ru.Minflt)}
}

// mean is the mean of a figure without the tenth that was held up most.
func mean(all []spent, figure func(spent) float64) (sum float64) {
	figures := make([]float64, len(all))
	for i, s := range all {
		figures[i] = figure(s)
	}
	slices.Sort(figures)
	figures = figures[:max(1, len(figures)*9/10)]
	for _, f := range figures {
		sum += f
	}
	return sum / float64(len(figures))
}

func cpuSpent(s spent) float64   { return float64(s.cpu) }
func wallSpent(s spent) float64  { return float64(s.wall) }
func pageFaults(s spent) float64 { return float64(s.faults) }

// bareGo builds a program that does nothing but write a line.
func bareGo(t *testing.T) string {
	dir := t.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "bare")
	text := "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"run\\n\") }\n"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// svTree is a tree of n services that run.
func svTree(t *testing.T, n int) (bin, tree string) {
	bin, tree = t.TempDir(), t.TempDir()
	for _, name := range []string{"sv", "runsvdir", "runsv"} {
		if err := os.Symlink(built(t), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		dir := filepath.Join(tree, fmt.Sprint("service", i))
		os.Mkdir(dir, 0o755)
		if err := os.WriteFile(dir+"/run", []byte("#!/bin/sh\nexec sleep 100000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(bin, "runsvdir"), tree)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGHUP)
		cmd.Wait()
		for i := range n {
			for range 500 {
				if text, err := os.ReadFile(filepath.Join(tree, fmt.Sprint("service", i), "supervise/stat")); err != nil || string(text) == "down\n" {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	for i := range n {
		for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if text, _ := os.ReadFile(filepath.Join(tree, fmt.Sprint("service", i), "supervise/stat")); string(text) == "run\n" {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("service%d does not run", i)
			}
		}
	}
	return bin, tree
}

// TestBenchSv measures what operators wait for: a status, a list, a start, a log.
func TestBenchSv(t *testing.T) {
	t.Run("status", func(t *testing.T) {
		bin, tree := svTree(t, 1)
		bare, env := bareGo(t), append(os.Environ(), "SVDIR="+tree)
		var sv, other []spent
		for range 600 {
			sv = append(sv, spend(t, env, filepath.Join(bin, "sv"), "status", "service0"))
			other = append(other, spend(t, env, bare))
		}
		t.Logf("page faults: %.0f, a bare Go program %.0f; %.2f and %.2f ms until the exit", mean(sv, pageFaults), mean(other, pageFaults), mean(sv, wallSpent)/1e6, mean(other, wallSpent)/1e6)
		target(t, "processor time of sv status, of that of a bare Go program", mean(sv, cpuSpent)/mean(other, cpuSpent), "", true, 1.15)
	})
	t.Run("list", func(t *testing.T) {
		bin, tree := svTree(t, 1000)
		env := append(os.Environ(), "SVDIR="+tree, "SVCOLLECTION=/nosuch")
		names := []string{peer(t, "sv"), "status"}
		for i := range 1000 {
			names = append(names, fmt.Sprint("service", i))
		}
		var list, status []spent
		for range 20 {
			list = append(list, spend(t, env, filepath.Join(bin, "sv"), "list"))
			status = append(status, spend(t, env, names...))
		}
		target(t, "processor time of sv list of 1000 services, of runit's sv status of all", mean(list, cpuSpent)/mean(status, cpuSpent), "", true, 3)
		target(t, "its time", mean(list, wallSpent)/mean(status, wallSpent), "", true, 3)
	})
	t.Run("link and start", func(t *testing.T) {
		bin, tree := svTree(t, 1)
		took, failed := linkAndStart(t, bin, tree, 1000)
		target(t, "link and sv start: failures of 1000", float64(failed), "", true, 0)
		target(t, "link and sv start: median", float64(median(took))/1e6, " ms", true, 20)
	})
	t.Run("log", func(t *testing.T) {
		dirs, size := logsOf20(t, 1<<30)
		begin := time.Now()
		cmd := exec.Command(filepath.Join(linkTo(t, "sv"), "sv"), append([]string{"log"}, dirs...)...)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		n, _ := io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil || n < size {
			t.Fatalf("%v, %d bytes of %d", err, n, size)
		}
		target(t, "sv log of 1 GiB, rotated files of 20 services, merged", float64(size)/1e6/time.Since(begin).Seconds(), " MB/s", false, 300)
		t.Logf("%d processors", runtime.NumCPU())
	})
}

// linkTo is a directory with a link of that name to the executable.
func linkTo(t *testing.T, name string) string {
	bin := t.TempDir()
	if err := os.Symlink(built(t), filepath.Join(bin, name)); err != nil {
		t.Fatal(err)
	}
	return bin
}

// logsOf20 writes services with logs of so many bytes together, whose lines alternate.
func logsOf20(t *testing.T, size int64) (services []string, written int64) {
	const count, files = 20, 10
	tree := t.TempDir()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for s := range count {
		service := filepath.Join(tree, "s"+strconv.Itoa(s))
		main := service + "/log/main"
		os.MkdirAll(main, 0o755)
		os.WriteFile(service+"/log/run", []byte("#!/bin/sh\nexec svlogd -ttt ./main\n"), 0o755)
		services = append(services, service)
		stamp := begin
		for f := range files {
			var b bytes.Buffer
			b.Grow(int(size/count/files) + 200)
			for int64(b.Len()) < size/count/files {
				stamp = stamp.Add(time.Duration(1000+137*s) * time.Microsecond)
				b.WriteString(stamp.Format("2006-01-02T15:04:05.00000"))
				b.WriteString(" GET /some/path/of/a/web/server?with=arguments 200 1234 \"a browser that tells much of itself\"\n")
			}
			name := fmt.Sprintf("@%016x%08x.s", 1<<62+10+stamp.Unix(), stamp.Nanosecond())
			if f == files-1 {
				name = "current"
			}
			if err := os.WriteFile(filepath.Join(main, name), b.Bytes(), 0o744); err != nil {
				t.Fatal(err)
			}
			written += int64(b.Len())
		}
	}
	return services, written
}
