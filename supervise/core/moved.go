package core

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/self"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// Where SUPERVISEDIR names a directory, what belongs into the supervise directory of a
// service directory that cannot be written lies there.

// at is the descriptor that prefix+"supervise" is relative to: prefix is "" or "log/".
func (s *service) at(prefix string) int { return s.dir.Above(prefix != "") }

// locate decides where the supervise directory of a unit is. One that is in use, or held
// for the next core, stays where it is.
func (s *service) locate(prefix string) error {
	root := s.core.states
	if root == "" {
		return nil
	}
	moved, err := s.isMoved(root, prefix)
	switch {
	case err != nil:
		return fmt.Errorf("unable to access ./%ssupervise: %w", prefix, err)
	case !moved:
		return nil
	case s.dir.State == 0:
		if !s.reserve(1) {
			return self.ErrShortage
		}
		if err := s.openState(); err != nil {
			return err
		}
	}
	if prefix != "" {
		return s.moveLog()
	}
	s.dir.Moved = true
	return s.forgetFormer()
}

// forgetFormer has what is left of an earlier directory that had the number of this one not
// count, where the file system tells that: of an overlay the time of birth may change.
func (s *service) forgetFormer() error {
	const overlay = 0x794c7630
	var fs unix.Statfs_t
	if err := unix.Fstatfs(s.dir.FD, &fs); err != nil || fs.Type == overlay {
		return nil
	}
	born, err := identity(s.dir.FD, ".")
	if err != nil {
		return err
	}
	s.placeDir = born
	now := strconv.FormatUint(uint64(born), 16)
	var buf [8]byte
	n, err := unix.Readlinkat(s.dir.State, "born", buf[:])
	if err == nil && string(buf[:n]) == now {
		return nil
	}
	if err == nil {
		for _, name := range []string{"history", "status", "stat", "pid", "notify.said"} {
			unix.Unlinkat(s.dir.State, "supervise/"+name, 0)
		}
		unix.Unlinkat(s.dir.State, "born", 0)
	}
	unix.Symlinkat(now, s.dir.State, "born")
	return nil
}

// isMoved says whether the supervise directory of a unit is to be below root.
func (s *service) isMoved(root, prefix string) (bool, error) {
	err := unix.Faccessat(s.dir.FD, prefix+"supervise", unix.W_OK, 0)
	if err == unix.ENOENT {
		var target [1]byte
		if _, err = unix.Readlinkat(s.dir.FD, prefix+"supervise", target[:]); err != nil { // else what it leads to will be made
			err = unix.Faccessat(s.dir.FD, "./"+prefix, unix.W_OK, 0)
		}
	}
	if slices.Contains(unwritable, err) {
		return !isHeld(s.dir.FD, prefix+"supervise/lock"), nil
	}
	if err != nil {
		return false, err
	}
	at, err := statedir.Path(root, s.dir.FD, "./"+prefix)
	return err == nil && isHeld(unix.AT_FDCWD, at+"/supervise/lock"), err
}

// unwritable are what access(2) answers for what cannot be written.
var unwritable = []error{unix.EROFS, unix.EACCES, unix.EPERM}

// isHeld says whether somebody has the lock.
func isHeld(at int, name string) bool {
	fd, err := sys.Open(at, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
	unix.Close(fd)
	return err == unix.EWOULDBLOCK
}

// openState makes and opens what belongs to the service below SUPERVISEDIR.
func (s *service) openState() error {
	fd, err := statedir.Make(s.core.states, s.dir.FD, ".", -1)
	if err == nil {
		s.dir.State = fd
		statedir.Link(s.core.states, s.name, s.dir.FD)
	}
	return err
}

// moveLog makes what belongs to the log service.
func (s *service) moveLog() error {
	fd, err := statedir.Make(s.core.states, s.dir.FD, "log", s.dir.State)
	if err == nil {
		unix.Close(fd)
		s.dir.MovedLog = true
	}
	return err
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
	err := s.openState()
	if err == nil {
		unix.Close(old)
	}
	if err == nil && s.dir.MovedLog {
		err = s.moveLog()
	}
	return err
}
