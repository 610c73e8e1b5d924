package logger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killed is an engine that can be left where it is, as a kill leaves it.
func killed(t *testing.T, in int, dirs []string) *Engine {
	t.Helper()
	e, err := New(Options{Dirs: dirs, Root: unix.AT_FDCWD, Input: in, Head: 1000, Start: StartChild, Now: time.Now,
		Report: func(Level, string, error) {}, Stderr: func([]byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// leave closes what a killed process has open. The journal stays as it is.
func leave(e *Engine) {
	for _, l := range e.logs {
		l.shut()
	}
	e.leave().close()
	e.host.Close()
}

// opened has an engine begin without a host that runs it.
func opened(e *Engine) error {
	if err := e.enter(e.host.borrow(), nil); err != nil {
		return err
	}
	return e.open()
}

// TestKilledAgain: a logger is killed when a batch is in the files and not yet consumed; the
// one after it ends at any place before that batch is consumed. The third writes none of
// it again.
func TestKilledAgain(t *testing.T) {
	const text = "line\nsecond\nthird\n"
	for _, tt := range []struct {
		name   string
		second func(t *testing.T, e *Engine, in int)
	}{
		{"killed when it has begun", func(t *testing.T, e *Engine, in int) {
			if err := opened(e); err != nil {
				t.Fatal(err)
			}
			leave(e)
		}},
		{"killed when it has read its configuration again", func(t *testing.T, e *Engine, in int) {
			if err := opened(e); err != nil {
				t.Fatal(err)
			}
			if err := e.reload(); err != nil {
				t.Fatal(err)
			}
			leave(e)
		}},
		{"killed when the batch is in one journal", func(t *testing.T, e *Engine, in int) {
			if err := opened(e); err != nil {
				t.Fatal(err)
			}
			n, what, err := e.in.fetch(e.buf[e.have:])
			if err != nil || what != some {
				t.Fatal(what, err)
			}
			fd := e.logs[len(e.logs)-1].fd
			if len(e.logs) > 1 {
				e.logs[1].fd = -1 // is passed over
			}
			e.note(e.buf[:e.have+n], n, 0)
			e.logs[len(e.logs)-1].fd = fd
			leave(e)
		}},
		{"told to end", func(t *testing.T, e *Engine, in int) {
			e.Stop()
			if err := e.Run(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, dirs := range []int{1, 2} {
			for _, begin := range []string{"", "held "} {
				t.Run(tt.name+strings.Repeat(" of two", dirs-1)+strings.Repeat(", a begin is held", len(begin)/5), func(t *testing.T) {
					var paths []string
					for range dirs {
						paths = append(paths, t.TempDir())
					}
					var p [2]int
					if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
						t.Fatal(err)
					}
					defer unix.Close(p[0])
					write := func(text string) {
						if _, err := unix.Write(p[1], []byte(text)); err != nil {
							t.Fatal(err)
						}
					}

					e := killed(t, p[0], paths)
					if err := opened(e); err != nil {
						t.Fatal(err)
					}
					if write(begin); begin != "" {
						if _, _, err := e.pump(); err != nil {
							t.Fatal(err)
						}
					}
					write(text)
					n, _, err := e.in.fetch(e.buf[e.have:])
					if err != nil {
						t.Fatal(err)
					}
					data := e.buf[:e.have+n]
					e.note(data, n, 0)
					for l := range e.usable {
						if err := l.put(data, false); err != nil {
							t.Fatal(err)
						}
					}
					leave(e)

					tt.second(t, killed(t, p[0], paths), p[0])

					write("last\n")
					unix.Close(p[1])
					if err := killed(t, p[0], paths).Run(); err != nil {
						t.Fatal(err)
					}
					for _, path := range paths {
						if got := logText(t, path); got != begin+text+"last\n" {
							t.Errorf("files: %q", got)
						}
					}
				})
			}
		}
	}
}

// logText is what is in a log directory.
func logText(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "@*"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range append(names, filepath.Join(dir, "current")) { // Glob sorts them
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}
