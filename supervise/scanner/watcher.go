package scanner

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/mounts"
	"runitbox/supervise/sys"
)

// watcher see by inotify what changes: the directory itself, every link on the way to
// it, what its links lead to, and new service directories while they are being
// written. Where that is not to be had, or may miss something (what another machine
// changes, a link further up), the looks every five seconds remain.
//
// What may hang on a file system is called by those who look; the rest by
// anybody.
type watcher struct {
	seen    chan struct{} // of one: there is something to look at
	changed chan struct{} // of one: a service directory is being written

	path string // what is watched, with the links on the way; "" where nothing is

	mu      sync.Mutex
	file    *os.File                  // inotify; nil where there is none
	fd      int                       // the same
	whole   int32                     // the watch of the directory
	hops    map[int32][]string        // the directories of the links to it, with those
	names   map[int32]map[string]bool // in the other directories no more than these entries count
	sure    bool                      // no change of the directory can go unseen
	targets map[string]int32          // the directories that its links lead into
	clear   bool                      // nor one of what its links lead to
	busy    bool                      // the targets are being watched
	made    map[string]bool           // directories that were made, not renamed, since the last look

	inner    *os.File // another inotify, since there has been something to watch
	innerFD  int
	attended map[int32]string     // the directories that are watched with it, by their names
	missed   bool                 // one of them could not be watched
	changes  map[string]time.Time // when those have changed, as far as nobody has looked since
}

const (
	dirEvents    = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	linkEvents   = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	attendEvents = linkEvents | unix.IN_ATTRIB | unix.IN_CLOSE_WRITE
)

// targetsMax is how many directories that links lead into are watched.
const targetsMax = 32

func newWatcher() *watcher {
	return &watcher{seen: make(chan struct{}, 1), changed: make(chan struct{}, 1), fd: -1, made: map[string]bool{}}
}

// isSure says whether no change can go unseen.
func (e *watcher) isSure() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sure && e.clear && !e.missed
}

// distrust says that something may go unseen until the next watch.
func (e *watcher) distrust() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sure = false
}

