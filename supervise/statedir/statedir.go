// Package statedir is where the supervise directory of a service directory lies that
// cannot be written, as in a container with a read-only root: below a directory that the
// variable SUPERVISEDIR names. What belongs to a service directory is found there by
// device and inode of that, so that its name counts for nothing: it may have several, or
// get another, and another service may have the same. For people, and for scripts, there
// is a link of the service's name beside it.
package statedir

import (
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/notice"
	"runitbox/supervise/sys"
)

// Var is the variable that names the directory.
const Var = "SUPERVISEDIR"

// index is the directory in it that has what belongs to each service directory.
const index = "/.by-inode/"

// Root is the directory that the environment names; "" if it names none.
func Root() string { return os.Getenv(Var) }

// Path is where, below root, that lies which belongs to the directory dir, relative to at.
func Path(root string, at int, dir string) (string, error) {
	var st unix.Stat_t
	err := unix.Fstatat(at, dir, &st, unix.AT_EMPTY_PATH)
	return root + index + name(&st), err
}

// name is what belongs to the directory of that status is called in the index.
func name(st *unix.Stat_t) string {
	return strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(st.Ino, 16)
}

// Make makes and opens it, with the directories above it. Where it is of a log service, in
// is what belongs to the service, which gets a link log; else in is -1.
func Make(root string, at int, dir string, in int) (fd int, err error) {
	whole, err := Path(root, at, dir)
	for i := 1; i <= len(whole) && err == nil; i++ {
		if i < len(whole) && whole[i] != '/' {
			continue
		}
		if err = sys.Mkdir(unix.AT_FDCWD, whole[:i], 0o755); err == unix.EEXIST {
			err = nil
		}
	}
	for _, made := range []string{path.Dir(whole), whole} {
		if err == nil {
			err = owned(made)
		}
	}
	if err == nil {
		fd, err = sys.Open(unix.AT_FDCWD, whole, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("unable to make %s: %w", whole, err)
	}
	if in >= 0 {
		unix.Unlinkat(in, "log", 0)
		unix.Symlinkat("../"+path.Base(whole), in, "log")
	}
	return fd, nil
}

// owned is an error where the directory is another user's, as it may be in /tmp: who has
// it decides what becomes of what is made in it.
func owned(dir string) error {
	var st unix.Stat_t
	err := unix.Lstat(dir, &st)
	if err == nil && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		err = fmt.Errorf("user %d has %s", st.Uid, dir)
	}
	return err
}

// Link makes the link of a service's name to what belongs to the directory at fd. That of
// another that is served is left to that.
func Link(root, name string, fd int) {
	name = path.Base(name)
	to, err := Path(root, fd, "")
	link := root + "/" + name
	if err != nil || name[0] == '.' || name == "/" || Served(link) {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(link, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		unix.Unlink(link)
	}
	unix.Symlink(to[len(root)+1:], link)
}

// Served says whether a supervisor reads supervise/ok below the directory.
func Served(dir string) bool {
	fd, err := sys.Open(unix.AT_FDCWD, dir+"/supervise/ok", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// Find is the directory below which the supervise directory lies of the service directory
// at dir, or at fd where that is at least 0: below the directory that the environment
// names, or that the runsvdir tells of that looks at the directory it is in. It is "" where
// there is none, or it has nothing.
func Find(dir string, fd int) string {
	var st, above unix.Stat_t
	if fd >= 0 && unix.Fstat(fd, &st) != nil || fd < 0 && unix.Stat(dir, &st) != nil {
		return ""
	}
	if root := Root(); root != "" {
		if at := root + index + name(&st); has(at, nil) {
			return at
		}
	}
	tree, _ := filepath.Abs(dir)
	for range 2 { // the second time for a log service
		tree = path.Dir(tree)
		if unix.Stat(tree, &above) != nil {
			continue
		}
		if root := notice.StateDir(uint64(above.Dev), above.Ino); root != "" {
			if at := root + index + name(&st); has(at, &st) {
				return at
			}
		}
	}
	return ""
}

// has says whether a supervise directory is there; where of is not nil, only if it is of
// somebody who may have made it for that directory: anybody may call himself a runsvdir.
func has(at string, of *unix.Stat_t) bool {
	var st unix.Stat_t
	if unix.Stat(at+"/supervise", &st) != nil {
		return false
	}
	return of == nil || st.Uid == 0 || st.Uid == of.Uid || int(st.Uid) == os.Geteuid()
}

// Of is the directory below which the supervise directory of the service directory at dir
// lies: dir itself as long as nobody serves another.
func Of(dir string) string {
	if Served(dir) {
		return dir
	}
	if at := Find(dir, -1); at != "" {
		return at
	}
	return dir
}
