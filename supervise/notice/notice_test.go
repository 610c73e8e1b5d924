package notice

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNotice: a notice is up about one directory at a time, until its socket is closed.
func TestNotice(t *testing.T) {
	var a, b unix.Stat_t
	if err := unix.Stat(t.TempDir(), &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(t.TempDir(), &b); err != nil {
		t.Fatal(err)
	}
	check := func(when string, first, second bool) {
		t.Helper()
		if f, s := IsUp(uint64(a.Dev), a.Ino), IsUp(uint64(b.Dev), b.Ino); f != first || s != second {
			t.Errorf("%s: %t, %t, want %t, %t", when, f, s, first, second)
		}
	}
	n := None("")
	check("before", false, false)
	n.Put(uint64(a.Dev), a.Ino)
	check("put up", true, false)
	n.Put(uint64(a.Dev), a.Ino)
	check("put up again", true, false)
	n.Put(uint64(b.Dev), b.Ino)
	check("put up about another", false, true)
	unix.Close(n.fds[0])
	check("gone", false, false)
}
