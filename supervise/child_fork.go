//go:build !amd64 && !arm64

package supervise

import (
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = false

// hand is nothing here, and hands are none.
type (
	hand  struct{}
	hands struct{}
)

func newHands(int) (hs hands) { return hs }

func (hands) take() *hand { return nil }
func (hands) put(*hand)   {}

// start makes the process. Its working directory is that of the thread that
// makes it: a thread of its own, which ends with that.
func (c child) start(*hand, *unix.Rlimit) (pid int, err error) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		pid, err = c.fork()
	}()
	<-over
	return pid, err
}

func (c child) fork() (pid int, err error) {
	attr := &syscall.ProcAttr{Env: c.env, Sys: &syscall.SysProcAttr{Setsid: c.session}}
	if c.dir != 0 {
		runtime.LockOSThread() // for ever: the thread ends
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			return c.start(nil, nil) // the first is the process's; while it is locked the next is another
		}
		if unix.Unshare(unix.CLONE_FS) != nil { // containers may forbid it
			attr.Dir = "/proc/self/fd/" + strconv.Itoa(c.dir)
		} else if err := unix.Fchdir(c.dir); err != nil {
			return 0, dirError{err}
		}
	}
	for _, fd := range c.files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return syscall.ForkExec(c.path, c.argv, attr)
}

// holdSignals does nothing here: the children of a Go program would have the
// signals blocked too.
func holdSignals() (release func()) { return func() {} }

func heldBefore() {}

func (c child) startInSession(_ *hand, files *unix.Rlimit) (int, error) {
	return c.startByLeader(files)
}
