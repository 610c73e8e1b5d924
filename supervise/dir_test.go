package supervise

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock keeps others out until it is given up.
func TestLock(t *testing.T) {
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir.fd)
	if fresh, err := dir.superviseDir(""); err != nil || !fresh {
		t.Fatalf("./supervise was there: %v, %v", fresh, err)
	}
	for range 2 {
		u := &unit{}
		if u.lock, err = dir.lock(""); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.lock(""); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("a lock that is held is taken: %v", err)
		}
		u.unlock(false)
		u.unlock(false) // does nothing
	}
}

// TestCallAt: paths short and long, and one that is none, which must not become
// another.
func TestCallAt(t *testing.T) {
	root := t.TempDir()
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, n := range []int{1, 62, 63, 64, 65, 255} {
		name := strings.Repeat("n", n)
		if err := mkdirAt(fd, name, 0o750); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		if st, err := os.Stat(filepath.Join(root, name)); err != nil || !st.IsDir() {
			t.Errorf("%d: %v", n, err)
		}
		if err := mkdirAt(fd, name, 0o750); err != unix.EEXIST {
			t.Errorf("%d again: %v", n, err)
		}
		if sub, err := open(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			t.Errorf("%d: %v", n, err)
		} else {
			unix.Close(sub)
		}
	}
	if err := mkdirAt(fd, strings.Repeat("n", 256), 0o750); err != unix.ENAMETOOLONG {
		t.Errorf("256: %v", err)
	}
	if _, err := open(fd, "n\x00x", unix.O_PATH, 0); err != unix.EINVAL {
		t.Errorf("with a NUL: %v", err)
	}
}
