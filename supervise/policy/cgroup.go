package policy

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/sys"
)

// Setting is a file of cgroup/: the name of a file of a cgroup (v2), and the lines that are
// written into that.
type Setting struct {
	Name  string
	Lines []string
}

// CGroup reads the directory cgroup/ of the directory at, in the order of the names.
func CGroup(at int) (all []Setting, err error) {
	fd, err := sys.Open(at, "cgroup", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err == unix.ENOTDIR {
		return nil, errors.New("./cgroup is not understood: it should be a directory")
	} else if err != nil {
		return nil, fmt.Errorf("unable to open ./cgroup: %w", err)
	}
	defer unix.Close(fd)
	names, err := visible(fd)
	for _, name := range names {
		b, e := sys.Slurp(fd, name, 4096)
		if e != nil {
			return nil, fmt.Errorf("unable to read ./cgroup/%s: %w", name, e)
		}
		all = append(all, Setting{name, strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })})
	}
	return all, err
}
