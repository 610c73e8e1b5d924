package logger

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// A line whose begin is in current when current is full, and that may fit into
// one file, goes into the next as a whole: its begin is copied to a file of its
// own, current is cut, and when that is an old log the copy becomes current. To
// cut current is what makes it count: from then on current, if it is there, ends
// with a line's end, and before that it does not. So whoever comes after a kill
// knows whether a copy that he finds is whole.

// carryName is the copy's name, hidden like the journal's.
const carryName = ".svlogd.next"

// carry copies the line that current ends in and takes it out of there. It says
// whether it has; if not, the line is parted.
func (l *log) carry() bool {
	from, err := l.lineBegin()
	if err == nil && (from == 0 || from == l.size) {
		return false // there is nothing else in current, or nothing of the line
	}
	if err == nil {
		err = l.copyTail(from)
	}
	if err == nil {
		err = unix.Ftruncate(l.cur, from)
	}
	if err != nil {
		unix.Unlinkat(l.fd, carryName, 0) // or it is found to be of no use
		l.warn("a line is parted", err)
		return false
	}
	l.size = from
	return true
}

// lineBegin is where the line begins that current ends in.
func (l *log) lineBegin() (int64, error) {
	fd, err := unix.Openat(l.fd, "current", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open current: %w", err)
	}
	defer unix.Close(fd)
	return lastLine(fd, l.size, l.e.out[:cap(l.e.out)])
}

// lastLine is where the last line of a file of this size begins: behind the last
// newline. Room is for reading.
func lastLine(fd int, size int64, room []byte) (int64, error) {
	for end := size; end > 0; {
		b := room[:min(end, int64(len(room)))]
		if err := readAt(fd, b, end-int64(len(b))); err != nil {
			return 0, err
		}
		end -= int64(len(b))
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return end + int64(i) + 1, nil
		}
	}
	return 0, nil
}

func readAt(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pread(fd, b, at)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read current: %w", err)
		case n == 0:
			return fmt.Errorf("read current: %w", io.ErrUnexpectedEOF)
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// copyTail copies what current has from there on, durably.
func (l *log) copyTail(from int64) error {
	current, err := unix.Openat(l.fd, "current", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open current: %w", err)
	}
	defer unix.Close(current)
	fd, err := unix.Openat(l.fd, carryName, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", carryName, err)
	}
	defer unix.Close(fd)
	if err := l.mark(fd, 0o644); err != nil {
		return fmt.Errorf("set mode of %s: %w", carryName, err)
	}
	for room := l.e.out[:cap(l.e.out)]; from < l.size; {
		b := room[:min(l.size-from, int64(len(room)))]
		if err := readAt(current, b, from); err != nil {
			return err
		}
		for rest := b; len(rest) > 0; {
			n, err := unix.Write(fd, rest)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("write %s: %w", carryName, err)
			}
			rest = rest[max(n, 0):]
		}
		from += int64(len(b))
	}
	if err := unix.Fsync(fd); err != nil {
		return fmt.Errorf("fsync %s: %w", carryName, err)
	}
	return nil
}

// settleCarry ends what a logger that was killed has left of a carry.
func (l *log) settleCarry() error {
	return l.retry("unable to settle "+carryName, func() error {
		var st unix.Stat_t
		if err := unix.Fstatat(l.fd, carryName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return absent(err)
		}
		switch whole, there, err := l.endsWhole(); {
		case err != nil:
			return err
		case !whole:
			return unix.Unlinkat(l.fd, carryName, 0)
		case there:
			if err := l.setAside("u"); err != nil {
				return err
			}
		}
		return unix.Renameat(l.fd, carryName, l.fd, "current")
	})
}

// endsWhole says whether current ends with a line's end or is not there.
func (l *log) endsWhole() (whole, there bool, err error) {
	fd, err := unix.Openat(l.fd, "current", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return true, false, nil
	}
	if err != nil {
		return false, false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, false, err
	}
	from, err := lastLine(fd, st.Size, l.e.scan())
	return err == nil && from == st.Size, true, err
}
