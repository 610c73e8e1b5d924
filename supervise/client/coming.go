package client

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
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
func parentOf(path string) (dev, ino uint64, ok bool) {
	path = filepath.Clean(path)
	if strings.HasPrefix(filepath.Base(path), ".") {
		return 0, 0, false
	}
	return identity(filepath.Dir(path))
}

// identity is the device and inode of what path leads to.
func identity(path string) (dev, ino uint64, ok bool) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return uint64(st.Dev), st.Ino, err == nil
}

// expected says whether a runsvdir of ours looks at the directory that the service at
// path is in, so that it will be supervised if it is not yet.
func expected(path string) bool {
	dev, ino, ok := parentOf(path)
	return ok && notice.IsUp(dev, ino)
}

// Scanned says whether a runsvdir looks at the directory: ours says so itself, and
// another's is looked for among the processes.
func Scanned(dir string) bool {
	dev, ino, ok := identity(dir)
	return ok && (notice.IsUp(dev, ino) || runsvdirOf(dev, ino))
}

// runsvdirOf says whether a process is a runsvdir of the directory of that identity.
func runsvdirOf(dev, ino uint64) bool {
	found := errors.New("found")
	return proc.Each(func(pid int) error {
		if looksAt(pid, dev, ino) {
			return found
		}
		return nil
	}) == found
}

func looksAt(pid int, dev, ino uint64) bool {
	place := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(place + "/cmdline")
	if err != nil {
		return false
	}
	args := strings.Split(string(b), "\x00")
	if filepath.Base(args[0]) != "runsvdir" {
		return false
	}
	for _, arg := range args[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if !filepath.IsAbs(arg) {
			arg = place + "/cwd/" + arg
		}
		d, i, ok := identity(arg)
		return ok && d == dev && i == ino
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
	looks map[[2]uint64]look
}

// look is a look through the processes for the runsvdir of a directory.
type look struct {
	found bool
	until time.Time // for so long it counts
}

// comes says whether somebody will supervise the service at path, whom a client that
// waits anyhow is to wait for. While it is early that may change.
func (c *coming) comes(path string) (comes, early bool) {
	dev, ino, ok := parentOf(path)
	if !ok {
		return false, false
	}
	if notice.IsUp(dev, ino) {
		return true, false
	}
	now := time.Now()
	if c.looks == nil {
		c.begun, c.looks = now, map[[2]uint64]look{}
	}
	if now.Sub(c.begun) < graceTime {
		return false, true
	}
	at := [2]uint64{dev, ino}
	l := c.looks[at]
	if now.After(l.until) {
		l.found = runsvdirOf(dev, ino)
		l.until = now.Add(lookCost * time.Since(now))
		c.looks[at] = l
	}
	return l.found, false
}
