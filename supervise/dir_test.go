package supervise

import (
	"errors"
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
