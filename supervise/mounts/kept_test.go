package mounts

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKept: what was mounted, or unmounted, since the table was read is in it, and it is not
// read where nothing was.
func TestKept(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "mounting takes root")
	}
	dir := filepath.Join(t.TempDir(), "m")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	k := Kept{}
	before := k.Now().info
	if again := k.Now().info; before == "" || again != before {
		t.Errorf("nothing was mounted, and it is %q, then %q", before, again)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		skip(t, "nothing can be mounted: "+err.Error())
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if got, want := k.Now().info, Read().info; got != want || got == before {
		t.Errorf("mounted: %q, want %q", got, want)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := k.Now().info, Read().info; got != want {
		t.Errorf("unmounted: %q, want %q", got, want)
	}
}
