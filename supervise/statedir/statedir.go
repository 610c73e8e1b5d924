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
const index = "/.by-inode"

// Root is the directory that the environment names; "" if it names none.
func Root() string { return os.Getenv(Var) }

// Name is what belongs to the directory of that status is called in the index.
func Name(st *unix.Stat_t) string {
	return strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(st.Ino, 16)
}

// Path is where, below root, it lies.
func Path(root string, st *unix.Stat_t) string { return root + index + "/" + Name(st) }

// Make makes and opens it, with the directories above it.
func Make(root string, st *unix.Stat_t) (int, error) {
	whole := Path(root, st)
	for i := 1; i < len(whole); i++ {
		if whole[i] == '/' {
			sys.Mkdir(unix.AT_FDCWD, whole[:i], 0o755)
		}
	}
	err := owned(root + index)
	if err == nil {
		sys.Mkdir(unix.AT_FDCWD, whole, 0o755)
		err = owned(whole)
	}
	fd := -1
	if err == nil {
		fd, err = sys.Open(unix.AT_FDCWD, whole, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("unable to make %s: %w", whole, err)
	}
	return fd, nil
}

// owned is an error where the directory is another user's, as it may be in /tmp: who has
// it decides what becomes of what is made in it.
func owned(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d has %s", st.Uid, dir)
	}
	return nil
}

// Link makes the link of a service's name, and that to what belongs to its log service,
// where that is not nil. The name of another that is served is left to that.
func Link(root, name string, st, log *unix.Stat_t) {
	if log != nil {
		put("../"+Name(log), Path(root, st)+"/log")
	}
	name = path.Base(name)
	if link := root + "/" + name; name[0] != '.' && name != "/" && !Served(link) {
		put(index[1:]+"/"+Name(st), link)
	}
}

// put makes a link, in the place of another link.
func put(target, link string) {
	old, err := os.Readlink(link)
	if err == nil && old == target {
		return
	}
	if err == nil {
		unix.Unlink(link)
	}
	unix.Symlink(target, link)
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
		if at := Path(root, &st); has(at, nil) {
			return at
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	tree := path.Dir(dir)
	for _, tree := range []string{tree, path.Dir(tree)} { // the second for a log service
		if unix.Stat(tree, &above) != nil {
			continue
		}
		if root := notice.StateDir(uint64(above.Dev), above.Ino); root != "" {
			if at := Path(root, &st); has(at, &st) {
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
