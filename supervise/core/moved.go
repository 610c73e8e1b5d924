package core

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/self"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// Where SUPERVISEDIR names a directory, what belongs into the supervise directory of a
// service directory that cannot be written lies there.

// at is the descriptor that prefix+"supervise" is relative to.
func (s *service) at(prefix string) int { return s.dir.At(prefix + "supervise") }

// locate decides where the supervise directory of a unit is. One that is in use, or held
// for the next core, stays where it is.
func (s *service) locate(prefix string) error {
	root := s.core.states
	if root == "" {
		return nil
	}
	st, err := s.dir.Stat("./" + strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return fmt.Errorf("unable to stat ./%s: %w", prefix, err)
	}
	moved, err := s.isMoved(root, prefix, &st)
	if err != nil || !moved {
		return err
	}
	if err := s.openState(root); err != nil {
		return err
	}
	if prefix == "" {
		s.dir.Moved = true
		return nil
	}
	return s.moveLog(root, &st)
}

// isMoved says whether the supervise directory of a unit, whose directory has that status,
// is to be below root.
func (s *service) isMoved(root, prefix string, st *unix.Stat_t) (bool, error) {
	writable, err := s.mayWrite(prefix)
	if err != nil {
		return false, err
	}
	if writable {
		return isHeld(unix.AT_FDCWD, statedir.Path(root, st)+"/supervise/lock"), nil
	}
	return !isHeld(s.dir.FD, prefix+"supervise/lock"), nil
}

// mayWrite says whether the supervise directory in the service directory can be written, or
// made. Where a link is that leads nowhere yet it will be made.
func (s *service) mayWrite(prefix string) (bool, error) {
	name := prefix + "supervise"
	err := unix.Faccessat(s.dir.FD, name, unix.W_OK, 0)
	var st unix.Stat_t
	if err == unix.ENOENT && unix.Fstatat(s.dir.FD, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		name = "./" + prefix
		err = unix.Faccessat(s.dir.FD, name, unix.W_OK, 0)
	}
	switch err {
	case nil, unix.ENOENT:
		return true, nil
	case unix.EROFS, unix.EACCES, unix.EPERM:
		return false, nil
	}
	return false, fmt.Errorf("unable to access %s: %w", name, err)
}

// isHeld says whether somebody has the lock.
func isHeld(at int, name string) bool {
	fd, err := sys.Open(at, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return errors.Is(unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// openState makes and opens what belongs to the service below root.
func (s *service) openState(root string) error {
	if s.dir.State != 0 {
		return nil
	}
	st, err := s.dir.Stat(".")
	if err != nil {
		return fmt.Errorf("unable to stat the directory: %w", err)
	}
	if !s.core.descriptors.take(1) {
		return self.ErrShortage
	}
	s.taken++
	fd, err := statedir.Make(root, &st)
	if err != nil {
		return err
	}
	s.dir.State = fd
	statedir.Link(root, s.name, &st, nil)
	return nil
}

// moveLog makes what belongs to the log service, whose directory has that status, and the
// way there.
func (s *service) moveLog(root string, log *unix.Stat_t) error {
	fd, err := statedir.Make(root, log)
	if err != nil {
		return err
	}
	unix.Close(fd)
	st, err := s.dir.Stat(".")
	if err != nil {
		return fmt.Errorf("unable to stat the directory: %w", err)
	}
	statedir.Link(root, s.name, &st, log)
	s.dir.MovedLog = true
	return nil
}

// renewState makes what belongs to the service below SUPERVISEDIR again, where somebody
// has deleted it.
func (s *service) renewState() error {
	var st unix.Stat_t
	if s.dir.State == 0 || unix.Fstat(s.dir.State, &st) == nil && st.Nlink > 0 {
		return nil
	}
	if s.ordered > 0 { // who makes a process uses the old one; this is tried again
		return unix.ENOENT
	}
	old := s.dir.State
	st, err := s.dir.Stat(".")
	if err != nil {
		return err
	}
	fd, err := statedir.Make(s.core.states, &st)
	if err != nil {
		return err
	}
	s.dir.State = fd
	unix.Close(old)
	statedir.Link(s.core.states, s.name, &st, nil)
	if st, err := s.dir.Stat("log"); err == nil && s.dir.MovedLog {
		return s.moveLog(s.core.states, &st)
	}
	return nil
}
