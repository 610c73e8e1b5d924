package procenv

import (
	"strconv"
	"syscall"
)

// ids are the numbers of a user: groups are the supplementary ones.
type ids struct {
	uid, gid uint32
	groups   []uint32
}

// Unknown is an account or group that the files do not know, or numbers that
// are none.
type Unknown struct {
	What string // "unknown account"
	Name string
}

func (u *Unknown) Error() string { return u.What + ": " + u.Name }

// The files of the accounts, inside the new root.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// lookUp finds the numbers of what -u was given: "user[:group...]" by name,
// ":uid:gid[:gid...]" as it stands. With all, the user's groups are all that
// list him as a member, his primary one, and those named.
func lookUp(who string, all bool, read func(path string) ([]byte, error)) (ids, error) {
	if who != "" && who[0] == ':' {
		return parseIDs(who[1:])
	}
	const step = "get password/group file entry"
	unknown := &Unknown{"unknown user/group", who}
	name, list, named := cut(who, ':')
	passwd, err := read(passwdFile)
	if err != nil {
		return ids{}, failed(step, err)
	}
	user, ok := findUser(passwd, name)
	if !ok {
		return ids{}, unknown
	}
	if !named {
		user.groups = []uint32{user.gid}
	}
	if !named && !all {
		return user, nil
	}
	group, err := read(groupFile)
	if err != nil {
		return ids{}, failed(step, err)
	}
	primary := user.gid
	if named {
		for name := range split(list, ':') {
			gid, ok := findGroup(group, name)
			if !ok {
				return ids{}, unknown
			}
			user.groups = append(user.groups, gid)
		}
		user.gid = user.groups[0]
	}
	if all {
		user.groups = append(user.groups, primary)
		user.groups = unique(append(user.groups, memberships(group, name)...))
	}
	return user, nil
}

// lookUpAccount finds the numbers of a user's name, which may contain a colon
// as little as the file does.
func lookUpAccount(name string) (ids, error) {
	passwd, err := read(passwdFile)
	if err != nil {
		return ids{}, failed("get password file entry", err)
	}
	user, ok := findUser(passwd, name)
	if !ok {
		return ids{}, &Unknown{"unknown account", name}
	}
	user.groups = []uint32{user.gid}
	return user, nil
}

// parseIDs reads "uid:gid[:gid...]".
func parseIDs(text string) (ids, error) {
	var numbers []uint32
	for field := range split(text, ':') {
		n, err := number(field)
		if err != nil {
			return ids{}, &Unknown{"invalid uid/gids", text}
		}
		numbers = append(numbers, n)
	}
	if len(numbers) < 2 {
		return ids{}, &Unknown{"invalid uid/gids", text}
	}
	return ids{uid: numbers[0], gid: numbers[1], groups: numbers[1:]}, nil
}

// number reads a uid or gid. The greatest of 32 bits is none: to the kernel it
// is "leave it as it is", or an error.
func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32) // takes no sign, no blank, no overflow
	if err == nil && n == 1<<32-1 {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// findUser looks name up in a password file. Lines that are no entries, as
// comments and those for NIS, are passed over.
func findUser(passwd []byte, name string) (ids, bool) {
	for line := range split(text(passwd), '\n') {
		if first, _, _ := cut(line, ':'); first != name { // as a rule: that takes no memory
			continue
		}
		f := fields(line, ':')
		if len(f) < 4 || !isName(name) {
			continue
		}
		uid, err1 := number(f[2])
		gid, err2 := number(f[3])
		if err1 == nil && err2 == nil {
			return ids{uid: uid, gid: gid}, true
		}
	}
	return ids{}, false
}

// findGroup looks name up in a group file.
func findGroup(group []byte, name string) (uint32, bool) {
	for line := range split(text(group), '\n') {
		if first, _, _ := cut(line, ':'); first != name {
			continue
		}
		f := fields(line, ':')
		if len(f) < 3 || !isName(name) {
			continue
		}
		if gid, err := number(f[2]); err == nil {
			return gid, true
		}
	}
	return 0, false
}

// memberships lists the groups that have the user as a member.
func memberships(group []byte, user string) []uint32 {
	var gids []uint32
	for line := range split(text(group), '\n') {
		f := fields(line, ':')
		if len(f) < 4 || !isName(f[0]) {
			continue
		}
		for member := range split(f[3], ',') {
			for member != "" && member[0] == ' ' {
				member = member[1:]
			}
			if gid, err := number(f[2]); err == nil && member == user {
				gids = append(gids, gid)
			}
		}
	}
	return gids
}

// isName says whether a line with this name is an entry of the file.
func isName(name string) bool {
	return name != "" && name[0] != '#' && name[0] != '+' && name[0] != '-'
}

// unique drops what is there twice.
func unique(gids []uint32) []uint32 {
	var once []uint32
next:
	for _, gid := range gids {
		for _, have := range once {
			if have == gid {
				continue next
			}
		}
		once = append(once, gid)
	}
	return once
}

// find looks the user up as the caller wants it.
func (c *Change) find(who string) (ids, error) {
	if c.Account {
		return lookUpAccount(who)
	}
	return lookUp(who, c.AllGroups, read)
}

func (c *Change) envUser(env *Environment) error {
	if c.EnvUser == nil {
		return nil
	}
	user, err := c.find(*c.EnvUser)
	if err != nil {
		return err
	}
	env.Set("GID", strconv.FormatUint(uint64(user.gid), 10))
	env.Set("UID", strconv.FormatUint(uint64(user.uid), 10))
	return nil
}

// user changes the thread's groups and ids, and what it may do beyond them.
// The other threads keep theirs until exec ends them; they run nothing but
// Go's runtime, and no signal goes around to change them.
func (c *Change) user(*Environment) error {
	if err := c.boundCaps(); err != nil {
		return err
	}
	if c.User != nil {
		user, err := c.find(*c.User)
		if err != nil {
			return err
		}
		if err := setgroups(user.groups); err != nil {
			return failed("setgroups", err)
		}
		if err := setgid(user.gid); err != nil {
			return failed("setgid", err)
		}
		// Here the kernel counts the user's processes; if they are more than
		// the limit it notes that, and exec fails.
		if err := whileGiven(NProc, func() error { return setuid(user.uid) }); err != nil {
			return failed("setuid", err)
		}
		if user.uid != 0 && c.Caps == nil {
			return dropCaps()
		}
	}
	return c.keepCaps()
}

func itoa(n int) string { return strconv.Itoa(n) }

// errno makes an error of what a raw system call says.
func errno(no syscall.Errno) error {
	if no == 0 {
		return nil
	}
	return no
}
