package applets

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loggerBinary is a link called svlogd to the real executable.
func loggerBinary(t *testing.T) string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "svlogd")
	if err := os.Symlink(bin, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// logFiles are the contents of a log directory, the oldest first.
func logFiles(t *testing.T, dir string) (text []byte, names []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "@*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range append(slices.Clone(names), filepath.Join(dir, "current")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	return text, names
}

// TestSvlogdKilled kills svlogd at random moments while it writes and rotates,
// and starts it again on the same pipe: what was written into the pipe must be
// in the files once, in order. RUNITBOX_KILLS=10 kills ten times as often.
func TestSvlogdKilled(t *testing.T) {
	t.Parallel()
	times := 1
	if n, err := strconv.Atoi(os.Getenv("RUNITBOX_KILLS")); err == nil {
		times = n
	}
	for _, tt := range []struct {
		name   string
		rounds int
		dirs   int
		config string
		args   []string
		line   func(r *rand.Rand, i int) string
	}{
		{"numbered", 100, 1, "s50000\nn0\n", nil, func(r *rand.Rand, i int) string {
			return fmt.Sprintf("%d %s\n", i, strings.Repeat("x", r.IntN(200)))
		}},
		{"all alike", 60, 1, "s50000\nn0\n", nil, func(*rand.Rand, int) string { return "alike\n" }},
		{"two logs", 60, 2, "s30000\nn0\n", nil, func(r *rand.Rand, i int) string { return fmt.Sprintf("%d\n", i) }},
		{"filtered", 40, 1, "s30000\nn0\n-*skip*\n", []string{"-r", "."}, func(r *rand.Rand, i int) string { return fmt.Sprintf("%d\n", i) }},
		{"long lines", 40, 1, "s200000\nn0\n", nil, func(r *rand.Rand, i int) string {
			return fmt.Sprintf("%d %s\n", i, strings.Repeat("y", r.IntN(600000)))
		}},
		{"lines of all sizes that fit into a file", 100, 1, "s400000\nn0\n", nil, func(r *rand.Rand, i int) string {
			return fmt.Sprintf("%d %s\n", i, strings.Repeat("z", r.IntN(1<<(1+i%18))))
		}},
		{"with pauses", 100, 2, "s500\nn0\n", nil, func(r *rand.Rand, i int) string {
			if time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond); r.IntN(8) > 0 {
				return fmt.Sprintf("%d,", i) // a line comes bit by bit
			}
			return fmt.Sprintf("%d\n", i)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			svlogd := loggerBinary(t)
			var dirs []string
			for range tt.dirs {
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "config"), []byte(tt.config), 0o644); err != nil {
					t.Fatal(err)
				}
				dirs = append(dirs, dir)
			}
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 1))
			stop := make(chan bool)
			written := make(chan []byte)
			var taken atomic.Int64 // bytes that the pipe has taken
			go func() {            // writes lines in pieces of any size until it is to stop
				var all, next []byte
				size := 1
				for i := 0; ; i++ {
					select {
					case <-stop:
						if !bytes.HasSuffix(append(all, next...), []byte("\n")) {
							next = append(next, '\n') // it would be added
						}
						out.Write(next)
						out.Close()
						written <- append(all, next...)
						return
					default:
					}
					next = append(next, tt.line(r, i)...)
					if len(next) > size {
						n := r.IntN(len(next) + 1)
						if size = 1 + r.IntN(20000); tt.name == "with pauses" {
							size = r.IntN(10)
						}
						out.Write(next[:n])
						taken.Add(int64(n))
						all = append(all, next[:n]...)
						next = next[n:]
					}
				}
			}()
			start := func() *exec.Cmd {
				cmd := exec.Command(svlogd, append(slices.Clone(tt.args), dirs...)...)
				cmd.Stdin, cmd.Stderr = in, os.Stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd
			}
			kr := rand.New(rand.NewPCG(seed, 2))
			for i := range tt.rounds * times {
				before := taken.Load()
				cmd := start()
				if i%2 == 0 && tt.name != "with pauses" { // half of the kills are sure to hit a logger that writes
					for end := time.Now().Add(10 * time.Second); taken.Load() < before+70000 && time.Now().Before(end); {
						time.Sleep(time.Millisecond)
					}
				}
				time.Sleep(time.Duration(kr.IntN(15000)) * time.Microsecond) // the random moment
				cmd.Process.Kill()
				cmd.Wait()
			}
			cmd := start()
			close(stop)
			want := <-written
			if err := cmd.Wait(); err != nil {
				t.Errorf("svlogd: %v", err)
			}
			for _, dir := range dirs {
				got, names := logFiles(t, dir)
				if i := firstDifference(got, want); i >= 0 {
					t.Errorf("seed %d: %d bytes in the files of %s, %d written: they differ at %d: %q, want %q",
						seed, len(got), dir, len(want), i, around(got, i), around(want, i))
				}
				if len(names) < 5 {
					t.Errorf("only %d old logs: this has tested next to nothing", len(names))
				}
				t.Logf("%d kills, %d bytes, %d files", tt.rounds*times, len(want), len(names))
			}
		})
	}
}

// firstDifference is where a and b differ; negative if they do not.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// around is the text around a place.
func around(b []byte, i int) []byte { return b[max(0, i-40):min(len(b), i+40)] }
