package applets

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutCalls runs a tree where calls are forbidden or not there, as they are
// in containers and on older kernels: its processes start in the right place,
// with three descriptors and no more, and are taken over like any others.
func TestWithoutCalls(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err == nil {
		bin, err = callers(bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]struct {
		number uint32
		errno  unix.Errno
	}{
		"close_range": {unix.SYS_CLOSE_RANGE, unix.ENOSYS}, // before 5.9
		"clone3":      {unix.SYS_CLONE3, unix.ENOSYS},      // before 5.3, and in containers by default
		"unshare":     {unix.SYS_UNSHARE, unix.EPERM},      // in containers by default
		"pidfd_open":  {unix.SYS_PIDFD_OPEN, unix.ENOSYS},  // before 5.3
	} {
		for _, scenario := range []string{"children", "adopt-core"} {
			t.Run(name+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				forbidding(t, call.number, uintptr(call.errno), func() { script(t, "../testdata/scripts/"+scenario+".txt", bin) })
			})
		}
	}
}
