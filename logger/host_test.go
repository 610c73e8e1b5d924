package logger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/testdata/aloud"
)

// hosted runs n engines in one host, each in a directory of its own.
func hosted(t *testing.T, n int, o HostOptions, change func(i int, o *Options)) (*Host, []*bench) {
	t.Helper()
	h, err := NewHost(o)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*bench, n)
	for i := range all {
		all[i] = startIn(t, t.TempDir(), func(o *Options) {
			if change != nil {
				change(i, o)
			}
		}, h.Engine)
	}
	t.Cleanup(func() {
		for _, b := range all {
			b.e.Stop()
			b.e.Stop()
		}
		for end := time.Now().Add(10 * time.Second); h.Engines() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%d engines do not end", h.Engines())
				return
			}
		}
		h.Close()
	})
	return h, all
}

// TestHostIdle: an engine that has nothing to do has no goroutine, no thread and no
// buffer, also when it has written.
func TestHostIdle(t *testing.T) {
	h, all := hosted(t, 2, HostOptions{}, nil) // one works by itself
	all[0].write("first\n")
	all[0].current("first\n")
	settled := func() (goroutines, threads int) {
		all[0].until("is idle", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, e := range h.engines {
				if e.state != idle || e.kit != nil {
					return false
				}
			}
			return len(h.work.taken) == 0 && len(h.work.queue) == 0
		})
		time.Sleep(time.Millisecond) // what has given its seat back has yet to end
		n, _ := runtime.ThreadCreateProfile(nil)
		return runtime.NumGoroutine(), n
	}
	before, threads := settled()
	const more = 100
	for i := range more {
		b := startIn(t, t.TempDir(), nil, h.Engine)
		all = append(all, b)
		b.write(fmt.Sprintf("this is %d\n", i))
		b.current(fmt.Sprintf("this is %d\n", i))
	}
	t.Cleanup(func() {
		for _, b := range all {
			b.e.Stop()
		}
	})
	// The tests' own: two for each engine.
	if after, made := settled(); after > before+2*more || made > threads+4 {
		t.Errorf("%d more engines: %d goroutines, then %d; %d threads, then %d", more, before, after, threads, made)
	}
	if len(h.kits) > keptKits {
		t.Errorf("%d kits are kept", len(h.kits))
	}
}

// TestHostFlood: while others are flooded, a line of one is taken after few turns of theirs.
// What is counted is what the flood hands over in the meantime: that does not depend on how
// busy the machine is, and make bench tells the time.
func TestHostFlood(t *testing.T) {
	for _, turns := range []int{1, 2} {
		t.Run(fmt.Sprint(turns), func(t *testing.T) {
			var flood atomic.Int64
			taken := make(chan int64, 1)
			_, all := hosted(t, 4, HostOptions{Turns: func() int { return turns }}, func(i int, o *Options) {
				if i < 3 {
					config(t, o.Dirs[0], "s100000\nn2\n")
					return
				}
				config(t, o.Dirs[0], "e*\n")
				o.Stderr = func([]byte) { taken <- flood.Load() }
			})
			var over atomic.Bool
			ended := make(chan bool, 3)
			for _, b := range all[:3] {
				go func() {
					for lines := bytes.Repeat([]byte("a line of a flood\n"), 200); !over.Load(); {
						n, _ := b.in.Write(lines)
						flood.Add(int64(n))
					}
					ended <- true
				}()
			}
			var passed []int64
			for i := range 40 {
				begin := flood.Load()
				all[3].write(fmt.Sprintf("line %d\n", i))
				passed = append(passed, <-taken-begin)
			}
			over.Store(true)
			for range 3 {
				<-ended
			}
			slices.Sort(passed)
			const turn, pipes = 128 << 10, 3 * 64 << 10
			t.Logf("KiB of the flood: %d as a rule, %d at most", passed[20]>>10, passed[39]>>10)
			if often := passed[35]; often > 20*turn+pipes { // the others of 40 may have met a test that was not run
				t.Errorf("a line waits until %d KiB of others are written", often>>10)
			}
		})
	}
}

