package logger

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// memory is how many bytes were allocated so far.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// split is the plainest reading of what a log gets of an input: each line
// whole, unless its head is not selected, and the replacement in its head.
func split(input string, head int) string {
	var out strings.Builder
	for line := range strings.Lines(input) {
		line = strings.TrimSuffix(line, "\n")
		cut := min(len(line), head)
		shown := strings.Map(func(r rune) rune {
			if r < 32 || r > 126 {
				return '_'
			}
			return r
		}, latin(line[:cut]))
		if strings.HasPrefix(shown, "no") {
			continue
		}
		out.WriteString(">" + shown + line[cut:] + "\n")
	}
	return out.String()
}

// latin makes a rune of each byte.
func latin(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// parted are the lines that are in more than one file.
func parted(t *testing.T, b *bench) (lines []string) {
	t.Helper()
	line := "" // its begin
	for _, name := range append(b.old(), filepath.Join(b.dir, "current")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		before := line
		if i := strings.IndexByte(string(text), '\n'); i >= 0 {
			if before != "" {
				lines = append(lines, before+string(text[:i+1]))
			}
			line = string(text[strings.LastIndexByte(string(text), '\n')+1:])
		} else {
			line += string(text)
		}
	}
	return lines
}

// FuzzSplit writes an input in pieces: however it is cut, and however small
// files and buffers are, the same comes out.
func FuzzSplit(f *testing.F) {
	f.Add("one\ntwo\n\nno three\npartial", uint16(3), uint16(0), uint16(10), uint16(60000))
	f.Add(strings.Repeat("a long line ", 400)+"\nshort\n", uint16(777), uint16(50), uint16(40), uint16(3))
	f.Add(strings.Repeat("x\n", 3000)+"\x00\xff\n", uint16(999), uint16(4000), uint16(1000), uint16(4000))
	for batch := range uint16(6) { // lines as long as a batch, and one more or less
		f.Add("abcdefg\r\nabcdefghi\n\nabcdefgh\nx\nnoxxxxxxxxxxxx\n", uint16(100), uint16(20), uint16(2), batch+4)
	}
	f.Fuzz(func(t *testing.T, input string, piece, size, head, batch uint16) {
		if len(input) > 60000 || int(size) > 0 && len(input)*3/int(size) > 300 {
			t.Skip("too many files")
		}
		dir := t.TempDir()
		config(t, dir, fmt.Sprintf("s%d\nn0\np>\n-no*\n", size))
		var set [256]bool
		for c := range set {
			set[c] = c < 32 || c > 126
		}
		b := startBatch(t, dir, int(head)+3+int(batch), func(o *Options) {
			o.Head, o.Buffer = int(head)+2, 0
			o.Replacement, o.Replaced = '_', &set
		})
		for rest := input; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			b.write(rest[:n])
			rest = rest[n:]
		}
		if err := b.end(); err != nil {
			t.Fatal(err)
		}
		if got, want := b.text(), split(input, int(head)+2); got != want {
			t.Errorf("got %d bytes, want %d: %.200q, want %.200q", len(got), len(want), got, want)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, journalName+"*")); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		for _, line := range parted(t, b) {
			if len(line) <= int(size) {
				t.Errorf("a line of %d bytes is parted: %.100q", len(line), line)
			}
		}
	})
}
