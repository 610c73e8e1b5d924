//go:build !amd64 && !arm64

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = false

// start makes the process.
func (c child) start(*unix.Rlimit) (int, error) {
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
