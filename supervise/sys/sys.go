// Package sys has the system calls that the rooms of supervise/ make in the same way,
// and what the errors of such calls mean.
package sys

import (
	"errors"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// Open is openat, close-on-exec and repeated when a signal breaks it off.
func Open(at int, path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := callAt(unix.SYS_OPENAT, at, path, flags|unix.O_CLOEXEC|unix.O_LARGEFILE, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// callAt makes one of the calls that take a directory and a path. Unlike package
// unix it copies a short path to the stack and not to the heap: a service is
// opened with a dozen of them.
func callAt(number uintptr, at int, path string, arg int, mode uint32) (int, error) {
	var room [64]byte
	name := room[:]
	if len(path) >= len(room) {
		name = make([]byte, len(path)+1)
	}
	if copy(name, path); strings.IndexByte(path, 0) >= 0 {
		return -1, unix.EINVAL
	}
	r, _, no := unix.Syscall6(number, uintptr(at), uintptr(unsafe.Pointer(&name[0])), uintptr(arg), uintptr(mode), 0, 0)
	if no != 0 {
		return -1, no
	}
	return int(r), nil
}

// Mkdir is mkdirat.
func Mkdir(at int, path string, mode int) error {
	_, err := callAt(unix.SYS_MKDIRAT, at, path, mode, 0)
	return err
}

// Mkfifo makes a FIFO.
func Mkfifo(at int, path string, mode int) error {
	_, err := callAt(unix.SYS_MKNODAT, at, path, unix.S_IFIFO|mode, 0)
	return err
}

// Slurp reads a small file, of at most limit bytes.
func Slurp(at int, name string, limit int) ([]byte, error) {
	fd, err := Open(at, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, limit)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// What open(2) and the like answer where a file is not there, or is not for us.
var (
	Absent = []error{unix.ENOENT, unix.ENOTDIR, unix.ESRCH}
	Hides  = append(Absent[:3:3], unix.EACCES, unix.EPERM)
)

// Unless is nil for one of these errors: any other says nothing about what was
// looked for, only that it could not be looked for now.
func Unless(these []error, what string, err error) error {
	if slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return fmt.Errorf("unable to read %s: %w", what, err)
}

// Passing says whether err, of starting a program, says nothing about the
// program: there is no room at present, or it is being written.
func Passing(err error) bool {
	for _, e := range []error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ETXTBSY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
