package supervise

import (
	"encoding/binary"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SessionArg is the argument with which runsv makes a session for one process,
// on machines where no child can be made by vfork: see Session.
const SessionArg = "--session"

// Session makes a process in the session that it leads: argv, as a child of its
// own parent. It reports pid and errno on descriptor 3.
func Session(path string, argv []string) {
	unix.CloseOnExec(3)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT},
	})
	no, _ := err.(syscall.Errno)
	if err != nil && no == 0 {
		no = syscall.EAGAIN
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(pid))
	unix.Write(3, binary.NativeEndian.AppendUint32(b, uint32(no)))
}
