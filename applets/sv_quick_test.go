package applets

import (
	encoding "encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// TestSvQuick: sv status, which package quick answers, says what sv -w 1 status says, which
// it leaves alone, whatever is in supervise/status.
func TestSvQuick(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	born := uint64(time.Now().Add(-time.Hour).Unix() + state.TAIEpoch)
	status := func(since uint64, nano, pid uint32, paused byte, want byte, term, st byte) []byte {
		b := encoding.BigEndian.AppendUint32(encoding.BigEndian.AppendUint64(nil, since), nano)
		return append(encoding.LittleEndian.AppendUint32(b, pid), paused, want, term, st)
	}
	var all [][]byte
	for st := range byte(4) {
		for flags := range byte(8) {
			all = append(all, status(born, 500, 77*uint32(flags&1), flags&2, "ud"[flags>>2], flags&4, st))
		}
	}
	all = append(all, status(born, 1<<31, 5, 0, 'u', 0, 1), status(born+7200, 0, 1<<32-1, 1, 'x', 1, 1), status(0, 0, 5, 0, 'u', 0, 1),
		all[9][:19], append(all[9][:20:20], 0), nil)
	service := func(path string, b []byte, down bool) {
		os.MkdirAll(path+"/supervise", 0o755)
		os.WriteFile(path+"/supervise/status", b, 0o644)
		unix.Mkfifo(path+"/supervise/ok", 0o600)
		fd, err := unix.Open(path+"/supervise/ok", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if down {
			os.WriteFile(path+"/down", nil, 0o644)
		}
	}
	var names []string
	for i, b := range all {
		for j, down := range []bool{false, true} {
			name := fmt.Sprintf("s%d-%d", i, j)
			names = append(names, name)
			service(filepath.Join(tree, name), b, down)
			if (i+j)%3 == 0 {
				service(filepath.Join(tree, name, "log"), all[(7*i)%len(all)], j == 1)
			}
		}
	}
	os.Mkdir(filepath.Join(tree, "unserved"), 0o755)
	os.WriteFile(filepath.Join(tree, "file"), nil, 0o644)
	os.Mkdir(filepath.Join(tree, "badlog"), 0o755)
	service(filepath.Join(tree, "badlog"), all[9], false)
	os.WriteFile(filepath.Join(tree, "badlog/log"), nil, 0o644)
	names = append(names, "unserved", "file", "badlog", "nosuch", "./nosuch", ".", "s9-0/", "./s9-0", tree+"/s9-1", "", "--json", "-v", "s9-0\nx", "/")
	say := func(env string, args ...string) (out, errs string) {
		cmd := exec.Command(filepath.Join(bin, "sv"), args...)
		cmd.Dir, cmd.Env = tree, append(os.Environ(), env)
		var o, e strings.Builder
		cmd.Stdout, cmd.Stderr = &o, &e
		cmd.Run()
		return fmt.Sprintf("%s%s%d", lineAges.ReplaceAllString(o.String(), "s"), e.String(), cmd.ProcessState.ExitCode()), e.String()
	}
	for _, args := range append([][]string{{"s9-0", "s9-1"}, {"s9-0", "nosuch", "s9-1"}}, each(names)...) {
		for _, env := range []string{"SVDIR=" + tree, "SVDIR="} {
			quick, _ := say(env, append([]string{"status"}, args...)...)
			slow, _ := say(env, append([]string{"-w", "1", "status"}, args...)...)
			if d := cmp.Diff(slow, quick); d != "" {
				t.Errorf("%q, %s (-slow +quick): %s", args, env, d)
			}
		}
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return
	}
	cmd := exec.Command(filepath.Join(bin, "sv"), "status", "./s12-0")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "GODEBUG=inittrace=1")
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "init os ") {
		t.Errorf("%v: what sv status does not need is initialised for it:\n%s", err, out)
	}
}

// lineAges are those in a status line.
var lineAges = regexp.MustCompile("[0-9]+s")

// each are lists of one.
func each(names []string) (lists [][]string) {
	for _, name := range names {
		lists = append(lists, []string{name})
	}
	return lists
}
