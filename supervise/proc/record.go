package proc

import (
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// Write overwrites the file at path, relative to at, in place: one write
// of one size, so that a kill leaves the old line or the new one.
func Write(at int, path string, l state.Process) error {
	m, err := openMaking(at, path)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Write(path, l)
}

// Making is the record of a process that is being made, held open for writing.
type Making struct{ FD int }

func openMaking(at int, path string) (m Making, err error) {
	m.FD, err = sys.Open(at, path, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return Making{FD: -1}, fmt.Errorf("unable to open %s: %w", path, err)
	}
	return m, nil
}

// WriteMaking writes the record of a process that is about to be made, and locks it
// until this process and the child have closed it, also where it cannot be written.
// The error is ErrBeingMade where another process still has it locked.
func WriteMaking(at int, path string, l state.Process) (m Making, err error) {
	if m, err = openMaking(at, path); err != nil {
		m.FD, _ = sys.Open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	}
	// Where a file system has no locks nobody else is kept from looking too early.
	if m.FD >= 0 && unix.Flock(m.FD, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		m.Close()
		return Making{FD: -1}, ErrBeingMade
	}
	if err != nil {
		return m, err
	}
	return m, m.Write(path, l)
}

// ErrBeingMade says that an earlier supervisor's process has not come as far as its
// program yet.
var ErrBeingMade = errors.New("a process of an earlier supervisor is still being made")

// Write overwrites the record.
func (m Making) Write(path string, l state.Process) error {
	line := l.Bytes()
	if _, err := unix.Pwrite(m.FD, line[:], 0); err != nil {
		return fmt.Errorf("unable to write %s: %w", path, err)
	}
	return nil
}

// Close lets go of it.
func (m Making) Close() {
	if m.FD >= 0 {
		unix.Close(m.FD)
	}
}

// WriteWant overwrites the standing order in the record at path. Where there is no
// record it is an error.
func WriteWant(at int, path string, w state.Want) error {
	return overwrite(at, path, w.Command(), state.ProcWant)
}

// overwrite writes one character of the record.
func overwrite(at int, path string, b byte, offset int64) error {
	fd, err := sys.Open(at, path, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte{b}, offset); err != nil {
		return fmt.Errorf("unable to write %s: %w", path, err)
	}
	return nil
}

// WriteReady overwrites the readiness in the record at path.
func WriteReady(at int, path string, r state.Readiness) error {
	return overwrite(at, path, r.Byte(), state.ProcReady)
}

// Read reads the file at path; ok is false where it is absent or garbage. What
// cannot be read at present is an error. It takes no lock: who makes a process must not
// find the record held.
func Read(at int, path string) (l state.Process, ok bool, err error) {
	return read(at, path, false)
}

// ReadSettled is Read for who takes the service over and has its lock, or ErrBeingMade
// where the record may still change.
func ReadSettled(at int, path string) (l state.Process, ok bool, err error) {
	return read(at, path, true)
}

func read(at int, path string, settled bool) (l state.Process, ok bool, err error) {
	fd, err := sys.Open(at, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO: // the last two are no files
		return state.Process{}, false, nil
	default:
		return state.Process{}, false, fmt.Errorf("unable to open %s: %w", path, err)
	}
	defer unix.Close(fd)
	if settled && unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return state.Process{}, false, ErrBeingMade
	}
	return readFrom(fd, path)
}

func readFrom(fd int, path string) (l state.Process, ok bool, err error) {
	var b [state.ProcSize + 1]byte
	n, err := unix.Read(fd, b[:])
	if err == unix.EISDIR {
		return state.Process{}, false, nil
	}
	if err != nil {
		return state.Process{}, false, fmt.Errorf("unable to read %s: %w", path, err)
	}
	l, ok = state.ParseProcess(b[:n])
	return l, ok, nil
}

// History is the whole of supervise/history at path.
func History(at int, path string) ([]byte, error) {
	fd, err := sys.Open(at, path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return HistoryIn(fd)
}

// HistoryIn is History of an open descriptor.
func HistoryIn(fd int) ([]byte, error) {
	const usual = state.EndedMost * state.EndedSize
	b := make([]byte, usual+1)
	n, err := unix.Pread(fd, b, 0)
	if n > usual {
		b = make([]byte, state.EndedLimit)
		n, err = unix.Pread(fd, b, 0)
	}
	return b[:max(n, 0)], err
}
