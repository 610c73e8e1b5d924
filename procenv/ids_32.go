//go:build 386 || arm

package procenv

import "syscall"

// Here the plain names are calls of 16 bits.
const (
	sysSetgroups = syscall.SYS_SETGROUPS32
	sysSetresgid = syscall.SYS_SETRESGID32
	sysSetresuid = syscall.SYS_SETRESUID32
)
