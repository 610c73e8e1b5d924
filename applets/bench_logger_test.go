//go:build bench

package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// loggerCase is one workload of the logger bench.
type loggerCase struct {
	name   string
	line   string
	config string   // after size and number of files
	args   []string // of svlogd
	s6     []string // s6-log's words before the directory; nil if it cannot do it
	multi  []string // multilog's
}

// loggerFigures is what a program made of a workload.
type loggerFigures struct {
	rate float64 // MB of input per second
	cpu  float64 // seconds per GB
}

// TestBenchLogger feeds the same lines through a pipe to svlogd and its peers
// in turn, and prints megabytes per second and CPU seconds per gigabyte.
func TestBenchLogger(t *testing.T) {
	ours := loggerBinary(t)
	root := t.TempDir()
	if dir, err := os.MkdirTemp("/dev/shm", "bench"); err == nil { // a disk would measure itself
		defer os.RemoveAll(dir)
		root = dir
	}
	hundred, twenty := strings.Repeat("x", 99)+"\n", strings.Repeat("y", 19)+"\n"
	ten := "-*\n+*alpha*\n-*beta*\n+gamma*\n-*: *: debug *\n+*delta\n-+ab\n+*epsilon*zeta\n-eta\n+*\n"
	for _, c := range []loggerCase{
		{"100-byte lines", hundred, "", nil, []string{}, []string{}},
		{"100-byte lines, -tt", hundred, "", []string{"-tt"}, []string{"T"}, nil},
		{"100-byte lines, -t", hundred, "", []string{"-t"}, []string{"t"}, []string{"t"}},
		{"20-byte lines", twenty, "", nil, []string{}, []string{}},
		{"20-byte lines, -tt", twenty, "", []string{"-tt"}, []string{"T"}, nil},
		{"100-byte lines, ten patterns", hundred, ten, nil, nil, nil},
	} {
		data := bytes.Repeat([]byte(c.line), 48<<20/len(c.line))
		programs := map[string]func(dir string) *exec.Cmd{
			"runitbox": func(dir string) *exec.Cmd { return exec.Command(ours, append(slices.Clone(c.args), dir)...) },
			"runit": func(dir string) *exec.Cmd {
				return exec.Command(peer(t, "svlogd"), append(slices.Clone(c.args), dir)...)
			},
		}
		order := []string{"runitbox", "runit"}
		if c.s6 != nil {
			programs["s6-log"] = func(dir string) *exec.Cmd {
				cmd := exec.Command(peer(t, "s6-log"), append(append([]string{"-b", "n4", "s16000000"}, c.s6...), dir)...)
				libs, _ := filepath.Glob(filepath.Join(filepath.Dir(cmd.Path), "../lib/*/libskarnet.so*"))
				if len(libs) > 0 {
					cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(libs[0]))
				}
				return cmd
			}
			order = append(order, "s6-log")
		}
		if c.multi != nil {
			programs["multilog"] = func(dir string) *exec.Cmd {
				return exec.Command(peer(t, "multilog"), append(append(slices.Clone(c.multi), "s16000000", "n4"), dir)...)
			}
			order = append(order, "multilog")
		}
		runs := map[string][]loggerFigures{}
		for range 4 {
			for _, name := range order {
				dir, err := os.MkdirTemp(root, "log")
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(name, "runit") {
					if err := os.WriteFile(filepath.Join(dir, "config"), []byte("s16000000\nn4\n"+c.config), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				runs[name] = append(runs[name], feed(t, programs[name](dir), data))
				os.RemoveAll(dir)
			}
		}
		fmt.Printf("\n%s\n%12s %10s %10s %8s %8s\n", c.name, "", "MB/s", "CPU s/GB", "speed", "CPU")
		best := func(name string) loggerFigures {
			f := runs[name]
			slices.SortFunc(f, func(a, b loggerFigures) int { return int(b.rate - a.rate) })
			return f[0] // what others on the machine take away is not the program's
		}
		our := best("runitbox")
		for _, name := range order {
			f := best(name)
			fmt.Printf("%12s %10.1f %10.2f %7.1fx %7.1fx\n", name, f.rate, f.cpu, our.rate/f.rate, f.cpu/our.cpu)
		}
	}
}

// feed runs cmd with data coming through a pipe.
func feed(t *testing.T, cmd *exec.Cmd, data []byte) loggerFigures {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.Stdin = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its start is not what is measured: a first line must be in the file.
	if _, err := out.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(cmd.Args[len(cmd.Args)-1], "current")
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
		if st, err := os.Stat(current); err == nil && st.Size() > 0 {
			break
		}
	}
	spent := cpuOf(cmd.Process.Pid)
	begin := time.Now()
	for rest := data; len(rest) > 0; {
		n, err := out.Write(rest[:min(len(rest), 64<<10)])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	out.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", cmd.Path, err)
	}
	took := time.Since(begin)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() - spent
	return loggerFigures{float64(len(data)) / 1e6 / took.Seconds(), cpu.Seconds() / float64(len(data)) * 1e9}
}

// cpuOf is what the threads of a process have spent so far.
func cpuOf(pid int) (spent time.Duration) {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, path := range paths {
		var ns int64
		text, _ := os.ReadFile(path) // without it the start counts, too
		fmt.Sscan(string(text), &ns)
		spent += time.Duration(ns)
	}
	return spent
}
