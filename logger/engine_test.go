package logger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bench is an engine in this process, on a pipe, with a clock of its own.
type bench struct {
	t    *testing.T
	dir  string
	in   *os.File // the pipe's writing end
	e    *Engine
	done chan error
	mu   sync.Mutex
	now  time.Time
	said []string
	errs bytes.Buffer
}

// start runs an engine on dir.
func start(t *testing.T, dir string, change func(*Options)) *bench {
	t.Helper()
	return startBatch(t, dir, batchSize, change)
}

// startBatch runs an engine that takes so much at once.
func startBatch(t *testing.T, dir string, batch int, change func(*Options)) *bench {
	t.Helper()
	return startIn(t, dir, change, func(o Options) (*Engine, error) { return newEngine(o, batch) })
}

// startIn runs an engine that is made by create.
func startIn(t *testing.T, dir string, change func(*Options), create func(Options) (*Engine, error)) *bench {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir, in: os.NewFile(uintptr(p[1]), "in"), done: make(chan error, 1), now: time.Now()}
	o := Options{
		Dirs: []string{dir}, Root: unix.AT_FDCWD, Input: p[0], Head: 1000, Buffer: 1024, Start: StartChild,
		Now: func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.now
		},
		Report: func(level Level, text string, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.said = append(b.said, fmt.Sprint(level, ": ", text, ": ", err))
		},
		Stderr: func(lines []byte) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.errs.Write(lines)
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if b.e, err = create(o); err != nil {
		t.Fatal(err)
	}
	go func() { b.done <- b.e.Run() }()
	deaths := make(chan os.Signal, 1)
	signal.Notify(deaths, unix.SIGCHLD)
	go func() {
		for range deaths {
			b.e.Reap()
		}
	}()
	t.Cleanup(func() {
		b.in.Close()
		unix.Close(p[0])
		signal.Stop(deaths)
		close(deaths)
	})
	return b
}

// write writes into the pipe.
func (b *bench) write(text string) {
	b.t.Helper()
	if _, err := b.in.WriteString(text); err != nil {
		b.t.Fatal(err)
	}
}

// until waits for a condition.
func (b *bench) until(what string, cond func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("never %s; said %q", what, b.said)
		}
	}
}

// current waits until current has this content.
func (b *bench) current(want string) {
	b.t.Helper()
	b.until("has "+want, func() bool {
		text, err := os.ReadFile(filepath.Join(b.dir, "current"))
		return err == nil && string(text) == want
	})
}

// end closes the input and waits for the engine.
func (b *bench) end() error {
	b.t.Helper()
	b.in.Close()
	select {
	case err := <-b.done:
		return err
	case <-time.After(20 * time.Second):
		b.t.Fatal("the engine does not end")
		return nil
	}
}

// old are the names of the old logs, the oldest first.
func (b *bench) old() []string {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, "@*"))
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// text is all that is in the files, the oldest first.
func (b *bench) text() string {
	b.t.Helper()
	var all strings.Builder
	for _, name := range append(b.old(), filepath.Join(b.dir, "current")) {
		text, err := os.ReadFile(name)
		if absent(err) != nil { // in a rotation it is not there for a moment
			b.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

func config(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestClockSteps sets the clock back and forth between rotations: the logs
// that stay are always the last, in order.
func TestClockSteps(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "n2\n")
	b := start(t, dir, nil)
	for i, step := range []time.Duration{0, time.Hour, -3 * time.Hour, 0, -time.Hour, 24 * time.Hour, -48 * time.Hour, 0} {
		b.mu.Lock()
		b.now = b.now.Add(step)
		b.mu.Unlock()
		line := fmt.Sprintf("line %d\n", i)
		b.write(line)
		b.current(line)
		b.e.Rotate()
		b.current("")
		want := line
		if i > 0 {
			want = fmt.Sprintf("line %d\n", i-1) + line
		}
		b.until("keeps the last two", func() bool { return len(b.old()) <= 2 && b.text() == want })
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// TestFutureLogs begins with old logs from the future: the one just made stays.
func TestFutureLogs(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "n2\n")
	for i, name := range []string{"@4fffffff6b034ba322cffacc.s", "@4fffffff6b034ba322cffacd.s"} {
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "future %d\n", i), 0o744); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, dir, nil)
	b.write("now\n")
	b.current("now\n")
	b.e.Rotate()
	b.until("rotates", func() bool { return b.text() == "future 1\nnow\n" })
	if err := b.end(); err != nil {
		t.Error(err)
	}
}

// TestTakenName rotates when the name that is next is taken, or when a name
// that is none of a time is there: no file is overwritten.
func TestTakenName(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "n0\n")
	const last = "@ffffffffffffffffffffffff.s"
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o744); err != nil {
			t.Fatal(err)
		}
	}
	put(last, "last\n")
	put("@ffffffffffffffff00000000.s", "first of the second\n")
	b := start(t, dir, nil)
	b.write("x\n")
	b.current("x\n")
	l := labelOf(b.now)
	put(string(l.appendTo(nil))+".u", "taken\n")
	b.e.Rotate()
	b.until("rotates", func() bool { return len(b.old()) == 4 })
	if err := b.end(); err != nil {
		t.Error(err)
	}
	if got := b.text(); got != "taken\nx\nfirst of the second\nlast\n" {
		t.Errorf("files: %q", got)
	}
}

