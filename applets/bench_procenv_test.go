//go:build bench

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bareExec is the least that a Go program can do to become another one.
const bareExec = `package main

import (
	"os"
	"syscall"
)

func main() { syscall.Exec(os.Args[1], os.Args[1:], os.Environ()) }
`

// bareExit is the least that a Go program can do.
const bareExit = `package main

func main() {}
`

// goProgram builds a program as the Makefile builds the suite.
func goProgram(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": text, "go.mod": "module bare\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "bare", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, text)
	}
	return filepath.Join(dir, "bare")
}

// starter is a command whose runs are measured.
type starter struct {
	name string
	argv []string
	env  []string // nil is this process's own
	fine bool     // it has to succeed

	wall, cpu []float64 // microseconds, run by run
	faults    []float64
}

// run runs the command once and notes what it took.
func (c *starter) run(t *testing.T) {
	t.Helper()
	cmd := exec.Cmd{Path: c.argv[0], Args: c.argv, Env: c.env}
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if cmd.ProcessState == nil || c.fine && err != nil {
		t.Fatalf("%q: %v", c.argv, err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	c.wall = append(c.wall, float64(took.Microseconds()))
	c.cpu = append(c.cpu, float64((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Microseconds()))
	c.faults = append(c.faults, float64(usage.Minflt))
}

// race runs the contenders in turn and prints what each took. Ratios are to
// the first, pair by pair; what the last one takes is not counted in them: it
// is the program that the others become, or nil.
func race(t *testing.T, runs int, contenders []*starter, target *starter) {
	t.Helper()
	all := contenders
	if target != nil {
		all = append(slices.Clone(contenders), target)
	}
	for range runs + 1 {
		for _, c := range all {
			c.run(t)
		}
	}
	beyond := func(c *starter, of func(*starter) []float64) []float64 {
		left := slices.Clone(of(c)[1:]) // the first run warms up
		for i := range left {
			if target != nil {
				left[i] -= median(of(target)[1:])
			}
		}
		return left
	}
	ratio := func(c *starter, of func(*starter) []float64) float64 {
		mine, base := beyond(c, of), beyond(contenders[0], of)
		for i := range mine {
			mine[i] /= base[i]
		}
		return median(mine)
	}
	wall := func(c *starter) []float64 { return c.wall }
	cpu := func(c *starter) []float64 { return c.cpu }
	faults := func(c *starter) []float64 { return c.faults }
	fmt.Printf("%-34s %9s %6s %9s %6s %7s %6s\n", "", "wall us", "ratio", "cpu us", "ratio", "faults", "ratio")
	for _, c := range contenders {
		fmt.Printf("%-34s %9.0f %6.2f %9.0f %6.2f %7.0f %6.2f\n", c.name,
			median(beyond(c, wall)), ratio(c, wall), median(beyond(c, cpu)), ratio(c, cpu), median(beyond(c, faults)), ratio(c, faults))
	}
}

// TestBenchApplets is what chpst costs a service's start, until exec, and what
// the suite costs until it exits.
func TestBenchApplets(t *testing.T) {
	bin := ours(t)
	target := []string{peer(t, "busybox"), "true"}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "A"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	contend := func(name string, argv ...string) *starter {
		return &starter{name: name, argv: append(argv, target...), fine: true}
	}
	fmt.Println("start to exec:")
	contenders := []*starter{
		contend("bare Go program", goProgram(t, bareExec)),
		contend("chpst", filepath.Join(bin, "chpst")),
		contend("chpst -u nobody -e DIR -o 100", filepath.Join(bin, "chpst"), "-u", "nobody", "-e", dir, "-o", "100"),
		contend("setuidgid nobody", filepath.Join(bin, "setuidgid"), "nobody"),
		contend("runit's chpst", peer(t, "chpst")),
		contend("runit's chpst -u -e -o", peer(t, "chpst"), "-u", "nobody", "-e", dir, "-o", "100"),
		contend("daemontools' setuidgid nobody", peer(t, "setuidgid"), "nobody"),
		contend("s6-applyuidgid -u -g -G", peer(t, "s6-applyuidgid"), "-u", "65534", "-g", "65534", "-G", "65534"),
	}
	if libs, _ := filepath.Glob(filepath.Join(filepath.Dir(peer(t, "s6-applyuidgid")), "../lib/*/libs6.so*")); len(libs) > 0 {
		contenders[len(contenders)-1].env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(libs[0]))
	}
	if applets, err := exec.Command(target[0], "--list").Output(); err == nil && slices.Contains(strings.Fields(string(applets)), "chpst") {
		contenders = append(contenders, contend("busybox chpst", target[0], "chpst"))
	} else {
		fmt.Println("(this busybox has no chpst)")
	}
	race(t, 200, contenders, &starter{argv: target})

	fmt.Println("start to exit:")
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	race(t, 200, []*starter{
		{name: "bare Go program", argv: []string{goProgram(t, bareExit)}},
		{name: "chpst, usage", argv: []string{filepath.Join(bin, "chpst")}},
		{name: "runitbox sv, usage", argv: []string{exe, "sv"}},
		{name: "runitbox nosuch", argv: []string{exe, "nosuch"}},
	}, nil)
}
