//go:build amd64 || arm64

package supervise

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limitsChildren says that start gives a child other limits than the process's.
const limitsChildren = true

// vfork makes a child that makes the calls, of which the last is execve, and
// ends at the first that fails. After a clone among them the child's child goes
// on in its place. The thread stands still until that has become its program or
// ended. With args it is by clone3, else by clone with flags; the result is the
// kernel's: the pid, or from -4095 on an errno.
//
//go:noescape
func vfork(args *cloneArgs, flags uintptr, calls *call, told *told) uintptr

// call is a system call: its number and arguments.
type call [5]uintptr

// told is what there is to be told of a child: the errno of a call that failed,
// and the pid of its child, which the kernel writes.
type told struct {
	errno uintptr
	pid   int32
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
}

// cloneClearSighand has every signal that is caught do in the child what it
// does by default (Linux 5.5).
const cloneClearSighand = 1 << 32

// handed is what the calls of a child point to: what a package's variable leads
// to stays where it is.
var handed any

// noClone3 says that the kernel, or whoever filters its calls, has no clone3.
var noClone3 bool

// start makes the process. It is syscall.ForkExec without the hundred calls
// that this makes for each, with the limit of descriptors that files says; only
// one thread may be in it.
func (c child) start(files *unix.Rlimit) (int, error) {
	path, err := syscall.BytePtrFromString(c.path)
	if err != nil {
		return 0, err
	}
	argv, err := syscall.SlicePtrFromStrings(c.argv)
	if err != nil {
		return 0, err
	}
	env, err := syscall.SlicePtrFromStrings(c.env)
	if err != nil {
		return 0, err
	}
	const sigSetMask, maskSize = 2, 8
	none, all := uintptr(0), ^uint64(0)
	mask, limit, empty, said := new(uint64), new(unix.Rlimit), new([4]uintptr), new(told)

	var calls []call
	if noClone3 {
		for sig := uintptr(1); sig <= 64; sig++ {
			if sig != uintptr(unix.SIGKILL) && sig != uintptr(unix.SIGSTOP) && caught(sig) {
				calls = append(calls, call{unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(empty)), none, maskSize})
			}
		}
	}
	if c.session {
		// Who leads the session must have made it: the child does, and its child,
		// which is made as this process's, becomes the program.
		const flags = unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID
		calls = append(calls, call{unix.SYS_SETSID}, call{unix.SYS_CLONE, flags, 0, uintptr(unsafe.Pointer(&said.pid))})
	}
	for i, fd := range c.files {
		if i == fd {
			calls = append(calls, call{unix.SYS_FCNTL, uintptr(fd), unix.F_SETFD, 0})
		} else {
			calls = append(calls, call{unix.SYS_DUP3, uintptr(fd), uintptr(i), 0})
		}
	}
	if files != nil {
		*limit = *files
		calls = append(calls, call{unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(limit)), none})
	}
	calls = append(calls,
		call{unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(mask)), none, maskSize},
		call{unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0]))})

	var pid uintptr
	handed = []any{path, argv, env, mask, limit, empty, said, calls}
	runtime.LockOSThread()
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(mask)), maskSize, 0, 0)
	if noClone3 {
		pid = vfork(nil, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), &calls[0], said)
	} else {
		pid = vfork(&cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK | cloneClearSighand, exitSignal: uint64(unix.SIGCHLD)},
			0, &calls[0], said)
	}
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(mask)), 0, maskSize, 0, 0)
	runtime.UnlockOSThread()
	handed = nil

	if no := syscall.Errno(-pid); no < 4096 {
		if !noClone3 && (no == unix.ENOSYS || no == unix.EPERM || no == unix.EINVAL) {
			noClone3 = true
			return c.start(files)
		}
		return 0, no
	}
	if said.errno == 0 && !c.session {
		return int(pid), nil
	}
	await(int(pid))
	switch {
	case said.errno != 0:
		if said.pid != 0 {
			await(int(said.pid))
		}
		return 0, syscall.Errno(said.errno)
	case said.pid == 0: // it was killed before it had one
		return 0, unix.EAGAIN
	}
	return int(said.pid), nil
}

// await takes the end of a child.
func await(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// caught says whether a signal has a handler.
func caught(sig uintptr) bool {
	var action [8]uintptr // the handler first; 0 is the default, 1 ignores
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	return action[0] > 1
}
