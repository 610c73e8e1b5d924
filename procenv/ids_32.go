//go:build 386 || arm

package procenv

import "syscall"

// Here the plain names are calls of 16 bits.
const (
	sysSetgroups = syscall.SYS_SETGROUPS32
	sysSetgid    = syscall.SYS_SETGID32
	sysSetuid    = syscall.SYS_SETUID32
)