// TestHostHangs: engines that hang, here where they tell something, hold no other up.
func TestHostHangs(t *testing.T) {
	const stuck = 5
	hold := make(chan struct{})
	var asked atomic.Int32
	_, all := hosted(t, stuck+1, HostOptions{Room: func(n int) bool {
		asked.Store(max(asked.Load(), int32(n)))
		return true
	}}, func(i int, o *Options) {
		if i < stuck {
			config(t, o.Dirs[0], "e*\n")
			o.Stderr = func([]byte) { <-hold }
		}
	})
	t.Cleanup(func() { close(hold) })
	for _, b := range all[:stuck] {
		b.write("to stderr, too\n")
		b.current("to stderr, too\n")
	}
	free := all[stuck]
	want := ""
	for i := range 10 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		free.write(line)
		free.current(want)
	}
	if asked.Load() == 0 {
		t.Errorf("nobody has asked for room for threads")
	}
}

// TestHostNoRoom: where no thread can be had nothing is made that may hang; when one
// that hangs goes on all is done.
func TestHostNoRoom(t *testing.T) {
	hold := make(chan struct{})
	var asked atomic.Bool
	_, all := hosted(t, 2, HostOptions{Room: func(n int) bool {
		asked.Store(true)
		return n <= 2
	}}, func(i int, o *Options) {
		if i == 0 {
			config(t, o.Dirs[0], "e*\n")
			o.Stderr = func([]byte) { <-hold }
		}
	})
	all[0].write("x\n")
	all[0].current("x\n")
	all[1].write("y\n")
	all[1].until("asks", func() bool { return true })
	close(hold)
	all[1].current("y\n")
}

// TestHostPauses: one that pauses, here for a full disk, has no seat.
func TestHostPauses(t *testing.T) {
	h, all := hosted(t, 2, HostOptions{}, nil)
	full := all[0]
	full.write("x\n")
	full.current("x\n")
	full.mu.Lock()
	full.e.host.mu.Lock()
	l := full.e.logs[0]
	full.e.host.mu.Unlock()
	full.mu.Unlock()
	dev, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.EACCES {
		aloud.Skip(t, "this user may not write to /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(dev, l.cur, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	full.write("y\n")
	full.until("pauses", func() bool {
		full.mu.Lock()
		defer full.mu.Unlock()
		return len(full.said) > 0 && strings.HasPrefix(full.said[len(full.said)-1], "pausing: unable to write to current")
	})
	full.until("stands", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.work.taken) == 0
	})
	all[1].write("z\n")
	all[1].current("z\n")
}

// TestHostProcessors: each engine's processors have its environment and stderr.
func TestHostProcessors(t *testing.T) {
	errs := make([]*os.File, 3)
	_, all := hosted(t, 3, HostOptions{}, func(i int, o *Options) {
		f, err := os.Create(filepath.Join(t.TempDir(), "errs"))
		if err != nil {
			t.Fatal(err)
		}
		errs[i] = f
		config(t, o.Dirs[0], "!echo $WHO $OTHER; echo $WHO >&2; pwd >&2; cat\n")
		o.Env, o.Errors = []string{fmt.Sprint("WHO=engine ", i)}, int(f.Fd())
	})
	for i, b := range all {
		b.write("text\n")
		b.current("text\n")
		b.e.Rotate()
		b.until("is processed", func() bool {
			old := b.old()
			return len(old) == 1 && strings.HasSuffix(old[0], ".s")
		})
		if got, want := b.text(), fmt.Sprintf("engine %d\ntext\n", i); got != want {
			t.Errorf("files: %q, want %q", got, want)
		}
		text, err := os.ReadFile(errs[i].Name())
		if want := fmt.Sprintf("engine %d\n%s\n", i, b.dir); err != nil || string(text) != want {
			t.Errorf("stderr: %q, %v, want %q", text, err, want)
		}
	}
}

// TestHostHeld: what is held of a line outlives the time between two turns, in which
// others use the same room.
func TestHostHeld(t *testing.T) {
	_, all := hosted(t, 10, HostOptions{}, nil)
	for part := range 5 {
		for i, b := range all {
			b.write(fmt.Sprintf("%d of engine %d ", part, i))
			b.until("is taken", func() bool { return ready(b.e.o.Input, unix.POLLIN) == 0 })
		}
	}
	for i, b := range all {
		b.write("\n")
		want := ""
		for part := range 5 {
			want += fmt.Sprintf("%d of engine %d ", part, i)
		}
		b.current(want + "\n")
	}
}

