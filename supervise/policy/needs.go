package policy

import (
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/sys"
)

// Needs reads the names in the directory needs/ of the directory at, in their order: those
// of services of the same tree that are to be ready before. Names that a runsvdir would
// not see are left out.
func Needs(at int) (names []string, err error) {
	fd, err := sys.Open(at, "needs", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	switch {
	case err == unix.ENOENT:
		return nil, nil
	case err == unix.ENOTDIR:
		return nil, errors.New("./needs is not understood: it should be a directory of names of services.")
	case err != nil:
		return nil, fmt.Errorf("unable to open ./needs: %w", err)
	}
	defer unix.Close(fd)
	if names, err = visible(fd); err != nil {
		return nil, fmt.Errorf("unable to read ./needs: %w", err)
	}
	return names, nil
}
