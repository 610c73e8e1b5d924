package self

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// MapProgram has the whole of the program's code and constants mapped: at once, where the
// kernel would do that piece by piece, each when it is first used. A supervisor needs nearly
// all of them, and does not have to ask for the rest of them on a disk that has stopped to
// answer meanwhile. What one process of a tree alone has mapped would count as memory of its
// own. (Kernels before 5.14 do as ever.)
func MapProgram() {
	const loaded, writable, is64 = 1, 2, unsafe.Sizeof(uintptr(0)) == 8
	type header struct { // of a program, on 64 bits
		kind, flags                        uint32
		offset, at, physical, inFile, size uintptr
		align                              uintptr
	}
	auxiliary, err := unix.Auxv()
	if err != nil || !is64 {
		return
	}
	var first, n uintptr
	for _, a := range auxiliary {
		switch a[0] {
		case 3: // AT_PHDR
			first = a[1]
		case 5: // AT_PHNUM
			n = a[1]
		}
	}
	for i := range n {
		h := *(*header)(unsafe.Add(unsafe.Pointer(nil), first+i*unsafe.Sizeof(header{})))
		if h.kind == loaded && h.flags&writable == 0 {
			unix.RawSyscall(unix.SYS_MADVISE, h.at, h.size, unix.MADV_POPULATE_READ)
		}
	}
}
