package reader

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// label is the TAI64N stamp of a moment.
func label(t time.Time) string {
	return fmt.Sprintf("@%016x%08x", t.Unix()+taiEpoch, t.Nanosecond())
}

var begin = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// at is a moment some milliseconds after begin.
func at(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

// write makes a file in a directory.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// said collects what a reader tells, as "source text" lines.
type said struct{ lines []string }

func (s *said) emit(e *Entry) error {
	text := fmt.Sprintf("%d %s", e.Source, e.Text)
	if e.Rest {
		s.lines[len(s.lines)-1] += string(e.Text)
		return nil
	}
	s.lines = append(s.lines, text)
	return nil
}

// newReader is one that fails the test where it has something to warn of.
func newReader(t *testing.T, to *said) *Reader {
	return &Reader{Last: -1, Emit: to.emit, Unpack: gunzip, Warn: func(err error) { t.Helper(); t.Error(err) }}
}

// gunzip unpacks without a program.
func gunzip(program string, from *os.File) (io.Reader, func() error, error) {
	if program != "gzip" {
		return nil, nil, fmt.Errorf("no %s here", program)
	}
	z, err := gzip.NewReader(from)
	return z, func() error { return nil }, err
}

// packed is a text as a processor leaves it.
func packed(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func read(t *testing.T, r *Reader, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if _, err := r.Add(dir, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
	r.Close()
}

func TestParse(t *testing.T) {
	var c calendar
	for _, tt := range []struct {
		line string
		want time.Time
		text string
	}{
		{label(at(1500)) + " text", at(1500), "text"},
		{label(at(0)), at(0), ""},
		{label(at(0)) + "x", time.Time{}, ""},
		{label(at(0))[:24], time.Time{}, ""},
		{"@4000000000000000ffffffff text", time.Time{}, ""},
		{"@400000000000000A00000000 text", time.Time{}, ""},
		{"@3fffffffffffffff00000000 text", time.Time{}, ""},
		{"@ffffffffffffffff00000000 text", time.Time{}, ""},
		{"2026-03-01_03:00:00.25000 text", at(250), "text"},
		{"2026-03-01T03:00:00.25000 text", at(250), "text"},
		{"2026-03-01T03:00:01  two blanks", at(1000), " two blanks"},
		{"2026-02-29_03:00:00.00000 no such day", time.Time{}, ""},
		{"2024-02-29_03:00:00.00000 one", time.Date(2024, 2, 29, 3, 0, 0, 0, time.UTC), "one"},
		{"2026-03-01_24:00:00.00000 no such hour", time.Time{}, ""},
		{"2026-03-01 03:00:00.00000 a blank", time.Time{}, ""},
		{"2026-03-01_03:00:00.00000x", time.Time{}, ""},
		{"2026-13-01_03:00:00.00000 x", time.Time{}, ""},
		{"1960-01-01_03:00:00.00000 x", time.Time{}, ""},
		{"9999-12-31_03:00:00.00000 x", time.Time{}, ""},
		{"text", time.Time{}, ""}, {"", time.Time{}, ""},
	} {
		ns, text := c.parse([]byte(tt.line))
		if tt.want.IsZero() {
			if ns != noTime || text != 0 {
				t.Errorf("%q: %d, %d", tt.line, ns, text)
			}
			continue
		}
		if ns != tt.want.UnixNano() || tt.line[text:] != tt.text {
			t.Errorf("%q: %v %q", tt.line, time.Unix(0, ns).UTC(), tt.line[text:])
		}
	}
}

// FuzzParse compares the stamps with what package time reads.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{label(at(0)) + " x", "2026-03-01_03:00:00.25000 x", "2026-03-01T03:00:60 x", "@", "2026-", "2026-03-01_03:00:00.", "0000-00-00T00:00:00 "} {
		f.Add([]byte(seed))
	}
	var c calendar
	f.Fuzz(func(t *testing.T, text []byte) {
		ns, n := c.parse(text)
		if n > len(text) || (ns == noTime) != (n == 0) {
			t.Fatalf("%q: %d, %d", text, ns, n)
		}
		var fresh calendar
		if again, m := fresh.parse(text); again != ns || m != n {
			t.Errorf("%q: %d, %d; without the date before %d, %d", text, ns, n, again, m)
		}
		if n == 0 || text[0] == '@' {
			return
		}
		stamp := strings.TrimSuffix(string(text[:n]), " ")
		for _, form := range []string{"2006-01-02_15:04:05", "2006-01-02T15:04:05"} {
			if want, err := time.Parse(form, stamp[:19]); err == nil && (ns < want.UnixNano() || ns >= want.UnixNano()+1e9) {
				t.Errorf("%q: %d, want %d", text, ns, want.UnixNano())
			}
		}
	})
}

// TestMerge reads directories of all kinds of stamps, rotated, packed and not.
func TestMerge(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, a, label(at(100))+".s", packed(label(at(10))+" a1\n"+label(at(100))+" a2\n"))
	write(t, a, label(at(200))+".u", label(at(150))+" a3\nwithout a stamp\n")
	write(t, a, label(at(200))+".t", "a processor writes this\n")
	write(t, a, "current", label(at(300))+" a4\n"+label(at(305))+" no newline")
	write(t, a, "config", "n20\n")
	write(t, b, label(at(120))+".s", "2026-03-01_03:00:00.00500 b1\n2026-03-01T03:00:00.12000 b2\n")
	write(t, b, "current", "2026-03-01_03:00:00.30100 b3\n")
	write(t, c, label(at(130))+".s", "c1\nc2\n")
	var got said
	read(t, newReader(t, &got), a, b, c)
	want := []string{"1 b1", "0 a1", "0 a2", "1 b2", "2 c1", "2 c2", "0 a3", "0 without a stamp", "0 a4", "1 b3", "0 no newline"}
	if diff := cmp.Diff(want, got.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name string
		set  func(r *Reader)
		want []string
	}{
		{"the last", func(r *Reader) { r.Last = 3 }, []string{"0 a4", "1 b3", "0 no newline"}},
		{"the last, into a packed one", func(r *Reader) { r.Last = 10 }, want[1:]},
		{"more than there are", func(r *Reader) { r.Last = 100 }, want},
		{"none", func(r *Reader) { r.Last = 0 }, nil},
		{"since", func(r *Reader) { r.Since = at(150) }, want[6:]},
		{"until", func(r *Reader) { r.Until = at(120) }, want[:4]},
		{"grep", func(r *Reader) { r.Match = func(b []byte) bool { return bytes.HasPrefix(b, []byte("b")) } }, []string{"1 b1", "1 b2", "1 b3"}},
		{"the last of grep", func(r *Reader) {
			r.Match = func(b []byte) bool { return bytes.HasPrefix(b, []byte("b")) }
			r.Last = 2
		}, []string{"1 b2", "1 b3"}},
	} {
		var got said
		r := newReader(t, &got)
		tt.set(r)
		read(t, r, a, b, c)
		if diff := cmp.Diff(tt.want, got.lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestClockBack: where a clock was set ahead and back, the lines keep the order of
// their file and do not hold up those behind.
func TestClockBack(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, a, "current", label(at(1))+" a1\n"+label(begin.Add(9999*time.Hour))+" a2\n"+label(at(3))+" a3\n")
	write(t, b, "current", label(at(2))+" b1\n"+label(at(4))+" b2\n")
	var got said
	read(t, newReader(t, &got), a, b)
	if diff := cmp.Diff([]string{"0 a1", "1 b1", "0 a2", "0 a3", "1 b2"}, got.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLong reads lines that are longer than what is held of a file.
func TestLong(t *testing.T) {
	for _, size := range []int{0, 1, blockSize - 27, blockSize - 26, blockSize - 25, maxLine - 26, maxLine, maxLine + 1, 3*maxLine + 7} {
		dir := t.TempDir()
		long := strings.Repeat("x", size)
		write(t, dir, "current", label(at(1))+" "+long+"\n"+label(at(2))+" behind\n"+label(at(3))+" "+long)
		var got said
		read(t, newReader(t, &got), dir)
		if diff := cmp.Diff([]string{"0 " + long, "0 behind", "0 " + long}, got.lines); diff != "" {
			t.Errorf("size %d: %d lines", size, len(got.lines))
		}
		got = said{}
		r := newReader(t, &got)
		r.Last = 1
		read(t, r, dir)
		if len(got.lines) != 1 || got.lines[0] != "0 "+long {
			t.Errorf("size %d: the last of it", size)
		}
	}
}

// TestRandom compares with sorting.
func TestRandom(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 50 {
		var dirs []string
		var want []struct {
			at   int
			text string
		}
		for d := range 1 + rnd.Intn(6) {
			dir := t.TempDir()
			dirs = append(dirs, dir)
			text, ms := "", rnd.Intn(50)
			for i := range rnd.Intn(200) {
				ms += rnd.Intn(20) + 1
				text += fmt.Sprintf("%s %d.%d %s\n", label(at(ms)), d, i, strings.Repeat("y", rnd.Intn(300)))
				want = append(want, struct {
					at   int
					text string
				}{ms, fmt.Sprintf("%d %s", d, text[strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n')+1+26:len(text)-1])})
				if rnd.Intn(50) == 0 {
					if rnd.Intn(2) == 0 {
						text = packed(text)
					}
					write(t, dir, label(at(ms))+".s", text)
					text = ""
				}
			}
			write(t, dir, "current", text)
		}
		slices.SortStableFunc(want, func(a, b struct {
			at   int
			text string
		}) int {
			return a.at - b.at
		})
		var lines []string
		for _, w := range want {
			lines = append(lines, w.text)
		}
		var got said
		read(t, newReader(t, &got), dirs...)
		if diff := cmp.Diff(lines, got.lines); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if n := rnd.Intn(100); len(lines) > n {
			got = said{}
			r := newReader(t, &got)
			r.Last = n
			read(t, r, dirs...)
			if diff := cmp.Diff(append([]string(nil), lines[len(lines)-n:]...), got.lines); diff != "" {
				t.Fatalf("the last %d (-want +got):\n%s", n, diff)
			}
		}
	}
}

// TestFollow reads on while files are rotated, packed and deleted.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	var got said
	r := newReader(t, &got)
	if err := r.Follow(); err != nil {
		t.Fatal(err)
	}
	r.Last = 1
	write(t, dir, "current", label(at(1))+" one\n"+label(at(2))+" two\n")
	if _, err := r.Add(dir, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
	check := func(what string, want ...string) {
		t.Helper()
		for range 100 {
			if len(got.lines) >= len(want) {
				break
			}
			unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, 100)
			if err := r.Pump(); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got.lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		got.lines = nil
	}
	check("what was there", "0 two")
	add := func(text string) {
		f, err := os.OpenFile(dir+"/current", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(text)
		f.Close()
	}
	rotate := func(ms int) {
		if err := os.Rename(dir+"/current", dir+"/"+label(at(ms))+".s"); err != nil {
			t.Fatal(err)
		}
	}
	add(label(at(3)) + " three\n" + label(at(4)) + " fo")
	check("a line and a half", "0 three")
	add("ur\n")
	check("the other half", "0 four")
	add(label(at(5)) + " five\n")
	rotate(5)
	add(label(at(6)) + " six\n")
	check("a rotation", "0 five", "0 six")
	for i := 7; i < 12; i++ {
		rotate(i)
		add(fmt.Sprintf("%s %d\n", label(at(i)), i))
	}
	check("several rotations at once", "0 7", "0 8", "0 9", "0 10", "0 11")
	add(label(at(12)) + " 12\n")
	stem := dir + "/" + label(at(13)) + "."
	os.Rename(dir+"/current", stem+"u")
	write(t, dir, label(at(13))+".t", packed(label(at(11))+" 11\n"+label(at(12))+" 12\n"))
	os.Rename(stem+"t", stem+"s")
	os.Remove(stem + "u")
	add(label(at(14)) + " 14\n")
	check("one that was packed", "0 12", "0 14")
	os.Truncate(dir+"/current", 0)
	r.Pump()
	add(label(at(15)) + " 15\n")
	check("and written again", "0 15")
	rotate(15)
	os.Remove(dir + "/" + label(at(15)) + ".s") // no room for old ones
	add(label(at(16)) + " 16\n")
	check("rotated and deleted", "0 16")
	r.Close()
}

// TestFollowOrder follows a directory in which names tell nothing of the order: the clock is
// set back, processors take files away, the limit of old logs does. Each line is told once,
// in the order in which they were written.
func TestFollowOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps string // what a logger does there, and when it is looked at
		want  string
	}{
		{"the clock goes back", "write a; look; rotate 100; write b; look; rotate 50; write c; look; rotate 70; write d; look", "a b c d"},
		{"it does so for several logs at once", "write a; look; rotate 100; write b; rotate 50; write c; rotate 40; write d; look", "a b c d"},
		{"it was ahead before all", "write a; rotate 1000; write b; begin; rotate 50; write c; rotate 60; write d; look; write e; look", "a b c d e"},
		{"a log of which a half is read", "write a; rotate 1000; write b; begin; write c; rotate 50; write d; look; write e; rotate 40; look", "a b c d e"},
		{"the begin is in the middle", "write a; rotate 100; write b; rotate 50; write c; begin 1; rotate 60; write d; look", "c d"},
		{"what has just been finished is deleted", "write a; look; rotate 100; delete 100; write b; look; write c; rotate 50; delete 50; write d; look", "a b c d"},
		{"a log is deleted and the next packed", "write a; look; hand 100; write b; hand 50; write c; pack 50; delete 100; look", "a b c"},
		{"a processor changes what it gets", "write a; look; hand 100; shout 100; write b; look; hand 50; write c; hand 40; write d; shout 50; look; shout 40; look", "a b c d"},
		{"logs are alike", "write a; look; rotate 100; delete 100; write a; rotate 200; write a; look", "a a a"},
		{"current is called previous, then processed", "write a; look; leave; write b; look; process 100; write c; look; leave; process 50; write d; look", "a b c d"},
		{"what was never seen but as previous comes late", "write a; look; leave; process 100; write b; leave; write c; look; process 50; look; write d; look", "a c b d"},
		{"current is taken away", "write a; look; leave; write b; look; rotate 50; write c; rotate 40; write d; look", "a b c d"},
		{"the kernel has not told it all", "write a; look; rotate 100; write b; overflow; rotate 110; write c; look", "a b c"},
		{"two logs back something is added", "write a; look; rotate 100; write b; rotate 50; write c; look; add 100 d; look; add 50 e; look", "a b c d e"},
		{"the directory is replaced", "write a; look; replace at-once; write b; look; write c; look; rotate 50; write d; look", "a b c d"},
		{"it is gone for a while", "write a; look; replace; look; make; write b; look; write c; look; rotate 50; write d; look", "a b c d"},
		{"it is so twice", "write a; look; replace; look; make; look; write b; replace at-once; look; write c; look", "a b c"},
		{"the begin of a line goes into the next file", "write a; half b; look; carry 100; look; write c; look", "a bc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "main")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			var got said
			r := newReader(t, &got)
			if err := r.Follow(); err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			write(t, dir, current, "")
			path := func(name string) string { return filepath.Join(dir, name) }
			add := func(name, text string) {
				f, err := os.OpenFile(path(name), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteString(text); err != nil {
					t.Fatal(err)
				}
			}
			rename := func(from, to string) {
				if err := os.Rename(path(from), path(to)); err != nil {
					t.Fatal(err)
				}
			}
			// made has a processor make a log of what it was handed.
			made := func(from, by, to string, change func(string) string) {
				text, err := os.ReadFile(path(from))
				if err != nil {
					t.Fatal(err)
				}
				write(t, dir, by, change(string(text)))
				rename(by, to)
				os.Remove(path(from))
			}
			begun := false
			for i, step := range strings.Split(tt.steps, "; ") {
				fields := append(strings.Fields(step), "", "")
				verb, word := fields[0], fields[1]
				var ms int
				fmt.Sscan(word, &ms)
				stem := label(at(ms)) + "."
				switch verb {
				case "write":
					add(current, word+"\n")
				case "half":
					add(current, word)
				case "add":
					add(stem+"s", fields[2]+"\n")
				case "rotate":
					rename(current, stem+"s")
					write(t, dir, current, "")
				case "hand":
					rename(current, stem+"u")
					write(t, dir, current, "")
				case "leave":
					rename(current, "previous")
					write(t, dir, current, "")
				case "pack":
					made(stem+"u", stem+"t", stem+"s", packed)
				case "shout":
					made(stem+"u", stem+"t", stem+"s", strings.ToUpper)
				case "process":
					made("previous", "processed", stem+"s", packed)
				case "delete":
					os.Remove(path(stem + "s"))
					os.Remove(path(stem + "u"))
				case "replace":
					if err := os.Rename(dir, fmt.Sprint(dir, i)); err != nil {
						t.Fatal(err)
					}
					if word == "" {
						break
					}
					fallthrough
				case "make":
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					write(t, dir, current, "")
				case "carry":
					text, _ := os.ReadFile(path(current))
					whole := bytes.LastIndexByte(text, '\n') + 1
					write(t, dir, ".next", string(text[whole:]))
					os.Truncate(path(current), int64(whole))
					rename(current, stem+"s")
					rename(".next", current)
				case "overflow":
					r.drain()
					r.sources[0].left, r.sources[0].missed = nil, true
				case "begin", "look":
					if begun {
						if err := r.Pump(); err != nil {
							t.Fatal(err)
						}
						break
					}
					begun = true
					if word != "" {
						r.Last = ms
					}
					if _, err := r.Add(dir, time.Time{}); err != nil {
						t.Fatal(err)
					}
					if err := r.Read(); err != nil {
						t.Fatal(err)
					}
				default:
					t.Fatal(step)
				}
			}
			if diff := cmp.Diff(strings.Fields(tt.want), strings.Fields(strings.ReplaceAll(strings.Join(got.lines, " "), "0 ", ""))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSurveyClockBack: which logs were there before current is not told by their names, where
// it is renamed while they are listed.
func TestSurveyClockBack(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, label(at(1000))+".s", "")
	write(t, dir, current, "0")
	next := 50
	names, now, name, err := survey(dir, func() {
		if next >= 40 {
			os.Rename(dir+"/current", dir+"/"+label(at(next))+".s")
			write(t, dir, current, "")
			write(t, dir, label(at(next+5))+".s", "") // and the next one after it
			next -= 10
		}
	})
	if err != nil || now == nil {
		t.Fatal(now, err)
	}
	now.Close()
	if want := label(at(40)) + ".s"; name != want {
		t.Errorf("current is %s now, want %s", name, want)
	}
	if diff := cmp.Diff([]string{label(at(50)) + ".s", label(at(55)) + ".s", label(at(1000)) + ".s"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSinceClockBack: a log that ends, by its name, before the time that is asked for may have
// lines of that time all the same.
func TestSinceClockBack(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, label(at(50))+".s", label(at(200))+" ahead\n"+label(at(45))+" back\n")
	write(t, dir, label(at(60))+".s", label(at(55))+" old\n")
	write(t, dir, current, label(at(70))+" now\n")
	var got said
	r := newReader(t, &got)
	r.Since = at(65)
	read(t, r, dir)
	if diff := cmp.Diff([]string{"0 ahead", "0 now"}, got.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMany reads a directory of ten thousand files.
func TestMany(t *testing.T) {
	dir := t.TempDir()
	for i := range 10000 {
		write(t, dir, label(at(i))+".s", fmt.Sprintf("%s %d\n", label(at(i)), i))
	}
	var got said
	read(t, newReader(t, &got), dir)
	if len(got.lines) != 10000 || got.lines[9999] != "0 9999" {
		t.Errorf("%d lines", len(got.lines))
	}
}

// TestSurvey: a directory that is rotated all the time is read without a line lost or
// doubled.
func TestSurvey(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "current", "")
	written := make(chan bool)
	go func() {
		defer close(written)
		f, _ := os.OpenFile(dir+"/current", os.O_APPEND|os.O_WRONLY, 0)
		for i := range 5000 {
			fmt.Fprintf(f, "%s %d\n", label(at(i)), i)
			if i%7 == 6 {
				f.Close()
				os.Rename(dir+"/current", dir+"/"+label(at(i))+".s")
				f, _ = os.OpenFile(dir+"/current", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			}
		}
		f.Close()
	}()
	for over := false; !over; {
		select {
		case <-written:
			over = true
		default:
		}
		var got said
		read(t, newReader(t, &got), dir)
		for i, line := range got.lines {
			if line != fmt.Sprintf("0 %d", i) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
		if over && len(got.lines) != 5000 {
			t.Errorf("%d lines", len(got.lines))
		}
	}
}

// TestIsPlain tries every byte at every place of a word.
func TestIsPlain(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := []byte(strings.Repeat("a", 20))
			text[at] = byte(c)
			want := c == '\t' || c >= ' ' && c < 0x7f
			if got := IsPlain(text); got != want {
				t.Errorf("byte %#x at %d: %v", c, at, got)
			}
		}
	}
}

// TestTwoWriters: two that write into one directory, each of which rotates it and has a clock
// of its own, lose no line of each other's to who reads meanwhile, nor have one told twice.
// What one of them has open is current or was the last before it: none rotates as long as the
// other is further behind.
func TestTwoWriters(t *testing.T) {
	dir := t.TempDir()
	var got said
	r := newReader(t, &got)
	if err := r.Follow(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "current", "")
	if _, err := r.Add(dir, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
	const lines = 300
	var writers sync.WaitGroup
	var mu sync.Mutex
	closed := sync.NewCond(&mu)
	age := [2]int{-1, -1} // how many rotations ago was current what each has open; -1: it has nothing open
	for w := range 2 {
		writers.Go(func() {
			for i := range lines {
				mu.Lock()
				age[w] = 0
				f, err := os.OpenFile(dir+"/current", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
				mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				if i%20 == 10*w {
					mu.Lock()
					for age[1-w] > 0 {
						closed.Wait()
					}
					os.Rename(dir+"/current", fmt.Sprintf("%s/%s.s", dir, label(at(2*i+w))))
					for other := range age {
						if age[other] >= 0 {
							age[other]++
						}
					}
					mu.Unlock()
				}
				fmt.Fprintf(f, "%s %d-%d\n", label(at(2*i+w)), w, i)
				f.Close()
				mu.Lock()
				age[w] = -1
				closed.Signal()
				mu.Unlock()
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	over := make(chan struct{})
	go func() { writers.Wait(); close(over) }()
	for idle := 0; idle < 20; {
		n := len(got.lines)
		unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, 20)
		if err := r.Pump(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-over:
			if idle++; len(got.lines) > n {
				idle = 0
			}
		default:
		}
	}
	count := map[string]int{}
	for _, line := range got.lines {
		count[line]++
	}
	for w := range 2 {
		for i := range lines {
			if line := fmt.Sprintf("0 %d-%d", w, i); count[line] != 1 {
				t.Errorf("%s is told %d times", line, count[line])
			}
		}
	}
	r.Close()
}

// TestNoFiles: what stands in the place of a log and is no file is told of, and nobody waits
// for it.
func TestNoFiles(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/"+label(at(1))+".s", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", dir+"/"+label(at(2))+".s"); err != nil {
		t.Fatal(err)
	}
	write(t, dir, label(at(3))+".s", label(at(3))+" file\n")
	var got, warned said
	r := newReader(t, &got)
	r.Warn = func(err error) {
		warned.lines = append(warned.lines, strings.TrimPrefix(err.Error(), "unable to read "+dir+"/"))
	}
	write(t, dir, current, "now\n")
	read(t, r, dir)
	if diff := cmp.Diff([]string{"0 file", "0 now"}, got.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{label(at(1)) + ".s: not a regular file", label(at(2)) + ".s: not a regular file"}, warned.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	os.Remove(dir + "/current")
	if err := unix.Mkfifo(dir+"/current", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := newReader(t, &got).Add(dir, time.Time{}); !errors.Is(err, errNoFile) {
		t.Errorf("current is a FIFO: %v", err)
	}
}

// TestDeleted: what is deleted between the look at a directory and the reading is not
// missed aloud, and the rest is read.
func TestDeleted(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		write(t, dir, label(at(i))+".s", fmt.Sprintf("%s %d\n", label(at(i)), i))
	}
	var got said
	r := newReader(t, &got)
	if _, err := r.Add(dir, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		os.Remove(dir + "/" + label(at(i)) + ".s")
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
	if n := len(got.lines); n < 25 || got.lines[n-1] != "0 49" {
		t.Errorf("%d lines: %q", n, got.lines)
	}
	r.Close()
}
