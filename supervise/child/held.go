package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// held are signals that a scanner holds back while it becomes another program,
// which they would end: blocked, they wait until that asks for them. (The Go
// runtime unblocks HUP, INT and TERM as it starts.)
const held = 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGALRM-1)

// unheld are signals that this process blocks and its children shall not.
var unheld uintptr

// HeldBefore says that the program before this one has held its signals: the children
// are made with a mask without them.
func HeldBefore() { unheld = held }

// ExecHeld makes this process the program at path, as syscall.Exec does, and holds its
// signals. It only returns an error. The goroutine is not locked to its thread: for that
// the runtime might have to make one, and where it may not, ends the process.
func ExecHeld(path string, argv, env []string) error {
	file, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	vars, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	var set, before unix.Sigset_t
	set.Val[0] = held | 1<<(unix.SIGURG-1) // by which the runtime would have another thread go on here
	beforeExec()
	defer afterExec()
	return execHeld(file, &args[0], &vars[0], &set, &before)
}

//go:nosplit
func execHeld(path *byte, argv, env **byte, set, before *unix.Sigset_t) syscall.Errno {
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(before)), maskSize, 0, 0)
	_, _, no := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(argv)), uintptr(unsafe.Pointer(env)))
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(before)), 0, maskSize, 0, 0)
	return no
}

// What syscall.Exec calls around its execve: no thread may be in the making when that
// ends the others.
//
//go:linkname beforeExec syscall.runtime_BeforeExec
func beforeExec()

//go:linkname afterExec syscall.runtime_AfterExec
func afterExec()
