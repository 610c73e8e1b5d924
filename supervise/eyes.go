package supervise

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// eyes see a directory change, by inotify: the directory itself and every link
// on the way to it. Where that is not to be had (or the change comes over the
// network) the looks every five seconds remain.
type eyes struct {
	seen chan struct{} // of one
	fd   int
	file *os.File
	path string // what is watched, with the links on the way
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
	path := strings.Join(append(hops, final), "\x00")
	if path == e.path {
		unix.InotifyAddWatch(e.fd, final, dirEvents) // a new directory of the same name
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
			continue
		}
		if names[int32(wd)] == nil {
			names[int32(wd)] = map[string]bool{}
		}
		names[int32(wd)][filepath.Base(hop)] = true
	}
	whole, _ := unix.InotifyAddWatch(fd, final, dirEvents)
	e.fd, e.path, e.file = fd, path, os.NewFile(uintptr(fd), "inotify")
	go e.look(e.file, int32(whole), names)
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
