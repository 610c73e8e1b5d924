//go:build !amd64 && !arm64

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = false

// unshared is what the thread that makes children must have for itself.
const unshared = unix.CLONE_FS | unix.CLONE_FILES

// start makes the process. For its working directory the thread, which needs one
// of its own for that, changes its own.
func (c child) start(*unix.Rlimit) (int, error) {
	if c.dir != 0 {
		if err := unix.Fchdir(c.dir); err != nil {
			return 0, dirError{err}
		}
	}
	attr := &syscall.ProcAttr{Env: c.env, Sys: &syscall.SysProcAttr{Setsid: c.session}}
	for _, fd := range c.files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return syscall.ForkExec(c.path, c.argv, attr)
}

// holdSignals does nothing here: the children of a Go program would have the
// signals blocked too.
func holdSignals() (release func()) { return func() {} }

func heldBefore() {}

func (c child) startInSession(files *unix.Rlimit) (int, error) { return c.startByLeader(files) }
