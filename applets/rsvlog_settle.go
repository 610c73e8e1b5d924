package applets

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/logrun"
	"runitbox/procenv"
	"runitbox/supervise/loghost"
	"runitbox/supervise/mounts"
)

// mounted is what is mounted, as far as settleLog has looked.
var mounted mounts.Kept

// settleLog does what a link to rsvlog would do in that directory, as root, until it becomes
// the owner of its log, and tells what svlogd it would become. The core does this for such
// a link, which need not begin then. Where there is anything to be said, or anything is left
// to be done as the owner, it does not know: rsvlog does it again, and finds made what is.
func settleLog(dir int, args, env []string) (options []string, owner *loghost.Owner, ok bool) {
	base := logrun.Base
	if len(args) == 1 {
		base = args[0]
	}
	table := mounted.Now()
	service, err := logrun.Of(dir, func(path string) error {
		if table.IsAway(path) {
			return errMayHang
		}
		return nil
	})
	if err != nil || table.MayHang(dir, ".") || len(args) > 1 || !filepath.IsAbs(base) || os.Geteuid() != 0 {
		return nil, nil, false
	}
	lookup := func(name string) (value string, set bool) {
		i := slices.IndexFunc(env, func(line string) bool { return strings.HasPrefix(line, name+"=") })
		if i < 0 {
			return "", false
		}
		return env[i][len(name)+1:], true
	}
	noShell := func() (map[string]string, error) { return nil, errors.New("it is for a shell") }
	conf, err := readConf(service, lookup, noShell)
	if err != nil || yes(conf, "SV_LOG_SYSLOG") {
		return nil, nil, false
	}
	ok = true
	place, err := findLog(service, base, conf, func(error) { ok = false })
	if err != nil || !ok {
		return nil, nil, false
	}
	config, found, err := service.Config()
	if err != nil || found && !logrun.HasConfig(place.Dir, config) || !mayOpen(dir, place.Owner) {
		return nil, nil, false
	}
	line, _ := svlogdOptions(conf, false)
	options = append(strings.Fields(line), place.Dir)
	if o, _, ok := parseLogger(options); !ok || len(o.Dirs) != 1 {
		return nil, nil, false
	}
	if place.Owner != nil {
		owner = &loghost.Owner{UID: place.Owner.UID, GID: place.Owner.GID, Groups: place.Owner.Groups}
	}
	return options, owner, true
}

// errMayHang is that something is with a file server, which may not answer: the core is not
// to wait for it.
var errMayHang = errors.New("it may hang")

// mayOpen says whether an account may open a directory of which root has a handle. Where it
// is not for all, or an access control list may say more, it is said to be root's alone.
func mayOpen(dir int, a *procenv.Account) bool {
	var st unix.Stat_t
	if a == nil {
		return true
	}
	if unix.Fstat(dir, &st) != nil || st.Mode&0o555 != 0o555 {
		return false
	}
	_, err := unix.Fgetxattr(dir, "system.posix_acl_access", nil)
	return err != nil
}
