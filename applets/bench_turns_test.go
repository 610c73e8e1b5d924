//go:build bench

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// turn is one of two executables that are measured in turns.
type turn struct {
	contender
	runitbox string // the executable
}

// TestBenchTurns compares this build with another one, that RUNITBOX_BEFORE
// names, in turns, so that what else the machine does hits both: make bench-turns
// BEFORE=build/old/runitbox. Every figure is printed as new/before; below one is
// better, but for the throughput.
func TestBenchTurns(t *testing.T) {
	before := os.Getenv("RUNITBOX_BEFORE")
	if before == "" {
		t.Skip("RUNITBOX_BEFORE names no other executable")
	}
	before, err := filepath.Abs(before)
	if err != nil {
		t.Fatal(err)
	}
	now := turn{contenders(t)["runitbox"], built(t)}
	old := turn{now.contender, before}
	bin := withLinks(t, before)
	old.argv, old.env, old.sv = []string{filepath.Join(bin, "runsvdir")}, []string{"PATH=" + bin + ":/usr/bin:/bin"}, filepath.Join(bin, "sv")
	rows := [][]string{{"", "now", "before", "now/before", "least/least"}}
	row := func(what, unit string, a, b []float64) {
		if len(a) == 0 || len(b) == 0 {
			return
		}
		rows = append(rows, []string{what, fmt.Sprintf("%.2f %s", median(a), unit), fmt.Sprintf("%.2f %s", median(b), unit),
			fmt.Sprintf("%.3f", median(a)/median(b)), fmt.Sprintf("%.3f", slices.Min(a)/slices.Min(b))})
	}
	both := func(t *testing.T, rounds int, measure func(*testing.T, turn) float64) (a, b []float64) {
		for round := range rounds * 2 {
			t.Run("", func(t *testing.T) { // what one has made is gone before the next
				if round%4 == 0 || round%4 == 3 {
					a = append(a, measure(t, now))
				} else {
					b = append(b, measure(t, old))
				}
			})
		}
		return a, b
	}
	for _, size := range []struct{ n, rounds int }{{20, 60}, {100, 40}, {500, 30}, {2000, 8}} {
		a, b := both(t, size.rounds, func(t *testing.T, c turn) float64 { return plant(t, c.contender, size.n).took.Seconds() * 1e3 })
		row(fmt.Sprintf("%d: start", size.n), "ms", a, b)
	}
	for _, size := range []struct{ n, rounds int }{{20, 4}, {100, 4}, {500, 3}, {2000, 2}} {
		var wakes, kills [2][]float64
		at := func(c turn) int {
			if c.runitbox == now.runitbox {
				return 0
			}
			return 1
		}
		a, b := both(t, size.rounds, func(t *testing.T, c turn) float64 {
			tr := plant(t, c.contender, size.n)
			time.Sleep(5 * time.Second)
			services, supervisors := tr.parts()
			comeToRest(t, supervisors)
			kernel := 0
			if tr.group != "" {
				kernel, _ = kernelMemory(tr.group)
			}
			all := float64(private(t, supervisors)+kernel) / 1024
			w := wakeups(supervisors)
			time.Sleep(10 * time.Second)
			wakes[at(c)] = append(wakes[at(c)], float64(wakeups(supervisors)-w)/10+0.01)
			var each []float64
			for _, pid := range services {
				begin := time.Now()
				unix.Kill(pid, unix.SIGKILL)
				if err := tr.up.wait(1, time.Minute); err != nil {
					t.Fatal(err)
				}
				if each = append(each, time.Since(begin).Seconds()*1e3); len(each) == 60 {
					break
				}
			}
			kills[at(c)] = append(kills[at(c)], median(each))
			return all
		})
		row(fmt.Sprintf("%d: memory of the tree", size.n), "KiB", a, b)
		row(fmt.Sprintf("%d: wake-ups/s, and 0.01", size.n), "", wakes[0], wakes[1])
		row(fmt.Sprintf("%d: kill to running", size.n), "ms", kills[0], kills[1])
	}
	for _, size := range []struct{ n, rounds int }{{20, 20}, {100, 20}, {500, 16}, {2000, 6}} {
		a, b := both(t, size.rounds, func(t *testing.T, c turn) float64 {
			tr := plant(t, c.contender, size.n)
			time.Sleep(1500 * time.Millisecond) // who ends in his first second is another matter
			_, supervisors := tr.parts()
			return stopped(t, tr, supervisors)
		})
		row(fmt.Sprintf("%d: HUP until all have gone", size.n), "ms", a, b)
	}
	a, b := both(t, 3, func(t *testing.T, c turn) float64 {
		c.logs = true
		return median(adoptions(t, plant(t, c.contender, 500), 500, 5))
	})
	row("500 with logs: adoption", "ms", a, b)
	for _, line := range []int{20, 100} {
		data := []byte(strings.Repeat(strings.Repeat("x", line-1)+"\n", 400<<20/line))
		a, b := both(t, 8, func(t *testing.T, c turn) float64 {
			dir, err := os.MkdirTemp("/dev/shm", "bench")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.WriteFile(filepath.Join(dir, "config"), []byte("s16000000\nn4\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			return feed(t, exec.Command(c.runitbox, "svlogd", dir), data).rate
		})
		row(fmt.Sprintf("svlogd, lines of %d (more is better)", line), "MB/s", a, b)
	}
	table(t, "this build and the one before, in turns (medians)", rows)
}

// stopped is how long it takes, in ms, from a HUP until the supervisors have gone.
func stopped(t *testing.T, tr *tree, supervisors []task) float64 {
	t.Helper()
	begin := time.Now()
	for _, p := range supervisors {
		if p.comm == "runsvdir" {
			unix.Kill(p.pid, unix.SIGHUP)
		}
	}
	for _, p := range supervisors {
		for _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil; _, err = os.Stat(fmt.Sprintf("/proc/%d/exe", p.pid)) {
			if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); err != nil {
				break // a zombie
			}
			if time.Since(begin) > time.Minute {
				t.Fatalf("%s (%d) is still there", p.comm, p.pid)
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	return time.Since(begin).Seconds() * 1e3
}

// adoptions kills the core of a tree of n logged services a few times; each time
// is how long it took, in ms, until its successor held all locks.
func adoptions(t *testing.T, tr *tree, n, times int) (took []float64) {
	t.Helper()
	for range times {
		took = append(took, time.Since(adoption(t, tr, n)).Seconds()*1e3)
	}
	return took
}
