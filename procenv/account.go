package procenv

import (
	"strconv"
	"syscall"
	"unsafe"
)

// Account is whom a process that lives on may become.
type Account struct {
	Name     string // as it was looked up
	UID, GID uint32
	Groups   []uint32 // the supplementary ones
}

// LookUp finds an account as chpst -u does: "user[:group...]" by name,
// ":uid:gid[:gid...]" as it stands. The error is an Unknown where the files
// do not know it.
func LookUp(who string) (Account, error) {
	user, err := lookUp(who, false, read)
	return Account{who, user.uid, user.gid, user.groups}, err
}

// LookUpAll finds those of the accounts that there are. The files are read once.
func LookUpAll(names []string) []Account {
	files := map[string][]byte{}
	once := func(path string) ([]byte, error) {
		if content, had := files[path]; had {
			return content, nil
		}
		content, err := read(path)
		if err == nil {
			files[path] = content
		}
		return content, err
	}
	var found []Account
	for _, name := range names {
		if user, err := lookUp(name, false, once); err == nil {
			found = append(found, Account{name, user.uid, user.gid, user.groups})
		}
	}
	return found
}

// UserName is the name of a uid, or its number where nobody has it.
func UserName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	passwd, _ := read(passwdFile) // without it the number has to do
	for line := range split(text(passwd), '\n') {
		if f := fields(line, ':'); len(f) > 2 && f[2] == number && isName(f[0]) {
			return f[0]
		}
	}
	return number
}

// Become makes this process the account's, with all its threads, and takes its
// capabilities away. Where it fails the process may be half changed.
func (a Account) Become() error {
	groups := make([]int, len(a.Groups))
	for i, gid := range a.Groups {
		groups[i] = int(gid)
	}
	uid, gid := int(a.UID), int(a.GID)
	if err := syscall.Setgroups(groups); err != nil {
		return failed("setgroups", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return failed("setgid", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return failed("setuid", err)
	}
	if uid == 0 {
		return nil
	}
	// The kernel has taken most of them with the uid; see dropCaps.
	var have, none capData
	if err := capget(&have); err != nil || have == none {
		return failed("drop capabilities", err)
	}
	header := capHeader{version: capVersion3}
	_, _, no := syscall.AllThreadsSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	return failed("drop capabilities", errno(no))
}
