package logrun

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/procenv"
)

// Base is where log directories lie, unless somebody wants them elsewhere.
const Base = "/var/log"

// aside is where in Base a log directory lies whose place another program has.
const aside = "sv"

// loggers are whom logs belong to where ./conf does not say it: the first that
// there is. They are kept apart from what the services run as.
var loggers = []string{"rsvlog:adm", "rsvlog", "_runit-log:adm", "_runit-log", "daemon:adm", "daemon", "nobody:adm", "nobody"}

// Service is a log service.
type Service struct {
	Name string // of the service that it is the log service of
	Dir  string // its directory
	at   string // the same, however that is called: "." or below /proc/self/fd
	read func(path string) ([]byte, error)
	may  func(path string) error // says whether what is there may be touched
}

// Here is the log service whose directory is the current one.
func Here() (Service, error) {
	dir, err := unix.Getwd() // not what PWD says
	if err != nil {
		return Service{}, fmt.Errorf("unable to get the current directory: %w", err)
	}
	return service(dir, ".", os.ReadFile, func(string) error { return nil })
}

// Of is the log service of which another process has the directory, and has given a handle
// of it. So that this process need not wait for anybody, it touches beyond that only what may
// says, and reads only small regular files.
func Of(fd int, may func(path string) error) (Service, error) {
	at := "/proc/self/fd/" + strconv.Itoa(fd)
	dir, err := os.Readlink(at)
	if err != nil {
		return Service{}, err
	}
	return service(dir, at, readSmall, may)
}

// service is the log service of a directory. The name is that of the real directory,
// whatever links lead there.
func service(dir, at string, read func(string) ([]byte, error), may func(string) error) (Service, error) {
	s := Service{filepath.Base(filepath.Dir(dir)), dir, at, read, may}
	if filepath.Base(dir) != "log" || s.Name == "/" {
		return s, ErrNotHere
	}
	return s, nil
}

// Read reads a file of the service's directory.
func (s Service) Read(name string) ([]byte, error) {
	text, err := s.read(filepath.Join(s.at, name))
	return text, bare(err)
}

// smallSize is how large a file may be that a process reads for another.
const smallSize = 64 << 10

// readSmall reads a regular file, if that is small and no link.
func readSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, unix.EINVAL)
	}
	text, err := io.ReadAll(io.LimitReader(f, smallSize+1))
	if err == nil && len(text) > smallSize {
		err = unix.EFBIG
	}
	return text, err
}

// ErrNotHere is that the current directory is no log service's.
var ErrNotHere = errors.New("to be run as ./run in the directory log of a service")

// Place is a log directory and whom the logger has to become to write there:
// nil is nobody else.
type Place struct {
	Dir   string
	Owner *procenv.Account
}

// Settings are what somebody wants of a log service.
type Settings struct {
	Base      string // where log directories lie
	Dir       string // below Base or absolute, or "" for the service's name
	UserGroup string // whom it belongs to, or "" for one of the usual
	Chown     bool   // an existing directory is to belong to them too
	State     string // a user's directory for such things (XDG_STATE_HOME), or ""
}

// Find finds the log directory of a service or makes it. What is not as it
// was wanted is told to warn.
func (s Service) Find(want Settings, warn func(error)) (Place, error) {
	if want.Dir != "" && !filepath.IsAbs(want.Dir) && !filepath.IsLocal(want.Dir) {
		return Place{}, fmt.Errorf("unable to log to %s: it leads out of %s", want.Dir, want.Base)
	}
	if os.Geteuid() != 0 {
		return s.findOwn(want, warn)
	}
	owner, usual, err := lookUp(want.UserGroup)
	if err != nil {
		warn(fmt.Errorf("%w: logging as root", err))
	}
	path := want.Dir
	if path == "" {
		path = s.Name
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(want.Base, path)
	}
	if err := s.may(path); err != nil {
		return Place{}, err
	}
	if want.Dir == "" && want.Base == Base && anothers(path) {
		other := filepath.Join(Base, aside, s.Name)
		warn(fmt.Errorf("%s is another program's: logging to %s", path, other))
		if path = other; s.may(path) != nil {
			return Place{}, s.may(path)
		}
	}
	return settle(path, owner, usual, want, warn)
}

