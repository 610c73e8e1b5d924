package client

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/notice"
	"runitbox/supervise/proc"
)

// isAbsent says whether an error tells that nobody serves a directory, which is there.
func isAbsent(err error) bool {
	_, away := errors.AsType[Unreachable](err)
	return errors.Is(err, ErrNotRunning) || errors.Is(err, unix.ENOENT) && !away
}

// parentOf is the identity of the directory that the service at path is in, where a
// runsvdir would see a service of that name.
func parentOf(path string) Identity {
	path = filepath.Clean(path)
	if strings.HasPrefix(filepath.Base(path), ".") {
		return Identity{}
	}
	return IdentityOf(filepath.Dir(path))
}

// Identity is the device and inode of a file; zeros for none.
type Identity [2]uint64

// IdentityOf is that of what path leads to.
func IdentityOf(path string) Identity {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return Identity{}
	}
	return Identity{uint64(st.Dev), st.Ino}
}

// isUp says whether a runsvdir of ours says that it looks at the directory.
func (d Identity) isUp() bool { return d != Identity{} && notice.IsUp(d[0], d[1]) }

// expected says whether a runsvdir of ours looks at the directory that the service at
// path is in, so that it will be supervised if it is not yet.
func expected(path string) bool { return parentOf(path).isUp() }

// Scanned says whether a runsvdir looks at the directory: ours says so itself, and
// another's is looked for among the processes.
func Scanned(dir string) bool {
	d := IdentityOf(dir)
	return d.isUp() || d != (Identity{}) && runsvdirOf(d)
}

// runsvdirOf says whether a process is a runsvdir of the directory.
func runsvdirOf(dir Identity) bool {
	found := errors.New("found")
	return proc.Each(func(pid int) error {
		if looksAt(pid, dir) {
			return found
		}
		return nil
	}) == found
}

// LooksAt says whether a process is a runsvdir of the directory.
func LooksAt(pid int, dir string) bool { return looksAt(pid, IdentityOf(dir)) }

func looksAt(pid int, dir Identity) bool {
	args := proc.Arguments(pid)
	if len(args) == 0 || filepath.Base(args[0]) != "runsvdir" || dir == (Identity{}) {
		return false
	}
	for i, arg := range args[1:] {
		if strings.HasPrefix(arg, "-") || args[i] == "--state-dir" { // which takes a directory of its own
			continue
		}
		if !filepath.IsAbs(arg) {
			arg = proc.Path(pid, "cwd/") + arg
		}
		return IdentityOf(arg) == dir
	}
	return false
}

// A runsvdir that was started just before a command may not be seen for graceTime, which a
// client waits once, looking at these intervals. The processes are looked through for one
// at most once in lookCost times the time that this takes.
const (
	graceTime = 100 * time.Millisecond
	graceLook = 5 * time.Millisecond
	lookCost  = 20
)

// coming is what a client knows of runsvdirs that are not ours, or have not come as far
// as to say what they look at.
type coming struct {
	begun time.Time // when the client first asked
	looks map[Identity]look
}

// look is a look through the processes for the runsvdir of a directory.
type look struct {
	found bool
	until time.Time // for so long it counts
}

// comes says whether somebody will supervise the service at path, whom a client that
// waits anyhow is to wait for. While it is early that may change.
func (c *coming) comes(path string) (comes, early bool) {
	dir := parentOf(path)
	if dir == (Identity{}) {
		return false, false
	}
	if dir.isUp() {
		return true, false
	}
	now := time.Now()
	if c.looks == nil {
		c.begun, c.looks = now, map[Identity]look{}
	}
	if now.Sub(c.begun) < graceTime {
		return false, true
	}
	l := c.looks[dir]
	if now.After(l.until) {
		l.found = runsvdirOf(dir)
		l.until = now.Add(lookCost * time.Since(now))
		c.looks[dir] = l
	}
	return l.found, false
}
