// Package setup writes what the executable brings for a whole system: stages, levels and
// service directories for well-known daemons. It looks at all that is there before it changes
// anything, follows no link out of the root that it is given, and takes back what it
// has begun where it cannot end.
package setup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// File is a file, a link or a directory to be made.
type File struct {
	Path   string // relative to the directory that it is written to, slashes between
	Text   string // of a link what it leads to, of a directory nothing
	Mode   fs.FileMode
	Yields bool // anything else in its place is left alone
}

// State is what there is at the path of a File.
type State int

// The states of a file.
const (
	Absent   State = iota // nothing: it is made
	Same                  // the file as it shall be: it stays
	Differs               // of its type, with another text or mode
	Foreign               // of another type, or below something that is no directory
	Extended              // a regular file of the machine's that gets a line more
	Left                  // something else, to which it yields
)

// Step is what is to be done about a File.
type Step struct {
	File
	State State
	Cause error // of Foreign and Left
}

// Target is a directory to write to.
type Target struct {
	root  *os.Root
	name  string // as messages tell it
	whole bool   // root is "/"
}

// Open opens dir below root, both of which are made where they are not there: root
// itself must be. A link on the way that leads out of root is an error, but where
// root is "/", which nothing leads out of. The Target must be closed. The error does not name root.
func Open(root, dir string) (*Target, error) {
	at, err := os.OpenRoot(root)
	if err != nil {
		return nil, bare(err)
	}
	t := &Target{at, dir, filepath.Clean(root) == "/"}
	t.name = t.real(dir)
	return t, nil
}

// real is a path without the links on the way to it, where root is "/": os.Root takes no
// absolute link.
func (t *Target) real(name string) string {
	if !t.whole {
		return name
	}
	for dir, rest := name, ""; dir != "." && dir != ""; dir, rest = path.Dir(dir), path.Join(path.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks("/" + dir); err == nil {
			return path.Join(strings.TrimPrefix(real, "/"), rest)
		}
	}
	return name
}

// Close closes the directory.
func (t *Target) Close() error { return t.root.Close() }

