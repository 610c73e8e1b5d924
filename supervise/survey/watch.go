package survey

import (
	"strings"

	"runitbox/fmt"
	"runitbox/supervise/sys"

	"golang.org/x/sys/unix"
)

// Watch tells in which directories something has changed: a file was made, removed, or
// renamed into place, as supervisors do with supervise/status.
type Watch struct {
	fd   int
	dirs map[int32][]string
	has  map[string]int32
}

// NewWatch watches nothing yet.
func NewWatch() (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("unable to watch: %w", err)
	}
	return &Watch{fd, map[int32][]string{}, map[string]int32{}}, nil
}

// watched are the events that count. That a reader of supervise/ok has closed it tells the
// end of a supervisor; what this process itself opens there is for writing. Readiness is
// written into supervise/proc.
const watched = unix.IN_CLOSE_NOWRITE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_ONLYDIR

// Add watches a directory, if it is there and may be. It is fresh when it was not
// watched before: what happened there until then no event tells.
func (w *Watch) Add(dir string) (fresh bool, err error) {
	n, err := unix.InotifyAddWatch(w.fd, dir, watched)
	if err != nil {
		return false, err
	}
	number := int32(n)
	if old, known := w.has[dir]; known && old == number {
		return false, nil
	}
	w.has[dir] = number
	w.dirs[number] = append(w.dirs[number], dir)
	return true, nil
}

// FD is readable when something has changed.
func (w *Watch) FD() int { return w.fd }

// Read says in which directories something has changed since; supervise/control and
// the like, which change nothing, do not count. Where events were lost it is all of them.
func (w *Watch) Read() map[string]bool {
	changed := map[string]bool{}
	var buf [8192]byte
	for {
		n, err := unix.Read(w.fd, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return changed
		}
		for ev := range sys.InotifyEvents(buf[:n]) {
			if ev.Mask&unix.IN_Q_OVERFLOW != 0 {
				for dir := range w.has {
					changed[dir] = true
				}
			}
			for _, dir := range w.dirs[ev.Watch] {
				if counts(ev.Mask, string(ev.Name)) {
					changed[dir] = true
				}
				if ev.Mask&unix.IN_IGNORED != 0 {
					delete(w.has, dir)
				}
			}
			if ev.Mask&unix.IN_IGNORED != 0 {
				delete(w.dirs, ev.Watch)
			}
		}
	}
}

// counts says whether an event may be a change of a service.
func counts(mask uint32, name string) bool {
	switch {
	case mask&unix.IN_CLOSE_NOWRITE != 0:
		return name == "ok"
	case mask&unix.IN_CLOSE_WRITE != 0:
		return name == "proc"
	}
	return !strings.HasSuffix(name, ".new")
}

// Close ends the watch.
func (w *Watch) Close() { unix.Close(w.fd) }
