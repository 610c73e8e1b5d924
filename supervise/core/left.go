package core

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// What cannot be opened at present is left with the scanner, which offers it again. When the
// scanner is gone the core goes on trying: what runs shall have a supervisor, and what was told
// to exit shall end.

// left is a service that could not be opened, and of which something may run.
type left struct {
	name   string
	exits  bool // it was told to exit
	dir    int  // its directory, if that is open: its name may be gone by then; else -1
	trying bool // the core itself opens it again
}

// leftTime is how long the core waits before it tries again, and leftTurn until it looks
// whether another has had its turn. One that takes longer than leftSlow, as at a disk that
// hangs, is not waited for.
const (
	leftTime = time.Second
	leftTurn = 5 * time.Millisecond
	leftSlow = 200 * time.Millisecond
)

// leave has a service that is left tried again, by whom there is. What was told to all while it
// could not hear that counts for it.
func (c *Core) leave(key string) {
	c.mu.Lock()
	ends, orphaned := c.dropping || c.stopping, c.orphaned
	c.mu.Unlock()
	if ends {
		c.services.exitLeft(key)
	}
	if orphaned {
		time.AfterFunc(leftTime, func() { c.takeUp(key) })
	}
}

// takeUpAll has the core itself try to open what is left with the scanner, which is gone.
func (c *Core) takeUpAll() {
	for _, key := range c.services.allLeft() {
		c.takeUp(key)
	}
}

// takeUp tries to take in a service that is left, when no other is: where descriptors are short
// each would take what another lacks, again and again, and none would be open.
func (c *Core) takeUp(key string) {
	l, ok, busy := c.services.tryLeft(key)
	if busy {
		time.AfterFunc(leftTurn, func() { c.takeUp(key) })
	}
	if !ok {
		return
	}
	c.pool.runOpen(func(*worker) {
		dir, err := c.openLeft(key, l)
		switch {
		case err != nil:
			c.services.untried(key)
			c.leave(key)
		case dir.FD < 0: // it cannot be found any more
			c.procs.unreserve(key)
			c.services.forgetLeft(key)
			c.notice()
		case l.exits:
			c.add(key, l.name, dir, stash{}, wire.StateExit, "")
		default:
			c.add(key, l.name, dir, stash{}, stateLeft, "")
		}
	})
}

// stateLeft is the state of a service that is taken in only if something of it runs, as no
// scanner says it.
const stateLeft = "left"

// openLeft opens the directory of a service that is left, by its name in the scanner's directory
// where it is not open. FD is -1 where the name is another's or nobody's.
func (c *Core) openLeft(key string, l left) (servicedir.Dir, error) {
	none := servicedir.Dir{FD: -1}
	if l.dir >= 0 {
		fd, err := unix.FcntlInt(uintptr(l.dir), unix.F_DUPFD_CLOEXEC, 3)
		return servicedir.Dir{FD: fd}, err
	}
	fd, err := sys.Open(unix.AT_FDCWD, c.dir+"/"+l.name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return none, sys.Unless(sys.Hides, l.name, err)
	}
	f, err := servicedir.Identify(fd, ".", 0)
	if err == nil && f.Key() == key {
		return servicedir.Dir{FD: fd}, nil
	}
	unix.Close(fd)
	return none, err
}

// finds says whether the name leads, in the scanner's directory, to the service of that key.
func (c *Core) finds(name, key string) bool {
	f, err := servicedir.Identify(unix.AT_FDCWD, c.dir+"/"+name, 0)
	return err == nil && f.Key() == key
}

// leftAs is what is to be left of a service that cannot be opened. Of one that is to exit the
// directory is kept open, if that is possible, and where descriptors are short only if it cannot
// be found otherwise: what is kept open for all of them would leave no room for one.
func (s *service) leftAs() left {
	l := left{name: s.name, exits: s.exits, dir: -1}
	if (s.exits || s.inbox.hasExit()) && !(s.core.descriptors.isTight() && s.core.finds(s.name, s.key)) {
		if fd, err := unix.FcntlInt(uintptr(s.dir.FD), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			l.dir = fd
		}
	}
	return l
}
