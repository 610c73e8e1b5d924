package applets

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/logger/reader"
)

// TestLogFollowed: whatever logger writes a directory, and whether it hands its logs to a
// processor or not, sv log -f tells each line once. There is a log already whose name is of a
// time to come, as where the clock was set back: to most loggers that is nothing, and the names
// of theirs are lower. The lines are told in order, but for a log that has no name but previous
// while the next is there.
func TestLogFollowed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "follows other loggers")
	}
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	svlogd := "n0\ns2000\n"
	for _, tt := range []struct {
		name    string
		command func(t *testing.T) []string
		config  string
	}{
		{"svlogd", func(*testing.T) []string { return []string{bin + "/svlogd", "-t", "-l", "100", "./main"} }, svlogd},
		{"svlogd with a processor", func(*testing.T) []string { return []string{bin + "/svlogd", "-t", "-l", "100", "./main"} }, svlogd + "!gzip\n"},
		{"runit's", func(t *testing.T) []string { return []string{peer(t, "svlogd"), "-t", "-l", "100", "./main"} }, svlogd},
		{"runit's with a processor", func(t *testing.T) []string { return []string{peer(t, "svlogd"), "-t", "-l", "100", "./main"} }, svlogd + "!gzip\n"},
		{"multilog", func(t *testing.T) []string { return []string{peer(t, "multilog"), "t", "s4096", "n10000", "./main"} }, ""},
		{"multilog with a processor", func(t *testing.T) []string {
			return []string{peer(t, "multilog"), "t", "s4096", "n10000", "!/bin/gzip", "./main"}
		}, ""},
		{"s6-log", func(t *testing.T) []string { return []string{peer(t, "s6-log"), "t", "s4096", "n10000", "./main"} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "main")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"@7fffffff000000000000000a.s": "before\n", "config": tt.config, "current": "", "state": ""} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o744); err != nil {
					t.Fatal(err)
				}
			}
			args := tt.command(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // one that hangs is told with what it said
			defer cancel()
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			libs, _ := filepath.Glob(filepath.Join(filepath.Dir(args[0]), "../lib/*/libskarnet.so*"))
			cmd.Dir, cmd.Env = filepath.Dir(dir), append(os.Environ(), gorace(t), "LD_LIBRARY_PATH="+filepath.Dir(append(libs, "")[0]))
			var said strings.Builder
			cmd.Stderr = &said
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			r := &reader.Reader{Last: -1, Unpack: unpackWith, Warn: func(err error) { t.Error(err) }, Emit: func(e *reader.Entry) error {
				told = append(told, string(e.Text))
				return nil
			}}
			if err := r.Follow(); err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := r.Add(dir, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if err := r.Read(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			const lines = 3000
			ended := make(chan error, 1)
			go func() {
				out := bufio.NewWriterSize(in, 512)
				for i := range lines {
					fmt.Fprintf(out, "this is line %d\n", i)
				}
				out.Flush()
				in.Close()
				ended <- cmd.Wait()
			}()
			for running := true; running; {
				select {
				case err := <-ended:
					if running = false; err != nil {
						t.Error(err, said.String())
					}
				default:
					unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, 100)
				}
				if err := r.Pump(); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(args[0], "svlogd") {
				for i, text := range told[min(1, len(told)):] {
					if want := fmt.Sprintf("this is line %d", i); text != want {
						t.Fatalf("%d of %d: %q, want %q", i, len(told), text, want)
					}
				}
			}
			times := len(told)
			slices.Sort(told)
			told = slices.Compact(told)
			if times != lines+1 || len(told) != times {
				t.Errorf("%d lines are told, %d of them once, of %d", times-1, len(told)-1, lines)
			}
		})
	}
}