// findOwn is Find for a user, who has a directory of his own, or the service's.
func (s Service) findOwn(want Settings, warn func(error)) (Place, error) {
	path := ""
	switch {
	case filepath.IsAbs(want.Dir):
		path = want.Dir
	case filepath.IsAbs(want.State) && want.Dir != "":
		path = filepath.Join(want.State, "log", want.Dir)
	case filepath.IsAbs(want.State):
		path = filepath.Join(want.State, "log", s.Name)
	}
	if path != "" {
		err := os.MkdirAll(path, 0o750)
		if err == nil {
			err = writable(path)
		}
		if err == nil {
			return Place{Dir: path}, nil
		}
		warn(fmt.Errorf("unable to log to %s: %w: logging to %s", path, bare(err), s.Dir))
	}
	if err := writable(s.at); err != nil {
		return Place{}, fmt.Errorf("unable to log to %s: %w", s.Dir, err)
	}
	return Place{Dir: "."}, nil
}

// lookUp finds the account of a name; without one it is the first of the usual,
// which it tells as well. Nil is nobody: the logger stays who it is.
func lookUp(name string) (owner *procenv.Account, usual []procenv.Account, err error) {
	if name != "" {
		a, err := procenv.LookUp(name)
		if err != nil {
			return nil, nil, err
		}
		return &a, nil, nil
	}
	usual = procenv.LookUpAll(loggers)
	if len(usual) == 0 {
		return nil, nil, fmt.Errorf("none of the accounts %s", strings.Join(loggers, ", "))
	}
	return &usual[0], usual, nil
}

// anothers says whether there is a directory that is not empty and that no
// svlogd has written to.
func anothers(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := os.Lstat(filepath.Join(path, "lock")); err == nil {
		return false
	}
	_, err = f.Readdirnames(1)
	return !errors.Is(err, io.EOF)
}

// settle makes path a log directory of the owner's. One that is there stays as
// it is, unless the owner is to have it, and is written to as whoever has it: to
// others it might be closed, and it may hold what must not be given away.
func settle(path string, owner *procenv.Account, usual []procenv.Account, want Settings, warn func(error)) (Place, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Place{}, fmt.Errorf("unable to make %s: %w", filepath.Dir(path), bare(err))
	}
	if err := unix.Mkdir(path, unfinished); err != nil && !errors.Is(err, unix.EEXIST) {
		return Place{}, fmt.Errorf("unable to make %s: %w", path, err)
	}
	dir, has, err := open(path)
	if err != nil {
		return Place{}, fmt.Errorf("unable to log to %s: %w", path, err)
	}
	defer dir.Close()
	made := has.Uid == 0 && has.Mode&0o777 == unfinished
	p, err := give(dir, has, made, Place{path, owner}, usual, want, warn)
	if err == nil && made {
		if err = unix.Fchmod(int(dir.Fd()), 0o750); err != nil {
			err = fmt.Errorf("unable to set the mode of %s: %w", path, err)
		}
	}
	return p, err
}

// unfinished is the mode of a directory that has been made and not yet been given
// to its owner, so that it is given the next time if this one does not come to it.
// No umask takes any of it away from root.
const unfinished = 0o500

// give makes an open directory the owner's where it is new or he is to have it,
// and else says whose it is.
func give(dir *os.File, has unix.Stat_t, made bool, p Place, usual []procenv.Account, want Settings, warn func(error)) (Place, error) {
	owner := p.Owner
	switch {
	case owner == nil && (made || has.Uid == 0):
		return p, nil
	case owner != nil && (made || want.Chown):
		err := chown(dir, *owner)
		if err == nil {
			return p, nil
		}
		err = fmt.Errorf("unable to give %s to %s: %w", p.Dir, owner.Name, err)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) { // in a container that has only some users
			warn(fmt.Errorf("%w: logging as root", err))
			return Place{Dir: p.Dir}, nil
		}
		return p, err
	case owner != nil && has.Uid == owner.UID:
		return p, nil
	}
	// It belongs to somebody else.
	p.Owner = nil
	if has.Uid != 0 {
		p.Owner = &procenv.Account{UID: has.Uid, GID: has.Gid, Groups: []uint32{has.Gid}}
	}
	ofUsual := func(a procenv.Account) bool { return a.UID == has.Uid }
	if owner != nil && !slices.ContainsFunc(usual, ofUsual) {
		whose := procenv.UserName(has.Uid)
		warn(fmt.Errorf("%s belongs to %s, not to %s: logging as %s (SV_LOG_CHOWN=yes in conf gives it away)", p.Dir, whose, owner.Name, whose))
	}
	return p, nil
}