// watch watches dir, which is resolved anew: if it is another than before, the
// old watches go.
func (e *watcher) watch(dir string, m mounts.Table) {
	hops, final := chain(dir)
	sure := m.IsLocal(final) && isPlain(final)
	for _, p := range hops { // a link further up is not watched
		sure = sure && m.IsLocal(filepath.Dir(p)) && isPlain(filepath.Dir(p))
	}
	path := strings.Join(append(hops, final), "\x00")
	if path == e.path {
		wd, err := unix.InotifyAddWatch(e.fd, final, dirEvents|unix.IN_MASK_ADD) // a new directory of the same name
		e.mu.Lock()
		if e.sure = sure && err == nil; err == nil {
			e.whole = int32(wd)
		}
		e.mu.Unlock()
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	links := map[int32][]string{}
	for _, hop := range hops {
		wd, err := unix.InotifyAddWatch(fd, filepath.Dir(hop), linkEvents)
		if err != nil {
			sure = false
			continue
		}
		links[int32(wd)] = append(links[int32(wd)], filepath.Base(hop))
	}
	whole, err := unix.InotifyAddWatch(fd, final, dirEvents|unix.IN_MASK_ADD)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file != nil && !e.busy {
		e.file.Close() // its reader ends
	}
	e.path, e.fd, e.file, e.whole, e.names = path, fd, os.NewFile(uintptr(fd), "inotify"), int32(whole), map[int32]map[string]bool{}
	e.hops, e.sure, e.targets, e.clear = links, sure && err == nil, nil, false
	e.count(links)
	go e.read(e.file, e.see)
}

// count has entries of other directories count.
func (e *watcher) count(entries map[int32][]string) {
	for wd, names := range entries {
		if e.names[wd] == nil {
			e.names[wd] = map[string]bool{}
		}
		for _, name := range names {
			e.names[wd][name] = true
		}
	}
}

// isPlain says whether no element of path is a link.
func isPlain(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	return err == nil && real == path
}

// watchTargets watches what the directory's links lead to: targets are the paths.
// A directory that is replaced there does not show in the directory itself. It may
// take as long as the slowest of their file systems, and nobody waits for it.
func (e *watcher) watchTargets(d *directory, targets []string, m mounts.Table) {
	parents := map[string][]string{}
	for _, t := range targets {
		parents[filepath.Dir(t)] = append(parents[filepath.Dir(t)], filepath.Base(t))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy || e.file == nil {
		return
	}
	if len(parents) == 0 && len(e.targets) == 0 {
		e.clear = true
		return
	}
	e.busy = true
	file, fd := e.file, e.fd
	old := e.targets
	go func() {
		defer d.touch()()
		clear := len(parents) <= targetsMax
		wds := map[string]int32{}
		for parent := range parents {
			if !clear {
				break
			}
			if m.MayHang(unix.AT_FDCWD, parent) {
				p := child.Probe{At: unix.AT_FDCWD}
				d.probe(p.Stat(parent).Access(parent))
			}
			wd, err := unix.InotifyAddWatch(fd, parent, linkEvents|unix.IN_MASK_ADD)
			clear = err == nil && m.IsLocal(parent) && isPlain(parent)
			if err == nil {
				wds[parent] = int32(wd)
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.busy = false
		if e.file != file { // the directory is another
			file.Close()
			return
		}
		e.targets, e.clear, e.names = wds, clear, map[int32]map[string]bool{}
		e.count(e.hops)
		entries := map[int32][]string{}
		for parent, wd := range wds {
			entries[wd] = parents[parent]
		}
		e.count(entries)
		for parent, wd := range old {
			if _, still := wds[parent]; !still && wd != e.whole && e.names[wd] == nil {
				unix.InotifyRmWatch(fd, uint32(wd))
			}
		}
	}()
}

// read has events seen until the descriptor is closed.
func (e *watcher) read(f *os.File, see func(wd int32, mask uint32, name string)) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		for ev := range sys.InotifyEvents(buf[:n]) {
			see(ev.Watch, ev.Mask, string(ev.Name))
		}
	}
}

// see takes an event of the directory, or of another, where only some names count.
func (e *watcher) see(wd int32, mask uint32, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	set, isOther := e.names[wd]
	whole := wd == e.whole || !isOther
	if whole && isShown(name) || set[name] {
		if whole && mask&unix.IN_CREATE != 0 && mask&unix.IN_ISDIR != 0 && len(e.made) < 1000 {
			e.made[name] = true
		}
		ring(e.seen)
	}
}

// ring rings where it has not rung.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// takeMade takes the names of the directories that were made since the last look.
func (e *watcher) takeMade() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	made := e.made
	e.made = map[string]bool{}
	return made
}

// attend watches a service directory that is not complete, at path.
func (e *watcher) attend(path, name string) {
	e.mu.Lock()
	if e.inner == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			e.missed = true
			e.mu.Unlock()
			return
		}
		e.innerFD, e.inner, e.attended, e.changes = fd, os.NewFile(uintptr(fd), "inotify"), map[int32]string{}, map[string]time.Time{}
		go e.read(e.inner, e.change)
	}
	fd := e.innerFD
	e.mu.Unlock()
	var wds []int32
	for _, p := range []string{path, path + "/log", path + "/control", path + "/env"} {
		if wd, err := unix.InotifyAddWatch(fd, p, attendEvents|unix.IN_ONLYDIR); err == nil {
			wds = append(wds, int32(wd))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.missed = e.missed || len(wds) == 0
	for _, wd := range wds {
		e.attended[wd] = name
	}
}

// change takes an event of a service directory that is not complete.
func (e *watcher) change(wd int32, _ uint32, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if name, ok := e.attended[wd]; ok {
		e.changes[name] = time.Now()
		ring(e.changed)
	}
}

// changedAt says when a directory has last changed that was found incomplete; the
// zero time where that is not known.
func (e *watcher) changedAt(name string) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changes[name]
}

// nextQuiet is when the first of the directories that have changed will have been
// quiet for a while; ok says whether there is one.
func (e *watcher) nextQuiet() (at time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.changes {
		if t = t.Add(quietTime); !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// settleChanges forgets the changes that are so old that a look has shown what they
// have come to.
func (e *watcher) settleChanges(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, t := range e.changes {
		if now.Sub(t) >= quietTime {
			delete(e.changes, name)
		}
	}
}

// attendOnly gives back the watches of all directories but these.
func (e *watcher) attendOnly(names map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.missed = e.missed && len(names) > 0
	for wd, name := range e.attended {
		if !names[name] {
			unix.InotifyRmWatch(e.innerFD, uint32(wd))
			delete(e.attended, wd)
			delete(e.changes, name)
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
