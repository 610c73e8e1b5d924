package scanner

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
)

// Two directories of one number are told apart by when they were made, where the
// file system tells that.
func TestIdentify(t *testing.T) {
	dir := t.TempDir() + "/d"
	var seen []servicedir.FileID
	for range 2 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := servicedir.Identify(unix.AT_FDCWD, dir, 0)
		if err != nil || !f.IsDir() {
			t.Fatalf("%+v, %v", f, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil || f.Dev != uint64(st.Dev) || f.Ino != st.Ino || f.MTime != st.Mtim.Nano() || f.Mode != st.Mode {
			t.Errorf("%+v, stat says %+v, %v", f, st, err)
		}
		seen = append(seen, f)
		os.Remove(dir)
	}
	if seen[0].Born != 0 && sameBirth(seen[0].Born, seen[1].Born) {
		t.Errorf("%+v", seen)
	}
}
