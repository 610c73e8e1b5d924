package core

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
)

// A lock keeps others out until it is given up.
func TestLock(t *testing.T) {
	dir, err := servicedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir.FD)
	if fresh, err := dir.MakeSupervise(""); err != nil || !fresh {
		t.Fatalf("./supervise was there: %v, %v", fresh, err)
	}
	for range 2 {
		u := &unit{}
		if u.lock, err = dir.Lock(""); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.Lock(""); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("a lock that is held is taken: %v", err)
		}
		u.unlock(false)
		u.unlock(false) // does nothing
	}
}
