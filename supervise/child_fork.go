//go:build !amd64 && !arm64

package supervise

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = false

// start makes the process.
func (c child) start(*unix.Rlimit) (int, error) {
	if c.session {
		return c.startInSession()
	}
	attr := &syscall.ProcAttr{Env: c.env}
	for _, fd := range c.files {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	return syscall.ForkExec(c.path, c.argv, attr)
}

// startInSession has a second process make the session and the child as this
// one's (CLONE_PARENT), report its pid and end: see Session.
func (c child) startInSession() (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(p[0])
	attr := &syscall.ProcAttr{Env: c.env, Sys: &syscall.SysProcAttr{Setsid: true}}
	for _, fd := range append(c.files[:3:3], p[1]) {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	argv := append([]string{"runsv", SessionArg, c.path}, c.argv...)
	_, err := syscall.ForkExec(selfExe, argv, attr)
	if err == unix.ENOENT { // there is no /proc
		_, err = syscall.ForkExec(execPath(), argv, attr)
	}
	unix.Close(p[1])
	if err != nil {
		return 0, err
	}
	var b [8]byte
	for {
		n, err := unix.Read(p[0], b[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n != len(b): // it was killed
			return 0, unix.EAGAIN
		default:
			pid, no := binary.NativeEndian.Uint32(b[:]), syscall.Errno(binary.NativeEndian.Uint32(b[4:]))
			if no != 0 {
				return 0, no
			}
			return int(pid), nil
		}
	}
}

// execPath is the path that this program was executed by, as the kernel tells it
// in the auxiliary vector.
func execPath() string {
	const execfn = 31
	aux, _ := unix.Auxv()
	for _, a := range aux {
		if a[0] == execfn && a[1] != 0 {
			// The vector lives as long as the process.
			return unix.BytePtrToString(*(**byte)(unsafe.Pointer(&a[1])))
		}
	}
	return ""
}
