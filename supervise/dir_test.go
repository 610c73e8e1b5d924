package supervise

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock keeps others out until it is released, held by a mapping or, where
// there are too many of these, by a descriptor.
func TestLock(t *testing.T) {
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir.fd)
	if fresh, err := dir.superviseDir(""); err != nil || !fresh {
		t.Fatalf("./supervise was there: %v, %v", fresh, err)
	}
	before := mapped.Load()
	defer mapped.Store(before)
	for _, full := range []int32{before, mapMax} {
		mapped.Store(full)
		l, err := dir.lock("")
		if err != nil {
			t.Fatal(err)
		}
		if full == mapMax && l.fd < 0 {
			t.Error("a mapping more than there may be")
		}
		if _, err := dir.lock(""); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("a lock that is held is taken: %v", err)
		}
		l.release()
		if n := mapped.Load(); n != full {
			t.Errorf("%d mappings are counted, want %d", n, full)
		}
	}
}
