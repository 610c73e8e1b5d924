package policy

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/sys"
)

// Grant is a user or a group that may use a service.
type Grant struct {
	ID    int
	Group bool
}

// accessMax is more than user/access holds, and accountsMax than the lists of users and
// groups, of which what is behind it is not known.
const (
	accessMax   = 4 << 10
	accountsMax = 256 << 10
)

// readAccess is what user/access says, in the directory prefix relative to at: a name in each line, of a
// group behind an @. What is behind a # does not count.
func readAccess(at int, prefix string) (all []Grant, found bool, warnings []error) {
	b, err := sys.Slurp(at, prefix+"user/access", accessMax)
	if err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return nil, false, nil
		}
		return nil, false, []error{fmt.Errorf("unable to read ./user/access: %w", err)}
	}
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		list, group := "/etc/passwd", false
		if rest, ok := strings.CutPrefix(name, "@"); ok {
			list, group, name = "/etc/group", true, rest
		}
		id, ok := idOf(list, name)
		if !ok {
			warnings = append(warnings, fmt.Errorf("./user/access: %q is not understood: it should be the name of a user, or @ and that of a group.", strings.TrimSpace(line)))
			continue
		}
		all = append(all, Grant{id, group})
	}
	return all, true, warnings
}

// idOf is the number of a user or group, by its name in the list or by itself.
func idOf(list, name string) (id int, ok bool) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), true
	}
	b, _ := sys.Slurp(unix.AT_FDCWD, list, accountsMax)
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 4)
		if len(f) == 4 && f[0] == name {
			n, err := strconv.ParseUint(f[2], 10, 31)
			return int(n), err == nil
		}
	}
	return 0, false
}
