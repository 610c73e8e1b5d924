package applets

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setComm names the process as ps -C, pgrep -x and pidof look for it: the
// kernel has put the name of the executable there, which may be a link's
// target or "exe".
func setComm(name string) {
	if unix.Gettid() == unix.Getpid() {
		c := append([]byte(name), 0)
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&c[0])), 0, 0, 0)
		return
	}
	os.WriteFile("/proc/self/comm", []byte(name), 0) // best effort: only looks depend on it
}
