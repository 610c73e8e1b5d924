package applets

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutUnshare runs a tree where unshare(2) is forbidden, as it is in
// containers by default: its processes start in the right place, with three
// descriptors and no more, and are taken over like any others.
func TestWithoutUnshare(t *testing.T) {
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"children", "adopt-core"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forbidding(t, unix.SYS_UNSHARE, uintptr(unix.EPERM), func() { script(t, "../testdata/scripts/"+name+".txt", bin) })
		})
	}
}

// TestWithoutClone3 runs a tree where clone3(2) is not there, as in containers
// by default and on kernels before 5.3.
func TestWithoutClone3(t *testing.T) {
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	forbidding(t, unix.SYS_CLONE3, uintptr(unix.ENOSYS), func() { script(t, "../testdata/scripts/children.txt", bin) })
}
