//go:build !amd64 && !arm64

package supervise

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sessionArg is the argument with which runsv makes a session.
const sessionArg = "--session"

// startByLeader makes the process in a session and process group of its own
// that it does not lead, where startInSession is not to be had: the program
// itself is started as the leader, has the child made as this process's
// (CLONE_PARENT), reports its pid and ends.
func (c child) startByLeader(files *unix.Rlimit) (int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(p[0])
	leader := child{
		path: selfExe, argv: append([]string{"runsv", sessionArg, c.path}, c.argv...), env: c.env,
		files: append(c.files[:3:3], p[1]), dir: c.dir, session: true,
	}
	_, err := leader.start(nil, files)
	if err == unix.ENOENT { // there is no /proc
		leader.path = execPath()
		_, err = leader.start(nil, files)
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

// Lead is the leader's part of that, where args ask for it: it has a process made
// by its parent's side and reports pid and errno on descriptor 3.
func Lead(args []string) bool {
	if len(args) < 3 || args[0] != sessionArg {
		return false
	}
	path, argv := args[1], args[2:]
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
	return true
}
