// Package level switches the current directory of services: runsvchdir.
package level

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// Switch makes name the current services directory among those of dir,
// which has a link called current to one of them and previous to the last. A
// reader of current finds the old directory or the new one at any moment. It
// says whether name was another than the current one.
func Switch(dir, name string) (switched bool, err error) {
	if strings.HasPrefix(name, ".") {
		return false, fmt.Errorf("%s: must not start with a dot.", name)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("unable to chdir: %s: %w", dir, err)
	}
	defer unix.Close(root)
	var to unix.Stat_t
	switch err := unix.Fstatat(root, name, &to, 0); {
	case errors.Is(err, unix.ENOENT):
		return false, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return false, fmt.Errorf("unable to stat: %s: %w", name, err)
	case to.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, fmt.Errorf("%snot a directory.", name)
	}
	l := levels{root}
	name = l.level(name)
	if same, err := l.current(to); same || err != nil {
		return false, err
	}
	unlock, err := l.lock()
	if err != nil {
		return false, fmt.Errorf("unable to lock: %s: %w", dir, err)
	}
	defer unlock()
	if same, err := l.current(to); same || err != nil { // another was faster
		return false, err
	}
	if err := l.change(name); err != nil {
		l.remove("current.new")
		l.remove("previous.new")
		return false, err
	}
	return true, nil
}

// levels is the directory of the services directories, as a descriptor.
type levels struct{ fd int }

// level is the level that the link previous leads to, where that is the name: previous
// becomes another link with the switch, and current must not lead through it.
func (l levels) level(name string) string {
	b := make([]byte, unix.PathMax)
	if n, err := unix.Readlinkat(l.fd, name, b); err == nil && name == "previous" {
		return string(b[:n])
	}
	return name
}

// lockPatience is how long a switch waits for another. Whoever may read the
// directory can hold its lock for ever, and a system that boots or ends must
// not hang on that: without the lock too current is right at every moment.
const lockPatience = 5 * time.Second

// lock keeps other switches out until unlock is called.
func (l levels) lock() (unlock func(), err error) {
	fd, err := unix.Openat(l.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() {
		for {
			if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case err = <-locked:
	case <-time.After(lockPatience):
		return func() {}, nil
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}

// current says whether current leads to the directory to. One that leads
// nowhere does not, so that the level it meant can be left.
func (l levels) current(to unix.Stat_t) (bool, error) {
	var at unix.Stat_t
	switch err := unix.Fstatat(l.fd, "current", &at, 0); {
	case err == nil:
		return at.Ino == to.Ino && at.Dev == to.Dev, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return false, nil
	default:
		return false, fmt.Errorf("unable to stat: current: %w", err)
	}
}

// change makes current a link to name, and previous a link to what current was.
func (l levels) change(name string) error {
	if err := l.link(name, "current.new"); err != nil {
		return err
	}
	b := make([]byte, unix.PathMax)
	switch n, err := unix.Readlinkat(l.fd, "current", b); {
	case err == nil:
		if err := l.link(string(b[:n]), "previous.new"); err != nil {
			return err
		}
		if err := l.rename("previous.new", "previous"); err != nil {
			return fmt.Errorf("unable to unlink: previous: %w", err)
		}
	case errors.Is(err, unix.ENOENT): // there was none
	case errors.Is(err, unix.EINVAL):
		return l.replace()
	default:
		return fmt.Errorf("unable to read link: current: %w", err)
	}
	if err := l.rename("current.new", "current"); err != nil {
		return fmt.Errorf("unable to move: current.new to current: %w", err)
	}
	return nil
}

// replace moves a current that is not a link out of the way, as previous. No
// link can be put over a directory, so current is missing for an instant.
func (l levels) replace() error {
	if err := l.remove("previous"); err != nil {
		return err
	}
	if err := l.rename("current", "previous"); err != nil {
		return fmt.Errorf("unable to copy: current to previous: %w", err)
	}
	if err := l.rename("current.new", "current"); err != nil {
		err = fmt.Errorf("unable to move: current.new to current: %w", err)
		if back := l.rename("previous", "current"); back != nil {
			err = fmt.Errorf("unable to move previous back to current: %w", back)
		}
		return err
	}
	return nil
}

// link makes a symbolic link, in place of what a switch that was cut short
// has left.
func (l levels) link(target, name string) error {
	if err := l.remove(name); err != nil {
		return err
	}
	if err := unix.Symlinkat(target, l.fd, name); err != nil {
		return fmt.Errorf("unable to create: %s -> %s: %w", name, target, err)
	}
	return nil
}

// remove removes a file that may be there.
func (l levels) remove(name string) error {
	if err := unix.Unlinkat(l.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unable to unlink: %s: %w", name, err)
	}
	return nil
}

func (l levels) rename(from, to string) error { return unix.Renameat(l.fd, from, l.fd, to) }
