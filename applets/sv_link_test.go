package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// linkAndStart links new services into a tree that is looked at, and starts each at once:
// how long that took, and how often it failed.
func linkAndStart(t *testing.T, bin, tree string, n int) (took []time.Duration, failed int) {
	t.Helper()
	collection := t.TempDir()
	sv := filepath.Join(bin, "sv")
	env := append(os.Environ(), "SVDIR="+tree)
	for i := range n {
		name := fmt.Sprint("linked", i)
		home, link := filepath.Join(collection, name), filepath.Join(tree, name)
		os.Mkdir(home, 0o755)
		if err := os.WriteFile(home+"/run", []byte("#!/bin/sh\nexec sleep 100000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := os.Symlink(home, link); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(sv, "start", name)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			failed++
			t.Logf("%s: %v: %s", name, err, out)
		}
		took = append(took, time.Since(begin))
		stop := exec.Command(sv, "disable", name)
		stop.Env = append(env, "SVCOLLECTION="+collection)
		if out, err := stop.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	return took, failed
}

// TestSvLinkAndStart: what has been linked in the moment before can be started.
func TestSvLinkAndStart(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "runsvdir"), tree)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(unix.SIGHUP)
		cmd.Wait()
	}()
	up := filepath.Join(tree, "up")
	os.Mkdir(up, 0o755)
	os.WriteFile(up+"/run.new", []byte("#!/bin/sh\nexec sleep 100000\n"), 0o755)
	os.Rename(up+"/run.new", up+"/run")
	for range 600 {
		if exec.Command(filepath.Join(bin, "sv"), "check", up).Run() == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, failed := linkAndStart(t, bin, tree, 100); failed > 0 {
		t.Errorf("%d of 100 failed", failed)
	}
}
