package reader

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// watcher knows in which directories something has happened.
type watcher struct {
	fd int
	of map[int32][]*source
}

// events are those after which there may be something to read.
const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF

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

// Pump tells what has been written since.
func (r *Reader) Pump() error {
	r.notify.drain(r.sources)
	return r.merge()
}

func (w *watcher) add(s *source) error {
	n, err := unix.InotifyAddWatch(w.fd, s.dir, events|unix.IN_ONLYDIR)
	if err != nil {
		return err
	}
	s.watch = n
	w.of[int32(n)] = append(w.of[int32(n)], s)
	return nil
}

// drain reads the events that there are.
func (w *watcher) drain(all []*source) {
	var buf [4096]byte
	for {
		n, err := unix.Read(w.fd, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			number := int32(binary.NativeEndian.Uint32(buf[at:]))
			mask := binary.NativeEndian.Uint32(buf[at+4:])
			at += unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[at+12:]))
			concerned := w.of[number]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				concerned = all
			}
			for _, s := range concerned {
				s.dirty = true
			}
			if mask&unix.IN_IGNORED != 0 {
				delete(w.of, number)
			}
		}
	}
}

func (w *watcher) close() { unix.Close(w.fd) }
