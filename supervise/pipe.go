package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// lasting makes the write end of a pipe one that can be read as well. A process
// that has it is never killed by SIGPIPE, even if the supervisor and the reader
// are killed at once, and what it writes waits for the next reader. The end of
// the pipe still comes when nobody has it any more.
func lasting(w int) int {
	if rw, _ := reopenPipe("/proc/self/fd/"+strconv.Itoa(w), unix.O_RDWR); rw >= 0 {
		unix.Close(w)
		return rw
	}
	return w
}

// reopenPipe opens an end of the pipe behind path, a magic link of /proc; -1
// where it is none. The descriptor blocks, as children expect.
func reopenPipe(path string, flags int) (int, error) {
	fd, err := sys.Open(unix.AT_FDCWD, path, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, sys.Unless(append(sys.Hides, unix.ENXIO, unix.ETXTBSY, unix.EISDIR, unix.EROFS), path, err)
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
