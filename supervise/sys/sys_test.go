package sys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
		if err := Mkdir(fd, name, 0o750); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		if st, err := os.Stat(filepath.Join(root, name)); err != nil || !st.IsDir() {
			t.Errorf("%d: %v", n, err)
		}
		if err := Mkdir(fd, name, 0o750); err != unix.EEXIST {
			t.Errorf("%d again: %v", n, err)
		}
		if sub, err := Open(fd, name, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			t.Errorf("%d: %v", n, err)
		} else {
			unix.Close(sub)
		}
	}
	if err := Mkdir(fd, strings.Repeat("n", 256), 0o750); err != unix.ENAMETOOLONG {
		t.Errorf("256: %v", err)
	}
	if _, err := Open(fd, "n\x00x", unix.O_PATH, 0); err != unix.EINVAL {
		t.Errorf("with a NUL: %v", err)
	}
}
