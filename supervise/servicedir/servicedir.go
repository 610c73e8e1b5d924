// Package servicedir has a service directory as files: what it lacks to be started, and
// the locks, FIFOs and status files below its supervise directory.
package servicedir

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
)

// Dir is an open service directory. Every path is relative to it, so that the
// directory can be renamed under a running service.
type Dir struct {
	FD int // O_PATH

	// Below State are the supervise directories of the service and of its log service where
	// they are not in the directory itself, which the next two say. 0: there is none.
	State           int
	Moved, MovedLog bool
}

// At is the descriptor that the path of a file is relative to.
func (d *Dir) At(name string) int {
	of, isLog := strings.CutPrefix(name, "log/")
	if !strings.HasPrefix(of, "supervise") {
		return d.FD
	}
	return d.Above(isLog)
}

// Above is the descriptor of the directory that the supervise directory of the service, or
// of its log service, is in.
func (d *Dir) Above(log bool) int {
	if log && d.MovedLog || !log && d.Moved {
		return d.State
	}
	return d.FD
}

// Open opens a service directory by its path.
func Open(path string) (Dir, error) {
	fd, err := sys.Open(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return Dir{FD: -1}, fmt.Errorf("unable to change to directory: %w", err)
	}
	return Dir{FD: fd}, nil
}

// Enter says whether the directory can be entered, as a process in it must.
func (d *Dir) Enter() error {
	if err := unix.Faccessat(d.FD, ".", unix.X_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("unable to change to directory: %w", err)
	}
	return nil
}

// Stat follows links.
func (d *Dir) Stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.At(name), name, &st, 0)
	return st, err
}

// Has says whether name is there: a file, a directory, but not a dangling link.
func (d *Dir) Has(name string) bool {
	_, err := d.Stat(name)
	return err == nil
}

// Readable says whether runsv would find a finish script: it only has to open.
func (d *Dir) Readable(name string) bool {
	fd, err := sys.Open(d.FD, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Transient(err) && d.Has(name) // a want of descriptors skips no script
	}
	unix.Close(fd)
	return true
}

// LogError says that what is missing is of the log service.
type LogError struct{ error }

func (e LogError) Unwrap() error { return e.error }

// Unready is what the directory lacks to be started: a ./run that can be executed
// and, where there is ./log, the same there; nil if it has all. Somebody may be
// about to put it there. With strict, a ./run that is still being written counts
// as missing too.
func (d *Dir) Unready(strict bool) error {
	if err := d.Executable("run", strict); err != nil {
		return err
	}
	if f, err := Identify(d.FD, "log", 0); err != nil || !f.IsDir() {
		return nil
	}
	if err := d.Executable("log/run", strict); err != nil {
		return LogError{err}
	}
	return nil
}

// Executable says why the file is not to be executed, as execve(2) would; nil if
// there is no reason.
func (d *Dir) Executable(name string, strict bool) error {
	f, err := Identify(d.FD, name, 0)
	switch {
	case err != nil:
		return err
	case f.Mode&unix.S_IFMT != unix.S_IFREG || f.Mode&0o111 == 0:
		return unix.EACCES
	case strict && d.isWritten(name):
		return unix.ETXTBSY
	}
	return nil
}

// isWritten says whether somebody has the file open for writing: then there is no
// lease to be had on it.
func (d *Dir) isWritten(name string) bool {
	fd, err := sys.Open(d.FD, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err == unix.EAGAIN
}

// Deleted says whether the directory itself has been removed.
func (d *Dir) Deleted() bool {
	var st unix.Stat_t
	return unix.Fstat(d.FD, &st) == nil && st.Nlink == 0
}

// MakeSupervise makes prefix+"supervise", where that is a link also the directory
// that it leads to and its parents: packages ship service directories read-only,
// with a link into /run. What is wrong beyond that the lock will tell. fresh says
// that the directory was not there: it is empty.
func (d *Dir) MakeSupervise(prefix string) (fresh bool, err error) {
	if sys.Mkdir(d.Above(prefix != ""), prefix+"supervise", 0o700) == nil {
		return true, nil
	}
	return d.superviseLink(prefix)
}

// superviseLink is MakeSupervise where something is there. That is rare, and what
// it needs of the stack would make all stacks larger.
//
//go:noinline
func (d *Dir) superviseLink(prefix string) (fresh bool, err error) {
	name := prefix + "supervise"
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.At(name), name, buf)
	if err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return false, fmt.Errorf("unable to readlink ./%s: %w", name, err)
	}
	target := string(buf[:n])
	if !path.IsAbs(target) {
		target = prefix + target
	}
	for i := 1; i < len(target); i++ { // the parents, from the first on
		if target[i] == '/' {
			sys.Mkdir(d.FD, target[:i], 0o755)
		}
	}
	return sys.Mkdir(d.FD, strings.TrimRight(target, "/"), 0o700) == nil, nil
}

