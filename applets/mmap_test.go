//go:build !386 && !arm && !mips && !mipsle

package applets

import "golang.org/x/sys/unix"

// sysMmap is the number of the call by which programs, and Go's runtime, map memory.
const sysMmap = unix.SYS_MMAP
