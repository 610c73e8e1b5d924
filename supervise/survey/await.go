package survey

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/client"
	"runitbox/supervise/statedir"
)

// What no event tells, as that a supervisor has opened supervise/ok, is looked for: at
// first soon, then at these intervals.
const (
	lookFirst   = time.Millisecond
	lookWatched = 420 * time.Millisecond
	lookBlind   = 15 * time.Millisecond // where nothing can be watched
	lookQuick   = 20 * time.Millisecond // for so long nothing is: closing inotify takes as long
)

// Await looks, whenever something has changed in the service directory at path, below
// its supervise/ or with who serves it, until there is what was waited for or the time
// is over, and says which.
func Await(path string, until time.Time, there func() bool) bool {
	var w *Watch
	pause := lookFirst
	for begin := time.Now(); ; {
		if time.Since(begin) > lookQuick && w == nil {
			if watch, err := NewWatch(); err == nil {
				w = watch
				defer w.Close()
			}
		}
		dir, ok := statedir.Open(path)
		most := lookBlind
		if w != nil {
			if _, err := w.Add(path); err == nil {
				most = lookWatched
			}
			w.Add(dir + "/supervise") // once it is there; until then path tells
		}
		done := there()
		left := time.Until(until)
		if !done && left > 0 {
			fds := []unix.PollFd{{Fd: -1, Events: unix.POLLIN}, {Fd: int32(ok)}} // without a reader POLLERR comes unasked
			if w != nil {
				fds[0].Fd = int32(w.FD())
			}
			pause = min(2*pause, most)
			unix.Poll(fds, int((min(left, pause)+time.Millisecond-1)/time.Millisecond))
			if w != nil && len(w.Read()) > 0 {
				pause = lookFirst
			}
		}
		if ok >= 0 {
			unix.Close(ok)
		}
		if done || left <= 0 {
			return done
		}
	}
}

// Gone says whether nobody serves the directory, nor will in a moment: a supervisor
// that was killed leaves its record to the next.
func Gone(path string) bool {
	if served(path) {
		return false
	}
	_, left := recordOf(path)
	return !left
}

// Same says whether two paths lead to the same file.
func Same(a, b string) bool {
	id := client.IdentityOf(a)
	return id == client.IdentityOf(b) && id != client.Identity{}
}
