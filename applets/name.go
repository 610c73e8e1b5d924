package applets

import (
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/initstage"
)

// self is the path of this executable itself, not of a link to it. In a root
// that is being made there may be no /proc to tell.
func self() (string, error) {
	if path, err := os.Executable(); err == nil {
		return path, nil
	}
	return filepath.EvalSymlinks(initstage.Executable())
}

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
