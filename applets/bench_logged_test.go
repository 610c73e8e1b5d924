//go:build bench

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenchLogged starts trees of logged services, with unchanged scripts and, for
// runitbox, with each log service in a process of its own too, in turns, on a tmpfs. A
// row tells how long it took until the first line of each was in its file, and what
// memory the tree had then, without that of the services (as many of them without a
// supervisor): all of the processes' own, and the kernel's where a memory cgroup can be
// made.
func TestBenchLogged(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command(built(t), "install", bin).CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	kinds := []struct{ name, path, runsvdir string }{
		{"runit", filepath.Dir(peer(t, "svlogd")) + ":/usr/bin:/bin", peer(t, "runsvdir")},
		{"runitbox", bin + ":/usr/bin:/bin", bin + "/runsvdir"},
		{"own processes", bin + ":/usr/bin:/bin", bin + "/runsvdir --no-share-logs"},
	}
	rows := [][]string{{"", "", "start", "memory", "of that the kernel's", "each"}}
	for _, n := range []int{5, 20, 100, 500} {
		best := map[string][3]float64{}
		for round := range 6 {
			k := kinds[round%3]
			t.Run(fmt.Sprint(k.name, n), func(t *testing.T) {
				took, own, kernel := logged(t, n, k.path, k.runsvdir)
				if old, ok := best[k.name]; !ok || took < old[0] {
					best[k.name] = [3]float64{took, own, kernel}
				}
			})
		}
		for _, k := range kinds {
			b := best[k.name]
			rows = append(rows, []string{fmt.Sprint(n), k.name, fmt.Sprintf("%.0f ms (%.2f)", b[0]*1e3, best["runit"][0]/b[0]),
				fmt.Sprintf("%.0f KiB (%.2f)", (b[1]+b[2])/1024, (b[1]+b[2])/(best["runit"][1]+best["runit"][2])),
				fmt.Sprintf("%.0f KiB", b[2]/1024), fmt.Sprintf("%.0f KiB", (b[1]+b[2])/1024/float64(n))})
		}
	}
	table(t, "logged services: start until each first line is in its file, memory of the tree without its services", rows)
}

// logged measures one tree: seconds, and bytes of processes and of the kernel.
func logged(t *testing.T, n int, path, runsvdir string) (took, own, kernel float64) {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	for i := range n {
		dir := filepath.Join(root, "sv", fmt.Sprintf("s%04d", i))
		for name, text := range map[string]string{
			"run":     "#!/bin/sh\necho begin\nexec sleep 100000\n",
			"log/run": "#!/bin/sh\nexec svlogd -tt ./main\n",
		} {
			if err := os.MkdirAll(filepath.Join(dir, "log/main"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	hour := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(root, "sv"), hour, hour)
	cmd := contained(t, exec.Command("/bin/sh", "-c", "read x; "+runsvdir+" "+filepath.Join(root, "sv")+" 2>/dev/null & wait"))
	cmd.Args[2] = "read x; exec " + runsvdir + " " + filepath.Join(root, "sv") + " 2>/dev/null"
	cmd.Env = []string{"PATH=" + path}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	group := inMemoryGroup(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	begin := time.Now()
	in.Write([]byte("\n"))
	for i := range n {
		current := filepath.Join(root, "sv", fmt.Sprintf("s%04d", i), "log/main/current")
		for st, err := os.Stat(current); err != nil || st.Size() == 0; st, err = os.Stat(current) {
			if time.Since(begin) > 2*time.Minute {
				t.Fatalf("%d of %d have written", i, n)
			}
			time.Sleep(time.Millisecond)
		}
	}
	took = time.Since(begin).Seconds()
	time.Sleep(6 * time.Second)
	var supervisors []task
	services := 0
	for _, p := range below(cmd.Process.Pid) {
		if strings.HasPrefix(p.comm, "sleep") {
			services++
		} else {
			supervisors = append(supervisors, p)
		}
	}
	if services != n {
		t.Fatalf("%d services run, want %d", services, n)
	}
	own = float64(private(t, supervisors))
	if group != "" {
		k, err := kernelMemory(group)
		if err != nil {
			t.Fatal(err)
		}
		kernel = float64(k) - float64(n)*serviceKernel(t)
	}
	return took, own, kernel
}

// serviceKernel is what the kernel holds for a service that sleeps, in bytes.
func serviceKernel(t *testing.T) float64 {
	t.Helper()
	const some = 100
	var all []*exec.Cmd
	group := inMemoryGroup(t, func() {
		for range some {
			cmd := exec.Command("sleep", "1000")
			if cmd.Start() == nil {
				all = append(all, cmd)
			}
		}
	})
	defer func() {
		for _, cmd := range all {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	if group == "" {
		return 0
	}
	k, _ := kernelMemory(group)
	return float64(k) / some
}
