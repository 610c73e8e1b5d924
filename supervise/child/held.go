package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unheld are signals that this process blocks and its children shall not: signal 1 is bit 0.
var unheld uintptr

// HeldBefore says that the program before this one has held these signals: the children
// are made with a mask without them.
func HeldBefore(set uintptr) { unheld = set }

// ExecHeld makes this process the program at path, as syscall.Exec does, and holds a set of
// signals, which that would end: blocked, they wait until it asks for them. It only returns
// an error. The goroutine is not locked to its thread: for that the runtime might have to
// make one, and where it may not, ends the process.
func ExecHeld(path string, argv, env []string, held uintptr) error {
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
	set.Val[0] = signalSet(held | 1<<(unix.SIGURG-1)) // by which the runtime would have another thread go on here
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
