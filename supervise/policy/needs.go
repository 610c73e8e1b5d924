package policy

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// Need is an entry of needs/: the name of a service of the same tree that is to be ready
// before.
type Need struct {
	Name string
	Made int64 // when the entry was made or last changed, in nanoseconds since 1970
}

// Needs reads the directory needs/ of the directory at, in the order of the names. Names
// that a runsvdir would not see are left out.
func Needs(at int) (all []Need, err error) {
	fd, err := sys.Open(at, "needs", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	switch {
	case err == unix.ENOENT:
		return nil, nil
	case err == unix.ENOTDIR:
		return nil, errors.New("./needs is not understood: it should be a directory of names of services.")
	case err != nil:
		return nil, fmt.Errorf("unable to open ./needs: %w", err)
	}
	dir := os.NewFile(uintptr(fd), "needs")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("unable to read ./needs: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		n := Need{Name: name}
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			n.Made = st.Mtim.Nano()
		}
		all = append(all, n)
	}
	return all, nil
}
