package sys

import "golang.org/x/sys/unix"

// Lasting makes the write end of a pipe one that can be read as well. A process
// that has it is never killed by SIGPIPE, even if the supervisor and the reader
// are killed at once, and what it writes waits for the next reader. The end of
// the pipe still comes when nobody has it any more.
func Lasting(w int) int {
	if rw, _ := ReopenEnd(w, unix.O_RDWR); rw >= 0 {
		unix.Close(w)
		return rw
	}
	return w
}

// ReopenEnd opens an end of the pipe that fd is an end of; -1 where it is none.
func ReopenEnd(fd, flags int) (end int, err error) {
	Through(fd, func(path string) { end, err = ReopenPipe(path, flags) })
	return end, err
}

// ReopenPipe opens an end of the pipe behind path, a magic link of /proc; -1
// where it is none. The descriptor blocks, as children expect.
func ReopenPipe(path string, flags int) (int, error) {
	fd, err := Open(unix.AT_FDCWD, path, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, Unless(append(Hides, unix.ENXIO, unix.ETXTBSY, unix.EISDIR, unix.EROFS), path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err == nil {
			return fd, nil
		}
	}
	unix.Close(fd)
	return -1, err
}
