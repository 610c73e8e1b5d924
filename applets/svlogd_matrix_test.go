package applets

import (
	"bytes"
	enc "encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// matrixCase is one way to feed a logger.
type matrixCase struct {
	write   int    // bytes that are handed over at once
	line    int    // bytes of a line, with its end
	pipe    int    // bytes that the pipe holds; 0 if it is none
	writers string // of a pipe: one, many or closing; or what else the input is
	state   string // what becomes of the logger meanwhile
}

func (c matrixCase) String() string {
	return fmt.Sprintf("write %d line %d pipe %d %s %s", c.write, c.line, c.pipe, c.writers, c.state)
}

// matrix is the whole product.
func matrix() (all []matrixCase) {
	for _, write := range []int{1, 100, 4096, 1 << 16, 1 << 20, 4 << 20} {
		for _, line := range []int{1, 100, 1000, 4097, 128 << 10, 1 << 20, 20 << 20} {
			for _, state := range []string{"running", "stopped", "killed", "full"} {
				for _, writers := range []string{"one", "many", "closing"} {
					for _, pipe := range []int{4096, 1 << 16, 1 << 20} {
						all = append(all, matrixCase{write, line, pipe, writers, state})
					}
				}
				for _, input := range []string{"file", "terminal", "socket"} {
					if state != "killed" { // what was read from those is gone
						all = append(all, matrixCase{write, line, 0, input, state})
					}
				}
			}
		}
	}
	return all
}

// TestSvlogdMatrix feeds svlogd in all ways: all bytes come to the files, in
// order, and it never sleeps while some wait. RUNITBOX_MATRIX=all tries the whole
// product, and a number so many of it; without that it is a sample, always the same.
func TestSvlogdMatrix(t *testing.T) {
	t.Parallel()
	cases, n := matrix(), 90
	if text := os.Getenv("RUNITBOX_MATRIX"); text == "all" {
		n = len(cases)
	} else if text != "" {
		n, _ = strconv.Atoi(text)
	}
	seen := map[string]bool{ // these broke once
		"write 1048576 line 100 pipe 65536 one running":      true,
		"write 4194304 line 20971520 pipe 65536 one running": true,
	}
	if n < len(cases) {
		r := rand.New(rand.NewPCG(12, 15))
		r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
		slices.SortStableFunc(cases, func(a, b matrixCase) int {
			switch {
			case seen[a.String()] == seen[b.String()]:
				return 0
			case seen[a.String()]:
				return -1
			}
			return 1
		})
		cases = cases[:n]
		huge := 0 // those take the longest
		cases = slices.DeleteFunc(cases, func(c matrixCase) bool {
			if c.line >= 20<<20 && !seen[c.String()] {
				huge++
			}
			return c.line >= 20<<20 && huge > 6 && !seen[c.String()]
		})
	}
	ours := loggerBinary(t)
	theirs := ""
	if peers := os.Getenv("RUNITBOX_PEERS"); peers != "" {
		theirs = peer(t, "svlogd")
	}
	t.Run("all", func(t *testing.T) {
		for i, c := range cases {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				c.run(t, ours, uint64(i))
			})
			if theirs != "" && c.state == "running" && i%3 == 0 && c.writers != "file" { // whose end it drops, and it never asks for more
				t.Run("runit: "+c.String(), func(t *testing.T) {
					t.Parallel()
					c.run(t, theirs, uint64(i))
				})
			}
		}
	})
}

// feeder is what one writer writes. Its bytes are no other writer's, but for
// the newlines.
type feeder struct {
	number int
	text   []byte
}

func newFeeder(c matrixCase, number, size int, seed uint64) *feeder {
	r := rand.NewPCG(seed, uint64(number))
	text := make([]byte, 0, size+8)
	for len(text) < size {
		text = enc.NativeEndian.AppendUint64(text, r.Uint64()&0x0f0f0f0f0f0f0f0f|0x8080808080808080|0x1010101010101010*uint64(number))
	}
	for i := c.line - 1; i < size; i += c.line {
		text[i] = '\n'
	}
	return &feeder{number, text[:size]}
}

// size is how much one writer writes: more than the pipe holds, and a line, but
// not for ever.
func (c matrixCase) size() int {
	size := max(3*c.pipe, 2*c.write, c.line+c.line/10, 200000)
	most := 8000 * c.write
	if c.writers == "terminal" {
		most = min(most, 100000)
	}
	return min(size, most)
}

