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

func setgid(gid uint32) error {
	_, _, no := syscall.RawSyscall(sysSetgid, uintptr(gid), 0, 0)
	return errno(no)
}

func setuid(uid uint32) error {
	_, _, no := syscall.RawSyscall(sysSetuid, uintptr(uid), 0, 0)
	return errno(no)
}
