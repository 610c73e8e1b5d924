package logger

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestLongLines writes lines that are longer than a batch, than a pipe holds and
// than what is left of a file: each is in one file, also if it is rotated while
// the line comes.
func TestLongLines(t *testing.T) {
	dir := t.TempDir()
	config(t, dir, "s1000000\nn0\n")
	b := start(t, dir, nil)
	var want strings.Builder
	for i := range 20 {
		line := strings.Repeat(string(rune('a'+i)), 150000+20000*i) + "\n"
		half := len(line) / 2
		b.write(line[:half])
		if i%5 == 3 {
			b.until("has some of it", func() bool {
				text, _ := os.ReadFile(filepath.Join(dir, "current"))
				return strings.HasSuffix(string(text), line[:100000])
			})
			b.e.Rotate()
		}
		b.write(line[half:])
		want.WriteString(line)
	}
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	if b.text() != want.String() {
		t.Errorf("%d bytes in the files, want %d", len(b.text()), want.Len())
	}
	if lines := parted(t, b); len(lines) > 0 {
		t.Errorf("%d lines are parted", len(lines))
	}
	if n := len(b.old()); n < 6 {
		t.Errorf("only %d old logs: this tests next to nothing", n)
	}
}

// TestSettleCarry comes after a logger that was killed while it took a line's
// begin along: nothing is lost or doubled.
func TestSettleCarry(t *testing.T) {
	for _, tt := range []struct {
		name           string
		current, carry string // before; "-" if there is none
		want           []string
	}{
		{"nothing to settle", "one\n", "-", []string{"one\n", ""}},
		{"the copy is not whole", "one\nbegin", "be", []string{"one\nbegin", ""}},
		{"the copy is whole, current is not cut", "one\nbegin", "begin", []string{"one\nbegin", ""}},
		{"current is cut", "one\n", "begin", []string{"one\n", "begin", ""}},
		{"current is an old log", "-", "begin", []string{"begin", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"current": tt.current, carryName: tt.carry} {
				if text == "-" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			b := start(t, dir, nil)
			if err := b.end(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, name := range append(b.old(), filepath.Join(dir, "current")) {
				text, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(text))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, journalName+"*")); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// TestFileWithoutEnd takes a file's only line, which has no end.
func TestFileWithoutEnd(t *testing.T) {
	for _, text := range []string{"", "x", "x\n", "x\ny", strings.Repeat("x", 5000)} {
		t.Run(fmt.Sprint(len(text)), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "input")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			b := start(t, t.TempDir(), func(o *Options) { o.Input = fd })
			if err := b.end(); err != nil {
				t.Fatal(err)
			}
			want := text
			if text != "" && !strings.HasSuffix(text, "\n") {
				want += "\n"
			}
			if got := b.text(); got != want {
				t.Errorf("files: %.50q, want %.50q", got, want)
			}
		})
	}
}