// Lock takes the exclusive lock of prefix+"supervise". It is held as long as the
// descriptor is open, here or in the scanner that keeps a copy of it, or until it is
// given up.
func (d *Dir) Lock(prefix string) (int, error) {
	name := prefix + "supervise/lock"
	fd, err := sys.Open(d.At(name), name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_APPEND|unix.O_CREAT, 0o600)
	if err == unix.EROFS { // a lock needs no writing
		if fd, err = sys.Open(d.At(name), name, unix.O_RDONLY|unix.O_NONBLOCK, 0); err == unix.ENOENT {
			err = unix.EROFS // it cannot be made
		}
	}
	if err != nil {
		return -1, fmt.Errorf("unable to open %s: %w", name, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("unable to lock %s: %w", name, err)
	}
	return fd, nil
}

// MakeFIFO makes name a FIFO if nothing is there yet.
func (d *Dir) MakeFIFO(name string) error {
	if sys.Mkfifo(d.At(name), name, 0o600) == nil {
		return nil
	}
	st, err := d.Stat(name)
	if err != nil {
		return fmt.Errorf("unable to stat %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("%s exists but is not a fifo", name)
	}
	return nil
}

// OpenFIFO opens a FIFO without blocking. Opened for reading and writing it
// never comes to its end.
func (d *Dir) OpenFIFO(name string, flags int, verb string) (int, error) {
	fd, err := sys.Open(d.At(name), name, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("unable to %s %s: %w", verb, name, err)
	}
	return fd, nil
}

// Replace writes name whole or not at all, by way of name.new: a reader never
// sees half of it. opened says whether it got as far as writing. Before there
// are readers a file that is not there yet is written directly, which spares a
// rename. Clones for the messages let the paths themselves be on the stack.
func (d *Dir) Replace(prefix, name string, content []byte, readers bool) (opened bool, err error) {
	to, next := prefix+"supervise/"+name, prefix+"supervise/"+name+".new"
	const flags = unix.O_WRONLY | unix.O_NONBLOCK | unix.O_CREAT
	at, fd := d.At(to), -1
	if !readers {
		fd, _ = sys.Open(at, to, flags|unix.O_EXCL, 0o644)
	}
	direct := fd >= 0
	if !direct {
		if fd, err = sys.Open(at, next, flags|unix.O_TRUNC, 0o644); err != nil {
			return false, fmt.Errorf("unable to open %s: %w", strings.Clone(next), err)
		}
	}
	if len(content) > 0 {
		n, werr := unix.Write(fd, content)
		if werr == nil && n < len(content) {
			err = fmt.Errorf("unable to write %s: partial write.", strings.Clone(next))
		} else if werr != nil {
			err = fmt.Errorf("unable to write %s: %w", strings.Clone(next), werr)
		}
	}
	unix.Close(fd)
	if direct {
		return true, err
	}
	if err != nil {
		unix.Unlinkat(at, next, 0)
		return true, err
	}
	if err := unix.Renameat(at, next, at, to); err != nil {
		return true, fmt.Errorf("unable to rename %s.new to %s: %w", name, strings.Clone(to), err)
	}
	return true, nil
}

// Transient says whether err, of opening a service, says nothing about the service: it
// cannot be told at present whether something of it runs already.
func Transient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EIO, unix.EINTR, unix.ESTALE, proc.ErrBeingMade} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