// Plan looks at what there is of the files and changes nothing. The error is of the
// root, or a file that cannot be read.
func (t *Target) Plan(files []File) ([]Step, error) {
	var steps []Step
	for _, f := range files {
		s := Step{File: f}
		s.Path = path.Join(t.name, f.Path)
		s.Path = path.Join(t.real(path.Dir(s.Path)), path.Base(s.Path))
		info, err := t.lstat(s.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.State = Absent
			if s.Cause = t.reachable(path.Dir(s.Path)); s.Cause != nil {
				s.State = Foreign
			}
		case err != nil:
			s.State, s.Cause = Foreign, bare(err)
		case info.Mode().Type() != f.Mode.Type():
			s.State, s.Cause = Foreign, errors.New("it is no "+kinds[f.Mode.Type()])
		default:
			text, err := t.text(s.Path, f.Mode.Type())
			if err != nil {
				return nil, fmt.Errorf("unable to read %s: %w", s.Path, bare(err))
			}
			if s.State = Same; text != f.Text || f.Mode.IsRegular() && info.Mode().Perm() != f.Mode {
				s.State = Differs
			}
		}
		if f.Yields && (s.State == Differs || s.State == Foreign) {
			if s.State == Differs {
				s.Cause = errors.New("it is another one")
			}
			s.State = Left
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// kinds are the types of a File, in words.
var kinds = map[fs.FileMode]string{0: "regular file", fs.ModeSymlink: "link", fs.ModeDir: "directory"}

// text is what a file holds, or what a link leads to.
func (t *Target) text(name string, kind fs.FileMode) (string, error) {
	switch kind {
	case fs.ModeDir:
		return "", nil
	case fs.ModeSymlink:
		return t.readlink(name)
	}
	text, err := t.root.ReadFile(name)
	return string(text), err
}

// handle opens what name is, a link itself, without reading it. With O_DIRECTORY a link is
// followed. What is seen through it needs no Stat and Readlink of os.Root, for each of which
// the executable has the walk along a path once more.
func (t *Target) handle(name string, flags int) (*os.File, error) {
	return t.root.OpenFile(name, unix.O_PATH|flags, 0)
}

func (t *Target) lstat(name string) (fs.FileInfo, error) {
	f, err := t.handle(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// within opens the directory that name is in, and calls do with that and the rest of name.
func (t *Target) within(name string, do func(at int, base string) error) error {
	dir, err := t.handle(path.Dir(name), unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(int(dir.Fd()), path.Base(name))
}

// remove removes a file or an empty directory.
func (t *Target) remove(name string) error {
	return t.within(name, func(at int, base string) error {
		err := unix.Unlinkat(at, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(at, base, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// rename gives a file another name in its directory.
func (t *Target) rename(name, to string) error {
	return t.within(name, func(at int, base string) error { return unix.Renameat(at, base, at, to) })
}

// isDir says why name is no directory, nor a link to one.
func (t *Target) isDir(name string) error {
	f, err := t.handle(name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return f.Close()
}

func (t *Target) readlink(name string) (string, error) {
	f, err := t.handle(name, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	to := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", to)
	return string(to[:max(n, 0)]), err
}

// reachable says why no file can be made in dir: something on the way is no directory.
func (t *Target) reachable(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		err := t.isDir(dir)
		if err == nil {
			return nil
		}
		_, missing := t.lstat(dir)
		switch {
		case missing == nil && errors.Is(err, unix.ENOTDIR):
			return fmt.Errorf("%s is no directory", dir)
		case missing == nil && errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is a link that leads nowhere", dir)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", dir, bare(err))
		}
	}
	return nil
}

// suffix is what the name of a file ends with until all are written.
const suffix = ".runitbox-new"

// Write makes the files that are Absent and replaces those that are Differs or Extended. All are
// written beside their places first, and only then renamed: where one cannot be
// written, what was made is taken back, and the error tells of which file.
func (t *Target) Write(steps []Step) (err error) {
	var made []string // files and directories, in order
	defer func() {
		for i := len(made) - 1; err != nil && i >= 0; i-- {
			t.remove(made[i])
		}
	}()
	todo := make([]Step, 0, len(steps))
	for _, s := range steps {
		if s.State == Absent || s.State == Differs || s.State == Extended {
			todo = append(todo, s)
		}
	}
	for _, s := range todo {
		dir := path.Dir(s.Path)
		if s.Mode.IsDir() {
			dir = s.Path
		}
		if err := t.mkdir(dir, &made); err != nil {
			return err
		}
		if s.Mode.IsDir() {
			continue
		}
		made = append(made, s.Path+suffix)
		if err := t.write(s); err != nil {
			return fmt.Errorf("unable to write %s: %w", s.Path, bare(err))
		}
	}
	for _, s := range todo {
		if s.Mode.IsDir() {
			continue
		}
		if err := t.rename(s.Path+suffix, path.Base(s.Path)); err != nil {
			return fmt.Errorf("unable to rename %s: %w", s.Path, bare(err))
		}
		if s.State == Absent {
			made = append(made, s.Path)
		}
	}
	return nil
}

// mkdir makes dir and those above it where they are not there, and notes them.
func (t *Target) mkdir(dir string, made *[]string) error {
	if dir == "." {
		return nil
	}
	if t.isDir(dir) == nil {
		return nil
	}
	if err := t.mkdir(path.Dir(dir), made); err != nil {
		return err
	}
	if err := t.within(dir, func(at int, base string) error { return unix.Mkdirat(at, base, 0o755) }); err != nil {
		return fmt.Errorf("unable to make %s: %w", dir, bare(err))
	}
	*made = append(*made, dir)
	return nil
}

// write writes the file beside its place. What a run that was killed has left there is
// replaced.
func (t *Target) write(s Step) error {
	name := s.Path + suffix
	if err := t.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.Mode.Type() == fs.ModeSymlink {
		return t.within(name, func(at int, base string) error { return unix.Symlinkat(s.Text, at, base) })
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s.Text)
	for _, step := range []func() error{func() error { return f.Chmod(s.Mode) }, f.Sync, f.Close} {
		if e := step(); err == nil {
			err = e
		}
	}
	return err
}

// bare is the cause of an error without the names, which the caller tells.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