// TestHostEnds: of engines that end and others that begin none is forgotten.
func TestHostEnds(t *testing.T) {
	h, _ := hosted(t, 0, HostOptions{}, nil)
	for round := range 5 {
		var all []*bench
		for range 20 {
			all = append(all, startIn(t, t.TempDir(), nil, h.Engine))
		}
		for _, b := range all {
			b.write("x\n")
		}
		for i, b := range all {
			if i%2 == 0 {
				b.current("x\n")
				b.e.Stop()
			}
		}
		for i, b := range all {
			if i%2 != 0 {
				b.in.Close()
			}
			if err := <-b.done; err != nil {
				t.Error(err)
			}
			b.current("x\n")
		}
		if n := h.Engines(); n != 0 {
			t.Fatalf("round %d: there are %d engines", round, n)
		}
	}
}

// TestHostKilled: one that is killed closes nothing in order, and another that follows
// loses and doubles nothing; one that is halted does nothing until it is resumed.
func TestHostKilled(t *testing.T) {
	h, all := hosted(t, 2, HostOptions{}, nil)
	b := all[0]
	b.write("first\nbegin ")
	b.current("first\n")
	b.until("is held", func() bool { return ready(b.e.o.Input, unix.POLLIN) == 0 })
	b.e.Halt()
	b.write("of a line\nnext\n")
	b.e.Rotate()
	all[1].write("x\n")
	all[1].current("x\n")
	if got := b.text(); got != "first\n" {
		t.Errorf("a halted engine has written: %q", got)
	}
	b.e.Stop()
	b.e.Kill()
	if err := <-b.done; err != ErrKilled {
		t.Errorf("ends with %v", err)
	}
	if st, err := os.Stat(filepath.Join(b.dir, "current")); err != nil || st.Mode() != 0o644 {
		t.Errorf("current: %v, %v", st.Mode(), err)
	}
	again := startIn(t, b.dir, func(o *Options) { o.Input = b.e.o.Input }, h.Engine)
	again.until("goes on", func() bool { return again.text() == "first\nbegin of a line\nnext\n" })
	again.e.Halt()
	b.write("later\n")
	again.e.Resume()
	again.until("is resumed", func() bool { return again.text() == "first\nbegin of a line\nnext\nlater\n" })
	again.e.Stop()
	<-again.done
}

// TestHostAlone: the first engine, which works by itself, goes on as the others do when
// there are others, whatever it was doing; commands reach it before and after.
func TestHostAlone(t *testing.T) {
	for name, do := range map[string]struct{ before, after func(b *bench) }{
		"idle":    {func(*bench) {}, func(*bench) {}},
		"line":    {func(b *bench) { b.write("begin") }, func(b *bench) { b.write(" end\n"); b.current("first\nbegin end\n") }},
		"halted":  {func(b *bench) { b.e.Halt() }, func(b *bench) { b.e.Resume() }},
		"resumed": {func(b *bench) { b.e.Halt(); b.e.Resume() }, func(*bench) {}},
		"paused": {func(b *bench) { // in front of a directory that is gone
			os.RemoveAll(b.dir)
			b.e.Rotate()
			b.until("pauses", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return strings.Contains(strings.Join(b.said, "\n"), "pausing: unable to rename current")
			})
		}, func(b *bench) { b.e.Stop() }},
	} {
		t.Run(name, func(t *testing.T) {
			h, all := hosted(t, 1, HostOptions{}, nil)
			all[0].write("first\n")
			all[0].current("first\n")
			do.before(all[0])
			second := startIn(t, t.TempDir(), nil, h.Engine)
			defer second.e.Stop()
			second.write("second\n")
			second.current("second\n")
			do.after(all[0])
			if name == "paused" {
				all[0].until("has ended", func() bool { return h.Engines() == 1 })
				return
			}
			all[0].write("last\n")
			all[0].until("has the last line", func() bool {
				b, _ := os.ReadFile(filepath.Join(all[0].dir, "current"))
				return bytes.HasSuffix(b, []byte("\nlast\n"))
			})
		})
	}
}
