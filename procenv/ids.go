package procenv

import (
	"syscall"
	"unsafe"
)

// These change the calling thread alone, where package syscall would stop all
// threads to change each. See Change.user.

func setgroups(gids []uint32) error {
	_, _, no := syscall.RawSyscall(sysSetgroups, uintptr(len(gids)), uintptr(unsafe.Pointer(unsafe.SliceData(gids))), 0)
	return errno(no)
}

// setgid and setuid change the real, the effective and the saved id, or fail.
// The plain calls leave two of them alone, without a word, where the process
// lacks the capability but may take on the id.

func setgid(gid uint32) error {
	_, _, no := syscall.RawSyscall(sysSetresgid, uintptr(gid), uintptr(gid), uintptr(gid))
	return errno(no)
}

func setuid(uid uint32) error {
	_, _, no := syscall.RawSyscall(sysSetresuid, uintptr(uid), uintptr(uid), uintptr(uid))
	return errno(no)
}
