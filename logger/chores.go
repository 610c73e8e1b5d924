package logger

import (
	"cmp"
	"sync"

	"golang.org/x/sys/unix"
)

// chores are what a log has done beside its writing, since it takes time and
// nobody needs to wait for it: a directory is synced, the room of a file that
// was unlinked is given back. One goroutine does them, while there are any.
type chores struct {
	e       *Engine
	mu      sync.Mutex
	none    sync.Cond // nothing is left to be done
	running bool
	dirty   bool  // the directory is to be synced
	gone    []int // handles of unlinked files
	failed  error // of the last attempt to sync
}

func newChores(e *Engine) *chores {
	c := &chores{e: e}
	c.none.L = &c.mu
	return c
}

// sync has the directory made durable as it is now.
func (c *chores) sync(dir int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	c.start(dir)
}

// unlink removes a name at once, and lets what is behind it go later: to give
// back the room of a large file takes as long as to write much of it.
func (c *chores) unlink(dir int, name string) error {
	fd, noHandle := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	err := unix.Unlinkat(dir, name, 0)
	if noHandle != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, fd)
	c.start(dir)
	return err
}

// start sees to it that somebody works. The caller has locked.
func (c *chores) start(dir int) {
	if c.running {
		return
	}
	at, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil { // no descriptor is left: some are soon
		c.do(dir)
		return
	}
	c.running = true
	go func() {
		c.e.choring.Lock() // only one of an engine's logs waits for the disk
		defer c.e.choring.Unlock()
		if many {
			s := c.e.host.chores.sit()
			defer c.e.host.chores.stand(s)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for c.dirty || len(c.gone) > 0 {
			c.do(at)
		}
		unix.Close(at)
		c.running = false
		c.none.Broadcast()
	}()
}

// do does what there is to do. The caller has locked.
func (c *chores) do(dir int) {
	dirty, gone := c.dirty, c.gone
	c.dirty, c.gone = false, nil
	c.mu.Unlock()
	var err error
	for _, fd := range gone {
		unix.Close(fd)
	}
	if dirty {
		err = syncDir(dir)
	}
	c.mu.Lock()
	c.failed = cmp.Or(c.failed, err)
}

// failure is why the directory could not be synced, once.
func (c *chores) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.failed
	c.failed = nil
	return err
}

// wait waits until nothing is left to be done; it says whether it has waited.
func (c *chores) wait() (waited bool) {
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if !running {
		return false
	}
	if many && c.e.seat != nil {
		c.e.host.work.stand(c.e.seat)
		defer func() { c.e.seat = c.e.host.work.sit() }()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running {
		c.none.Wait()
	}
	return true
}