// run runs the case. One seed makes one course of it, as far as time allows.
func (c matrixCase) run(t *testing.T, program string, seed uint64) {
	writers := map[string]int{"many": 4, "closing": 3}[c.writers]
	var feeders []*feeder
	for i := range max(writers, 1) {
		size := c.size() / max(writers, 1)
		if c.writers != "closing" && size > c.line {
			size = size / c.line * c.line
		}
		feeders = append(feeders, newFeeder(c, i, size, seed))
	}
	for i, f := range feeders {
		if c.writers != "closing" || i == len(feeders)-1 {
			f.text[len(f.text)-1] = '\n' // a last line that has no end runit drops
		}
	}
	total := 0
	for _, f := range feeders {
		total += len(f.text)
	}

	dir := logDir(t, "")
	r := rand.New(rand.NewPCG(seed, 99))
	if c.state == "full" {
		mountSmall(t, dir, total+total/4+(1<<20))
	}
	setConfig(t, dir, []string{"s0\nn0\n", "s300000\nn0\n"}[r.IntN(2)])
	if len(feeders[0].text) > 4<<20 { // not a hundred files
		setConfig(t, dir, "s0\nn0\n")
	}
	ballast := filepath.Join(dir, "d/ballast")
	if c.state == "full" {
		fill(t, ballast, 16<<10)
	}

	in, out := c.input(t, feeders[0].text)
	if c.pipe > 0 {
		resize(in, c.pipe)
	}
	run := startLoggerOn(t, program, dir, in, "d")
	run.until("is ready", func() bool {
		st, err := os.Stat(filepath.Join(dir, "d/current"))
		return err == nil && (st.Mode().Perm() == 0o644 || c.writers == "file")
	})
	if c.pipe > 0 {
		resize(in, c.pipe) // it has enlarged it
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		if c.writers != "file" {
			c.feed(out, feeders)
		}
	}()
	switch c.state {
	case "stopped":
		time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond) // the random moment
		run.cmd.Process.Signal(unix.SIGSTOP)                     // a file may be through
		awake(t, run, in, func() bool { return stuck(in, done) })
		run.cmd.Process.Signal(unix.SIGCONT)
	case "killed":
		for range 4 {
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond) // the random moment
			run.cmd.Process.Kill()
			run.wait()
			run = startLoggerOn(t, program, dir, in, "d")
			resize(in, c.pipe)
		}
	case "full":
		awake(t, run, in, func() bool {
			select {
			case <-done:
				return true
			default:
				return strings.Contains(run.said(), "pausing: ")
			}
		})
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	awake(t, run, in, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if c.writers == "terminal" {
		run.until("has all", func() bool {
			text, _ := logFiles(t, filepath.Join(dir, "d"))
			return len(text) >= total
		})
		run.signal(unix.SIGTERM)
	}
	if status := run.wait(); status != 0 {
		t.Errorf("exit %d: %s", status, run.said())
	}
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	c.check(t, text, feeders)
	if left := glob(t, dir, "d/.svlogd*"); len(left) > 0 {
		t.Errorf("an orderly end left %q", left)
	}
}

// fill leaves so much room on the disk.
func fill(t *testing.T, path string, room int64) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err == nil {
		defer f.Close()
		err = unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*int64(st.Bsize)-room)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// resize makes a pipe hold so much, if it holds no more than that just now.
func resize(pipe *os.File, size int) {
	conn, _ := pipe.SyscallConn()
	conn.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
}

// unread is how many bytes wait in an input.
func unread(in *os.File) (n int) {
	conn, _ := in.SyscallConn()
	conn.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// stuck says that the writer is through, or waits for a logger that is stopped.
func stuck(in *os.File, done chan bool) bool {
	n := unread(in)
	for range 10 {
		select {
		case <-done:
			return true
		case <-time.After(5 * time.Millisecond):
		}
		if now := unread(in); now != n || n == 0 {
			return false
		}
	}
	return true
}

// awake waits for a condition. Meanwhile the logger must not sleep beside input:
// that is so if the same bytes wait there, and it is asleep, each of many times.
// A logger that is stopped, or pauses for a full disk, is let be.
func awake(t *testing.T, run *loggerRun, in *os.File, cond func() bool) {
	t.Helper()
	same, last, pauses := 0, 0, 0
	for end := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		n, said := unread(in), strings.Count(run.said(), "pausing: ")
		if n > 0 && n == last && said == pauses && asleep(run) {
			same++
		} else {
			same = 0
		}
		if last, pauses = n, said; same > 75 && pauses == 0 || same > 250 {
			t.Fatalf("it sleeps beside %d bytes; said %s", n, run.said())
		}
		if time.Now().After(end) {
			t.Fatalf("it takes for ever: %d bytes wait; said %s", n, run.said())
		}
	}
}

