package applets

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setComm names the process as ps -C, pgrep -x and pidof look for it: the
// kernel has put the name of the executable there, which may be a link's
// target or "exe". The name is the first thread's, which need not be this one.
func setComm(name string) {
	// (To lock the thread would make the runtime start another.)
	if unix.Gettid() == unix.Getpid() {
		c := append([]byte(name), 0)
		unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&c[0])), 0, 0, 0)
		if unix.Gettid() == unix.Getpid() {
			return
		}
	}
	os.WriteFile("/proc/self/comm", []byte(name), 0) // best effort: only looks depend on it
}