// TestJournal begins where a killed logger has left a batch in the pipe, whole
// or in part in current. Of another pipe, boot or batch the journal counts for
// nothing.
func TestJournal(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for _, tt := range []struct {
		name   string
		change func(*entry)
		batch  int
		want   string
	}{
		{"between two writes", func(e *entry) { e.done, e.size0 = 8, e.size1 }, 100, "one\ntwo\nthree\n"},
		{"after the last", func(e *entry) { e.next = 14 }, 100, "one\ntwo\n"}, // as it says
		{"inside of a write", func(e *entry) { e.done, e.size0, e.size1 = 4, 4, 100 }, 100, "one\ntwo\nthree\n"},
		{"consumed", func(e *entry) { e.mark[0] = byte(e.want) }, 100, "one\ntwo\none\ntwo\nthree\n"},
		{"a batch larger than ours", func(e *entry) { e.done, e.size0 = 8, e.size1 }, 10, "one\ntwo\nthree\n"},
		{"another boot", func(e *entry) { e.boot++ }, 100, "one\ntwo\none\ntwo\nthree\n"},
		{"another pipe", func(e *entry) { e.ino++ }, 100, "one\ntwo\none\ntwo\nthree\n"},
		{"the same pipe of another device", func(e *entry) { e.dev++ }, 100, "one\ntwo\none\ntwo\nthree\n"},
		{"other bytes", func(e *entry) { e.sum++ }, 100, "one\ntwo\none\ntwo\nthree\n"},
		{"a begin was held, and is consumed", func(e *entry) { e.size1, e.held1, e.mark[0] = 0, 4, byte(e.want) }, 100, "one\ntwo\nheldone\ntwo\nthree\n"},
		{"a begin was held, in part", func(e *entry) { e.size1, e.held0, e.held1 = 0, 2, 4 }, 100, "one\ntwo\nheone\ntwo\nthree\n"},
		{"a begin was held, a batch is in the file", func(e *entry) { e.held0, e.done, e.size0 = 4, 18, 8 }, 100, "one\ntwo\n"},
		{"a begin was held of another pipe", func(e *entry) { e.size1, e.ino, e.held1, e.mark[0] = 0, 1, 4, byte(e.want) }, 100, "one\ntwo\nheld\none\ntwo\nthree\n"},
		{"a begin was held of another boot", func(e *entry) { e.size1, e.boot, e.held0 = 0, 1, 4 }, 100, "one\ntwo\nheld\none\ntwo\nthree\n"},
		{"that is in the file already", func(e *entry) { e.size1, e.boot, e.held0, e.done = 0, 1, 4, 4 }, 100, "one\ntwo\none\ntwo\nthree\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			config(t, dir, "n0\n")
			if err := os.WriteFile(filepath.Join(dir, "current"), []byte("one\ntwo\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, "current"), &st); err != nil {
				t.Fatal(err)
			}
			b := startBatch(t, dir, tt.batch, func(o *Options) {
				o.Buffer = 0
				in := newInput(o.Input, 1)
				if _, err := unix.Write(o.Input+1, []byte(text)); err != nil { // the other end
					t.Fatal(err)
				}
				fd, err := unix.Open(dir, unix.O_RDONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				j, err := openJournal(fd, journalSize(1000))
				if err != nil {
					t.Fatal(err)
				}
				boot, err := bootID()
				if err != nil {
					t.Fatal(err)
				}
				e := entry{boot: boot, dev: in.dev, ino: in.ino, batch: 7, n: uint64(len(text)), sum: checksum([]byte(text)),
					current: st.Ino, size0: 0, size1: 8, next: 8, want: '\n'}
				j.begin(e, []byte("held"))
				tt.change(j.entry())
				j.close()
			})
			if err := b.end(); err != nil {
				t.Fatal(err)
			}
			if got := b.text(); got != tt.want {
				t.Errorf("files: %q, want %q; said %q", got, tt.want, b.said)
			}
		})
	}
}

// TestTwoJournals begins where a logger was killed after it had put a batch down
// in one of two journals; the batch before had too few bytes for two marks.
func TestTwoJournals(t *testing.T) {
	const text = "ld\nrest\n"
	dirs := []string{t.TempDir(), t.TempDir()}
	b := start(t, dirs[0], func(o *Options) {
		o.Dirs = dirs
		in := newInput(o.Input, 1)
		boot, err := bootID()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(o.Input+1, []byte(text)); err != nil { // the other end
			t.Fatal(err)
		}
		e := entry{boot: boot, dev: in.dev, ino: in.ino}
		first, second := e, e
		first.batch, first.n, first.sum, first.want, first.held0, first.held1 = 8, 3, checksum([]byte("ld\n")), '\n', 2, 0
		second.batch, second.n, second.sum, second.want, second.held0, second.held1 = 7, 1, checksum([]byte("e")), 0x100, 1, 2
		for i, e := range []entry{first, second} {
			fd, err := unix.Open(dirs[i], unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			j, err := openJournal(fd, journalSize(1000))
			if err != nil {
				t.Fatal(err)
			}
			j.begin(e, []byte("he"))
			j.close()
		}
	})
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if got, _ := os.ReadFile(filepath.Join(dir, "current")); string(got) != "held\nrest\n" {
			t.Errorf("current: %q", got)
		}
	}
}

// TestBegins compares a pipe's begin with a batch, also if that is more than
// can be looked at.
func TestBegins(t *testing.T) {
	batch := bytes.Repeat([]byte("some line\n"), 1000)
	e := entry{n: uint64(len(batch)), sum: checksum(batch), prefix: prefixSum(batch)}
	other := append([]byte("other"), batch[5:]...)
	for _, tt := range []struct {
		name  string
		there []byte
		holds int
		want  bool
	}{
		{"all of it", batch, len(batch), true},
		{"more than it", append(batch, 'x'), len(batch) + 1, true},
		{"less than it", batch[:9999], 9999, false},
		{"a part can be seen", batch[:4096], len(batch), true},
		{"too little can be seen", batch[:100], len(batch), false},
		{"other bytes", other, len(batch), false},
		{"a part of other bytes", other[:4096], len(batch), false},
		{"a part, and there is less", batch[:4096], len(batch) - 1, false},
	} {
		if got := e.begins(tt.there, tt.holds); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestChecksum is of both ends.
func TestChecksum(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 100000)
	sum := checksum(b)
	for _, i := range []int{0, 4000, 99999, 97000} {
		b[i] = 'y'
		if checksum(b) == sum {
			t.Errorf("byte %d does not matter", i)
		}
		b[i] = 'x'
	}
}

// TestAge rotates by age as time passes.
func TestAge(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "t1h\n")
	b := start(t, dir, nil)
	b.write("a\n")
	b.current("a\n")
	b.mu.Lock()
	b.now = b.now.Add(59 * time.Minute)
	b.mu.Unlock()
	b.write("b\n")
	b.current("a\nb\n")
	b.mu.Lock()
	b.now = b.now.Add(2 * time.Minute)
	b.mu.Unlock()
	b.write("c\n")
	b.current("c\n")
	if err := b.end(); err != nil {
		t.Error(err)
	}
	if got := b.text(); got != "a\nb\nc\n" {
		t.Errorf("files: %q", got)
	}
}

// TestManyEngines runs engines side by side: they share nothing.
func TestManyEngines(t *testing.T) {
	var all []*bench
	for range 30 {
		all = append(all, start(t, t.TempDir(), nil))
	}
	for i, b := range all {
		b.write(fmt.Sprintf("this is %d\n", i))
	}
	for i, b := range all {
		b.current(fmt.Sprintf("this is %d\n", i))
	}
	for _, b := range all {
		b.e.Stop()
	}
	for _, b := range all {
		if err := <-b.done; err != nil {
			t.Error(err)
		}
		b.e.Stop() // a late signal does no harm
	}
}

// TestNoLogs is the end without a directory.
func TestNoLogs(t *testing.T) {
	b := start(t, filepath.Join(t.TempDir(), "none"), nil)
	if err := <-b.done; !errors.Is(err, ErrNoLogs) {
		t.Errorf("error %v", err)
	}
}

// TestNoAllocations handles lines as the engine does, in all ways that they may
// go: none allocates.
func TestNoAllocations(t *testing.T) {
	for _, tt := range []struct {
		name, config, line string
		stamp              Stamp
		replace            bool
	}{
		{"plain", "s0\n", "a line\n", NoStamp, false},
		{"with a size", "s1m\n", "a line\n", NoStamp, false},
		{"stamps", "s0\n", "a line\n", Underscore, false},
		{"stamps and a prefix", "s0\npweb: \n", "a line\n", TAI64N, false},
		{"patterns", "s0\n-*\n+*a*\n-+b\n", "a line\n", ISO8601, false},
		{"replaced", "s0\n", "a\tline\n", NoStamp, true},
		{"to stderr, too", "s0\ne*\n", "a line\n", Underscore, false},
		{"long", "s0\n-b*\n", strings.Repeat("x", 2000) + "\n", Underscore, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			config(t, dir, tt.config)
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			now := time.Now()
			o := Options{
				Dirs: []string{dir}, Root: unix.AT_FDCWD, Input: p[0], Head: 1000, Buffer: 1024, Stamp: tt.stamp,
				Now:    func() time.Time { return now },
				Report: func(level Level, text string, err error) {},
				Stderr: func(lines []byte) {},
			}
			if tt.replace {
				o.Replacement, o.Replaced = '_', new([256]bool)
				o.Replaced['\t'] = true
			}
			e, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer e.host.Close()
			if err := e.enter(e.host.borrow(), nil); err != nil {
				t.Fatal(err)
			}
			defer func() { e.host.giveBack(e.leave()) }()
			e.in = newInput(p[0], e.takes)
			e.in.r, e.in.w = e.r, e.w
			l := e.logs[0]
			if usable, err := l.open(plan{}); !usable || err != nil {
				t.Fatal(usable, err)
			}
			defer l.close(true)
			lines := bytes.Repeat([]byte(tt.line), 60000/len(tt.line))
			batch := func() { // from the pipe into the file, and off the pipe
				if n, err := unix.Write(p[1], lines); n != len(lines) {
					t.Fatal(n, err)
				}
				if _, _, err := e.pump(); err != nil {
					t.Fatal(err)
				}
				if n := e.in.holds(); n != 0 {
					t.Fatalf("%d bytes are left", n)
				}
			}
			if n := testing.AllocsPerRun(10, batch); n != 0 {
				t.Errorf("%v allocations in %d lines", n, len(lines)/len(tt.line))
			}
			if l.size < int64(11*len(lines)) {
				t.Errorf("current has %d bytes", l.size)
			}
		})
	}
}

// TestSteadyState writes batches and rotates without garbage to speak of.
func TestSteadyState(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "s0\n-nothing\n")
	b := start(t, dir, func(o *Options) { o.Stamp = TAI64N })
	text := strings.Repeat("some line\n", 5000)
	size := int64(0)
	batch := func() {
		b.write(text)
		size += int64(len(text) + 26*5000)
		b.until("is written", func() bool {
			var st unix.Stat_t
			return unix.Stat(filepath.Join(dir, "current"), &st) == nil && st.Size == size
		})
	}
	batch()
	var before, after = memory(), uint64(0)
	for range 50 {
		batch()
	}
	if after = memory(); after-before > 200_000 {
		t.Errorf("250,000 lines made %d bytes of garbage", after-before)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
}
