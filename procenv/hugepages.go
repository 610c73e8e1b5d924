package procenv

import (
	"math/bits"
	"os"

	"golang.org/x/sys/unix"
)

// NoHugePages keeps the kernel from putting what the runtime has mapped so far into
// huge pages, which would make a process of one megabyte take two to four. The
// runtime asks for that itself where its heap is concerned (GODEBUG=disablethp=1);
// but its tables lie side by side and may add up to a huge page. This is said of
// addresses and not of the process, so that its children are as it was started.
// Where it fails the process only takes more memory.
func NoHugePages() {
	if bits.UintSize < 64 { // there an address space is too small for it to matter
		return
	}
	// The kernel puts one mapping below the other: all lie close to a new one.
	size := uintptr(os.Getpagesize())
	at, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return
	}
	unix.MunmapPtr(at, size)
	reach := uint64(4 << 30) // the runtime reserves some 1.3 GiB for its tables
	from := uint64(uintptr(at))
	from -= min(reach, from-uint64(size))
	// It answers ENOMEM, since there are holes, and has done it all the same.
	unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(2*reach), unix.MADV_NOHUGEPAGE)
}
