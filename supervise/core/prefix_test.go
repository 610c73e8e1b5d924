//go:build !slim

package core

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
)

// said is a prefixer whose lines the test reads, and what it says of itself.
type saidTo struct {
	*prefixer
	read *os.File // the other end of its output
	told chan error
}

func newSaidTo(t *testing.T, plain bool) *saidTo {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 64)
	x, err := newPrefixer(func(_ diag.Level, _ string, err error) { told <- err }, p[1])
	if err != nil {
		t.Fatal(err)
	}
	x.plain = plain
	unix.SetNonblock(p[0], true)
	read := os.NewFile(uintptr(p[0]), "lines")
	t.Cleanup(func() { read.Close() })
	read.SetReadDeadline(time.Now().Add(20 * time.Second))
	return &saidTo{x, read, told}
}

// source is a pipe of a service of that name.
func (p *saidTo) source(t *testing.T, name string) *source {
	t.Helper()
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.SetNonblock(fd[0], true)
	s := newSource(name, fd[0], fd[1])
	if err := p.add(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *source, pieces ...string) {
	t.Helper()
	for _, piece := range pieces {
		for len(piece) > 0 {
			n, err := unix.Write(s.w, []byte(piece))
			if err != nil {
				t.Fatal(err)
			}
			piece = piece[n:]
		}
	}
}

// lines are the next n, long ones as their first bytes and their length.
func (p *saidTo) next(t *testing.T, r *bufio.Reader, n int) (lines []string) {
	t.Helper()
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", lines, err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

func TestPrefixer(t *testing.T) {
	long := strings.Repeat("x", 40000)
	tests := []struct {
		what   string
		pieces []string
		end    bool // the service ends
		want   []string
	}{
		{"a line", []string{"one\n"}, false, []string{"web: one"}},
		{"an empty one", []string{"\n"}, false, []string{"web: "}},
		{"two in one write", []string{"one\ntwo\n"}, false, []string{"web: one", "web: two"}},
		{"one in three writes", []string{"o", "n", "e\n"}, false, []string{"web: one"}},
		{"NULs and all", []string{"\x00\x01\xff\n"}, false, []string{"web: \x00\x01\xff"}},
		{"what has no end, when the service ends", []string{"one\ntw"}, true, []string{"web: one", "web: tw"}},
		{"what has one, when the service ends", []string{"one\ntwo\n"}, true, []string{"web: one", "web: two"}},
		{"a long one is whole", []string{long + "\n"}, false, []string{"web: " + long}},
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			t.Run(tt.what, func(t *testing.T) {
				p := newSaidTo(t, plain)
				r := bufio.NewReader(p.read)
				s := p.source(t, "web")
				write(t, s, tt.pieces...)
				if tt.end {
					p.end(s)
				}
				got := p.next(t, r, len(tt.want))
				write(t, s, "last\n")
				got = append(got, p.next(t, r, 1)...)
				if diff := cmp.Diff(append(slices.Clone(tt.want), "web: last"), got); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A line that does not fit the pipe comes in pieces, each with the name before it.
func TestPrefixerPieces(t *testing.T) {
	p := newSaidTo(t, false)
	r := bufio.NewReader(p.read)
	s := p.source(t, "web")
	go func() { unix.Write(s.w, []byte(strings.Repeat("x", 300000)+"\nlast\n")) }()
	n := 0
	for {
		line := p.next(t, r, 1)[0]
		text, ok := strings.CutPrefix(line, "web: ")
		if !ok {
			t.Fatalf("a piece begins with %.20q", line)
		}
		if text == "last" {
			break
		}
		n += len(text)
	}
	if n != 300000 {
		t.Errorf("%d bytes of the line, want 300000", n)
	}
}

// What was looked at and not written is still in the pipe: where nobody reads the lines
// another finds all of them there, but for the one that is being written.
func TestPrefixerLosesNothing(t *testing.T) {
	p := newSaidTo(t, false)
	s := p.source(t, "web")
	size, err := unix.FcntlInt(uintptr(p.out), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", size-len("web: \n")) + "\n" // the output is full with one
	write(t, s, line, line, line)
	for p.current.Load() == nil || p.lines.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	n, err := unix.IoctlGetInt(s.r, unix.TIOCINQ)
	for ; err == nil && n != 2*len(line); n, err = unix.IoctlGetInt(s.r, unix.TIOCINQ) { // the first was written
		time.Sleep(time.Millisecond)
	}
	r, err := unix.FcntlInt(uintptr(s.r), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(r)
	p.leave(s) // though its second line is being written
	if n, _ := unix.IoctlGetInt(r, unix.TIOCINQ); n != 2*len(line) {
		t.Errorf("%d bytes are left for another reader, want %d", n, 2*len(line))
	}
	// When that is written, what is in the pipe is not touched any more.
	p.next(t, bufio.NewReader(p.read), 2)
	p.turn.Lock()
	defer p.turn.Unlock()
	if n, _ := unix.IoctlGetInt(r, unix.TIOCINQ); n != 2*len(line) {
		t.Errorf("%d bytes are left then, want %d", n, 2*len(line))
	}
}

// A source that is let go is read to its end, which is when nobody writes to it any more.
func TestPrefixerRetires(t *testing.T) {
	p := newSaidTo(t, false)
	r := bufio.NewReader(p.read)
	s := p.source(t, "web")
	w, err := unix.FcntlInt(uintptr(s.w), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "one\n")
	p.retire(s)
	write(t, &source{w: w}, "two\nthr")
	unix.Close(w)
	if diff := cmp.Diff([]string{"web: one", "web: two", "web: thr"}, p.next(t, r, 3)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for len(p.all()) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// Where nobody can read the lines that is said once, and they are dropped until somebody can.
func TestPrefixerWithoutReader(t *testing.T) {
	p := newSaidTo(t, false)
	r := bufio.NewReader(p.read)
	out := p.out
	p.turnTo(1 << 20) // none
	s := p.source(t, "web")
	write(t, s, "one\n", "two\n")
	for p.taken(s) < 8 {
		time.Sleep(time.Millisecond)
	}
	if err := <-p.told; !errors.Is(err, unix.EBADF) {
		t.Errorf("it says %v", err)
	}
	p.turnTo(out)
	write(t, s, "three\n")
	if diff := cmp.Diff([]string{"web: three"}, p.next(t, r, 1)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if len(p.told) > 0 {
		t.Errorf("it says more: %v", <-p.told)
	}
}

// taken is how many bytes were taken out of a source.
func (p *prefixer) taken(s *source) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.total
}
