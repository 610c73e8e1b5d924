package core

import (
	"bytes"
	"path"

	"runitbox/supervise/sys"
	"runitbox/supervise/wire"

	"golang.org/x/sys/unix"
)

// guard has the service told when its supervise directories are emptied. Those
// that were before they were watched have lost their FIFOs. What is in its directory is
// listed once more, since that was changed when supervise was made: a restart asks then
// whether it is another.
func (s *service) guard() {
	s.names = s.names.Now(s.dir.FD)
	for _, u := range s.units() {
		var st unix.Stat_t
		if u.guarded == 0 && u.control >= 0 {
			s.core.guard(u)
			if unix.Fstat(u.control, &st) == nil && st.Nlink == 0 {
				s.repairLater()
			}
		}
	}
}

// openGuards makes what guard watches with.
func (c *Core) openGuards() {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		c.inotify = -1
		return
	}
	c.inotify, c.guarded, c.linked, c.linkDirs = fd, map[int32]*unit{}, map[*unit]linkedPath{}, map[int32]bool{}
	c.poller.watch(fd, watch{}, unix.EPOLLIN)
}

// keepGuards leaves with the scanner, once, a copy of what guard watches with. To close the last
// copy takes the kernel ten milliseconds and more, and so would the end of a core that is killed.
func (c *Core) keepGuards() {
	c.mu.Lock()
	c.unguarded = nil // whatever was to be watched is
	keep := c.link != nil && c.guarded != nil && !c.guardKept
	c.guardKept = c.guardKept || keep
	c.mu.Unlock()
	if keep {
		c.report(wire.Message{Word: "guards", Arg: "0", Arg2: "0", FDs: []int{c.inotify}})
	}
}

// inheritGuards goes on with what an earlier core has watched with. What that has watched is
// watched still, and has the same number when it is to be watched again.
func (c *Core) inheritGuards(fd int) {
	c.mu.Lock()
	inherits := c.guarded != nil && unix.Dup3(fd, c.inotify, unix.O_CLOEXEC) == nil
	if inherits {
		c.guardKept, c.unguarded = true, map[int32]bool{}
	}
	c.mu.Unlock()
	unix.Close(fd)
	if inherits { // what had the number before is not watched any more
		c.poller.watch(c.inotify, watch{}, unix.EPOLLIN)
	}
}

// guard watches a unit's supervise directory. Where the system has no watch to
// give, a deletion is noticed when something is to be written.
func (c *Core) guard(u *unit) {
	if c.guarded == nil {
		return
	}
	sys.Through(u.svc.at(u.prefix), func(path string) { c.guardIn(u, path+"/"+u.prefix) })
}

// guardIn is guard, with a path to the directory that supervise is in.
func (c *Core) guardIn(u *unit, base string) {
	n, err := unix.InotifyAddWatch(c.inotify, base+"supervise", unix.IN_DELETE|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
	if err != nil {
		return
	}
	var buf [256]byte // a longer way is not watched
	size, err := unix.Readlinkat(u.svc.at(u.prefix), u.prefix+"supervise", buf[:])
	c.mu.Lock()
	u.guarded = int32(n)
	c.guarded[u.guarded] = u
	missed := c.unguarded[u.guarded]
	c.mu.Unlock()
	if missed {
		u.svc.post(event{kind: evRemoved})
	}
	if err == nil && size < len(buf) {
		c.guardWay(u, base, string(buf[:size]))
	}
}

// linkedPath is where a supervise that is a link leads, and the watch of the directory
// that the link is in.
type linkedPath struct {
	target string
	wd     int32
}

// guardWay watches the way that a link leads: its own directory, for its end, and each
// directory above where it ends, which may be renamed.
func (c *Core) guardWay(u *unit, base, target string) {
	const more = unix.IN_ONLYDIR | unix.IN_MASK_ADD
	own, err := unix.InotifyAddWatch(c.inotify, base, unix.IN_DELETE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|more)
	if err != nil {
		return
	}
	wds := []int{own}
	for i := 1; i < len(target); i++ {
		above := target[:i]
		if !path.IsAbs(target) {
			above = base + above
		}
		if target[i] != '/' {
			continue
		}
		if n, err := unix.InotifyAddWatch(c.inotify, above, unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|more); err == nil {
			wds = append(wds, n)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linked[u] = linkedPath{target, int32(own)}
	for _, n := range wds {
		c.linkDirs[int32(n)] = true
	}
}

func (c *Core) detourOf(u *unit) (way linkedPath, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	way, ok = c.linked[u]
	return way, ok
}

// unguard ends guard.
func (c *Core) unguard(u *unit) {
	if u.guarded == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guarded[u.guarded] == u {
		delete(c.guarded, u.guarded)
		unix.InotifyRmWatch(c.inotify, uint32(u.guarded))
	}
	u.guarded = 0
	if way, ok := c.linked[u]; ok {
		delete(c.linked, u)
		delete(c.linkDirs, way.wd)
		unix.InotifyRmWatch(c.inotify, uint32(way.wd))
	}
}

// guardAll has all services guarded, one after the other where nothing happens
// to them: a goroutine for each would take memory. Then over is called.
func (c *Core) guardAll(over func()) {
	c.guardSome(c.services.all(), over)
}

// guardSome is guardAll for some of them. Where one hangs another goes on behind it.
func (c *Core) guardSome(some []*service, over func()) {
	c.pool.runStart(func(t *worker) {
		for i, s := range some {
			t.whenSlow(func() { c.guardSome(some[i+1:], over) })
			if s.inbox.own() {
				s.guard()
				s.work(nil)
			} else {
				s.post(event{kind: evGuard})
			}
			if !t.done() {
				return
			}
		}
		over()
	})
}

// removals reads the events of inotify and tells them to the services.
func (c *Core) removals() {
	var buf [4096]byte
	for {
		n, err := unix.Read(c.inotify, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return
		}
		c.mu.Lock()
		for ev := range sys.InotifyEvents(buf[:n]) {
			// What has a dot in its name is removed by the core itself.
			if u := c.guarded[ev.Watch]; !bytes.Contains(ev.Name, []byte{'.'}) {
				if u != nil {
					u.svc.post(event{kind: evRemoved})
				} else if c.unguarded != nil {
					c.unguarded[ev.Watch] = true
				}
			}
			if c.linkDirs[ev.Watch] && (len(ev.Name) == 0 || string(ev.Name) == "supervise") {
				for u := range c.linked {
					u.svc.post(event{kind: evRemoved})
				}
			}
			if ev.Mask&unix.IN_IGNORED != 0 {
				delete(c.guarded, ev.Watch)
				delete(c.linkDirs, ev.Watch)
			}
		}
		c.mu.Unlock()
	}
}
