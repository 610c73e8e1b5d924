package supervise

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// eyes see a directory change, by inotify: the directory itself and every link
// on the way to it. Where that is not to be had, or may miss something (what
// another machine changes, a link further up), the looks every five seconds
// remain.
type eyes struct {
	seen chan struct{} // of one
	fd   int
	file *os.File
	path string // what is watched, with the links on the way
	sure bool   // no change can go unseen
}

const (
	dirEvents  = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	linkEvents = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
)

func openEyes() *eyes {
	e := &eyes{seen: make(chan struct{}, 1)}
	var err error
	if e.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err != nil {
		e.fd = -1
	}
	return e
}

// watch watches dir, which is resolved anew: if it is another than before, the
// old watches go.
func (e *eyes) watch(dir string) {
	if e.fd < 0 {
		return
	}
	hops, final := chain(dir)
	sure := local(final)
	for _, p := range append(hops, final) { // a link further up is not watched
		real, err := filepath.EvalSymlinks(filepath.Dir(p))
		sure = sure && err == nil && real == filepath.Dir(p)
	}
	defer func() { e.sure = sure && e.path != "" }()
	path := strings.Join(append(hops, final), "\x00")
	if path == e.path {
		_, err := unix.InotifyAddWatch(e.fd, final, dirEvents) // a new directory of the same name
		sure = sure && err == nil
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	if e.file != nil {
		e.file.Close() // its reader ends
	} else {
		unix.Close(e.fd)
	}
	names := map[int32]map[string]bool{}
	for _, hop := range hops {
		wd, err := unix.InotifyAddWatch(fd, filepath.Dir(hop), linkEvents)
		if err != nil {
			sure = false
			continue
		}
		if names[int32(wd)] == nil {
			names[int32(wd)] = map[string]bool{}
		}
		names[int32(wd)][filepath.Base(hop)] = true
	}
	whole, err := unix.InotifyAddWatch(fd, final, dirEvents)
	sure = sure && err == nil
	e.fd, e.path, e.file = fd, path, os.NewFile(uintptr(fd), "inotify")
	go e.look(e.file, int32(whole), names)
}

// local says whether path is on a file system that no other machine changes.
func local(path string) bool {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return false
	}
	switch int64(fs.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1, unix.OVERLAYFS_SUPER_MAGIC:
		return true
	}
	return false
}

// look reads events until the descriptor is closed. Of a directory that only
// holds a link on the way, no more than that link counts.
func (e *eyes) look(f *os.File, whole int32, names map[int32]map[string]bool) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		matters := false
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			size := int(binary.NativeEndian.Uint32(b[12:]))
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
			b = b[unix.SizeofInotifyEvent+size:]
			set, isLink := names[wd]
			if (!isLink || wd == whole) && !strings.HasPrefix(name, ".") || isLink && set[name] {
				matters = true
			}
		}
		if matters {
			select {
			case e.seen <- struct{}{}:
			default:
			}
		}
	}
}

// chain is the links on the way that path's last element leads, and where it
// ends.
func chain(path string) (links []string, final string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	for range 40 {
		target, err := os.Readlink(abs)
		if err != nil {
			break
		}
		links = append(links, abs)
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		abs = filepath.Clean(target)
	}
	return links, abs
}