// asleep says that all threads of a logger sleep.
func asleep(run *loggerRun) bool {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", run.cmd.Process.Pid))
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		if !bytes.Contains(text, []byte(") S ")) {
			return false
		}
	}
	return len(paths) > 0
}

// input is what the logger reads from, and the end to write to.
func (c matrixCase) input(t *testing.T, text []byte) (in, out *os.File) {
	t.Helper()
	switch c.writers {
	case "file":
		path := filepath.Join(t.TempDir(), "input")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		out, _ := os.Open(path)
		return in, out
	case "socket":
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		in, out = os.NewFile(uintptr(pair[0]), "in"), os.NewFile(uintptr(pair[1]), "out")
	case "terminal":
		out, in = rawTerminal(t)
	default:
		return pipe(t)
	}
	t.Cleanup(func() { in.Close(); out.Close() })
	return in, out
}

// rawTerminal is a terminal that passes all bytes on as they are.
func rawTerminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		skip(t, "no terminals here: "+err.Error())
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		master.Close()
		skip(t, err.Error())
	}
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.B38400}
	raw.Cc[unix.VMIN] = 1
	conn, _ := tty.SyscallConn()
	conn.Control(func(fd uintptr) { err = unix.IoctlSetTermios(int(fd), unix.TCSETS, &raw) })
	if err != nil {
		t.Fatal(err)
	}
	return master, tty
}

// feed has all writers write what is theirs: at once, or one after the other,
// each of which closes its end in the middle of a line.
func (c matrixCase) feed(out *os.File, feeders []*feeder) {
	var all sync.WaitGroup
	ends := make([]int, len(feeders))
	conn, _ := out.SyscallConn()
	conn.Control(func(fd uintptr) {
		for i := range ends {
			ends[i], _ = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3)
		}
	})
	if c.writers != "terminal" { // whose end would be an error, and drop what is on its way
		out.Close()
	}
	for i, f := range feeders {
		write := func() {
			defer unix.Close(ends[i])
			for rest := f.text; len(rest) > 0; {
				n, err := unix.Write(ends[i], rest[:min(len(rest), c.write)])
				switch {
				case err == unix.EAGAIN: // a terminal's end is Go's own
					unix.Poll([]unix.PollFd{{Fd: int32(ends[i]), Events: unix.POLLOUT}}, -1)
				case err != nil && err != unix.EINTR:
					return // the check tells
				}
				rest = rest[max(n, 0):]
			}
		}
		if c.writers == "closing" {
			write()
		} else {
			all.Go(write)
		}
	}
	all.Wait()
}

// check compares what is in the files with what each writer has written.
func (c matrixCase) check(t *testing.T, text []byte, feeders []*feeder) {
	t.Helper()
	ends, of := 0, byWriter(text)
	for _, f := range feeders {
		ends += bytes.Count(f.text, []byte("\n"))
		got, want := of[f.number], bytes.ReplaceAll(f.text, []byte("\n"), nil)
		if len(feeders) == 1 {
			got, want = text, f.text
		}
		if i := firstDifference(got, want); i >= 0 {
			t.Errorf("of writer %d there are %d bytes, want %d: they differ at %d: %x, want %x", f.number, len(got), len(want), i, around(got, i), around(want, i))
		}
	}
	if n := bytes.Count(text, []byte("\n")); n != ends {
		t.Errorf("%d lines, want %d", n, ends)
	}
}

// byWriter parts what several writers have written, without the newlines.
func byWriter(text []byte) (of [8][]byte) {
	for rest := text; len(rest) > 0; {
		n := 1 // as much as is of one writer
		for n < len(rest) && rest[n]>>4 == rest[0]>>4 {
			n++
		}
		if rest[0] >= 0x80 {
			of[rest[0]>>4&7] = append(of[rest[0]>>4&7], rest[:n]...)
		}
		rest = rest[n:]
	}
	return of
}
