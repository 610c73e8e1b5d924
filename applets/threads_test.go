package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestThreads plays testdata/threads with the executable as users have it: the threads
// of the tests' own programs are the C library's.
func TestThreads(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, to become somebody else")
	}
	for _, name := range []string{"prlimit", "setpriv", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, "needs "+name)
		}
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(suiteDir, "executable")
	if out, err := exec.Command("install", "-d", bin).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range names() {
		if err := os.Symlink(exe, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	tools, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"limit", "unmade", "start", "floor"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script(t, "../testdata/threads/"+name+".txt", bin+":"+tools)
		})
	}
}
