//go:build 386 || arm || mips || mipsle

package applets

import "golang.org/x/sys/unix"

// sysMmap is the number of the call by which programs, and Go's runtime, map memory: on
// machines of 32 bits it is mmap2, which takes the offset in pages.
const sysMmap = unix.SYS_MMAP2
