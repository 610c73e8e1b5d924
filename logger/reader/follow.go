package reader

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// watcher knows in which directories something has happened, and what became of the files
// that were current there.
type watcher struct {
	fd int
	of map[int32][]*source
}

// events are those after which there may be something to read.
const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF

// Follow has the reader go on with what is written later. It is called before the first
// directory is added; then FD is readable when there may be something to read.
func (r *Reader) Follow() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("unable to watch: %w", err)
	}
	r.following = true
	r.notify = &watcher{fd: fd, of: map[int32][]*source{}}
	return nil
}

// FD is the descriptor to wait for.
func (r *Reader) FD() int { return r.notify.fd }

// drain takes note of what has happened in the directories that are followed.
func (r *Reader) drain() {
	if r.notify != nil {
		r.notify.drain()
	}
}

// Pump tells what has been written since.
func (r *Reader) Pump() error {
	r.drain()
	return r.merge()
}

// add watches the directory of s.
func (w *watcher) add(s *source) error {
	n, err := w.addPath(s, s.dir, events)
	if err == nil {
		s.watch = n
	}
	return err
}

// addPath has events of a directory concern s, besides what they do already.
func (w *watcher) addPath(s *source, path string, events uint32) (number int32, err error) {
	n, err := unix.InotifyAddWatch(w.fd, path, events|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
	if number = int32(n); err == nil && !slices.Contains(w.of[number], s) {
		w.of[number] = append(w.of[number], s)
	}
	return number, err
}

// renew watches the directory that is now where that of s was, or what it is to come into.
// To what was there before somebody may still write, so it is watched, too.
func (w *watcher) renew(s *source) {
	w.addPath(s, filepath.Dir(s.dir), unix.IN_CREATE|unix.IN_MOVED_TO)
	s.gone = w.add(s) != nil
}

// drain reads the events that there are. The kernel has an event of a rename ready before
// whoever renames goes on.
func (w *watcher) drain() {
	var buf [4096]byte
	for {
		n, err := unix.Read(w.fd, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			number := int32(binary.NativeEndian.Uint32(buf[at:]))
			mask := binary.NativeEndian.Uint32(buf[at+4:])
			begin := at + unix.SizeofInotifyEvent
			at = begin + int(binary.NativeEndian.Uint32(buf[at+12:]))
			name, _, _ := bytes.Cut(buf[begin:at], []byte{0})
			if mask&unix.IN_Q_OVERFLOW != 0 {
				for _, some := range w.of {
					for _, s := range some {
						s.dirty, s.left, s.missed, s.away, s.strays = true, nil, true, false, true
					}
				}
			}
			for _, s := range w.of[number] {
				s.dirty = true
				s.gone = s.gone || number == s.watch && mask&(unix.IN_MOVE_SELF|unix.IN_DELETE_SELF) != 0
				if number == s.watch && mask&(unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_CREATE) != 0 {
					s.renamed(mask, string(name))
				}
			}
			if mask&unix.IN_IGNORED != 0 {
				delete(w.of, number)
			}
		}
	}
}

// renamed takes note of what becomes of current. svlogd renames it to a finished log. Others
// call it previous first, and rename or link that, or what a processor has made of it, to a
// finished log before they do the same with the next.
func (s *source) renamed(mask uint32, name string) {
	if mask&unix.IN_MOVED_FROM != 0 {
		if name == current {
			s.left = append(s.left, "")
		}
		return
	}
	if _, ok := rotated(name); !ok {
		return
	}
	label, last := name[:25], len(s.left)-1
	switch {
	case s.known[0][label] || s.known[1][label] || slices.Contains(s.left, label):
	case last >= 0 && s.left[last] == "":
		s.left[last] = label
	case s.away:
		s.known[0][label], s.away = true, false
	default:
		s.strays = true
	}
}

func (w *watcher) close() { unix.Close(w.fd) }
