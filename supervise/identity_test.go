package supervise

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Two directories of one number are told apart by when they were made, where the
// file system tells that.
func TestIdentify(t *testing.T) {
	dir := t.TempDir() + "/d"
	var seen []fileID
	for range 2 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := identify(unix.AT_FDCWD, dir, 0)
		if err != nil || !f.isDir() {
			t.Fatalf("%+v, %v", f, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil || f.dev != uint64(st.Dev) || f.ino != st.Ino || f.mtime != st.Mtim.Nano() || f.mode != st.Mode {
			t.Errorf("%+v, stat says %+v, %v", f, st, err)
		}
		seen = append(seen, f)
		os.Remove(dir)
	}
	if seen[0].born != 0 && sameBirth(seen[0].born, seen[1].born) {
		t.Errorf("%+v", seen)
	}
}