// open opens a directory. A link to it must be root's: who else could make one
// in its place could have any directory given to him.
func open(path string) (*os.File, unix.Stat_t, error) {
	var link, has unix.Stat_t
	if err := unix.Lstat(path, &link); err != nil {
		return nil, has, err
	}
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if link.Mode&unix.S_IFMT != unix.S_IFLNK {
		flags |= unix.O_NOFOLLOW
	} else if link.Uid != 0 {
		return nil, has, fmt.Errorf("it is a link of %s", procenv.UserName(link.Uid))
	}
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return nil, has, err
	}
	if err := unix.Fstat(fd, &has); err != nil {
		unix.Close(fd)
		return nil, has, err
	}
	return os.NewFile(uintptr(fd), path), has, nil
}

// chown makes the directory and svlogd's files in it the owner's: no links, and
// no file that has another name elsewhere.
func chown(dir *os.File, owner procenv.Account) error {
	uid, gid := int(owner.UID), int(owner.GID)
	if err := unix.Fchown(int(dir.Fd()), uid, gid); err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return bare(err)
	}
	for _, name := range names {
		if !logs(name) {
			continue
		}
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
			err = unix.Fchown(fd, uid, gid)
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// logs says whether a file of this name is svlogd's.
func logs(name string) bool {
	switch name {
	case "current", "lock", "config", "state", "newstate", ".svlogd", ".svlogd.next":
		return true
	}
	return len(name) == 27 && name[0] == '@'
}

// writable says why nothing can be made in a directory.
func writable(dir string) error {
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}

// Links makes the links by which the service's logs are found, which are in dir: where its
// directory is read-only there are none, but for current, if that is not "", which is below
// Base or an absolute path.
func (s Service) Links(dir, current string) error {
	if unix.Access(s.at, unix.W_OK) == nil {
		// What is in their place stays: somebody has put it there.
		link(dir, filepath.Join(s.at, "main"))
		link("main/current", filepath.Join(s.at, "current"))
	}
	if current == "" {
		return nil
	}
	if !filepath.IsAbs(current) {
		current = filepath.Join(Base, current)
	}
	if err := s.may(current); err != nil {
		return err
	}
	if err := link(filepath.Join(dir, "current"), current); err != nil {
		return fmt.Errorf("unable to link %s: %w", current, err)
	}
	return nil
}

// link makes a link called name, in place of another link. What is no link stays.
func link(target, name string) error {
	if have, err := os.Readlink(name); err == nil && have == target {
		return nil
	} else if errors.Is(err, unix.EINVAL) {
		return unix.EEXIST
	}
	next := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.Symlink(target, next); err != nil {
		return bare(err)
	}
	if err := os.Rename(next, name); err != nil {
		os.Remove(next)
		return bare(err)
	}
	return nil
}

// Config is what the service has for svlogd's config: log.config, or config.
// None is no text.
func (s Service) Config() (text []byte, found bool, err error) {
	for _, name := range []string{"log.config", "config"} {
		text, err := s.Read(name)
		switch {
		case err == nil:
			return text, true, nil
		case !errors.Is(err, os.ErrNotExist):
			return nil, false, fmt.Errorf("unable to read %s: %w", name, err)
		}
	}
	return nil, false, nil
}

// HasConfig says whether text is the config of a log directory. Its owner may have put
// anything there: a file that is not small and regular is another.
func HasConfig(dir string, text []byte) bool {
	have, err := readSmall(filepath.Join(dir, "config"))
	return err == nil && string(have) == string(text)
}

// PutConfig makes text the config of a log directory. It is to be called as
// the directory's owner, who may have put anything there.
func PutConfig(dir string, text []byte) error {
	name := filepath.Join(dir, "config")
	if have, err := os.ReadFile(name); err == nil && string(have) == string(text) {
		return nil
	}
	next := filepath.Join(dir, ".config.new")
	os.Remove(next)
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		os.Remove(next)
		return fmt.Errorf("unable to write %s: %w", name, bare(err))
	}
	return nil
}

// bare is the cause of an error without the path, which the caller tells.
func bare(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
