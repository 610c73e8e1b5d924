package self

import "golang.org/x/sys/unix"

// MapProgram has the whole of the program's code and constants mapped: at once, where the
// kernel would do that piece by piece, each when it is first used. A supervisor needs nearly
// all of them, and does not have to ask for the rest of them on a disk that has stopped to
// answer meanwhile. What one process of a tree alone has mapped would count as memory of its
// own. (Kernels before 5.14 do as ever.)
func MapProgram() {
	const page = 64 << 10 // of no kernel they are larger
	from, to := program()
	unix.RawSyscall(unix.SYS_MADVISE, from&^(page-1), to-from, unix.MADV_POPULATE_READ)
}
