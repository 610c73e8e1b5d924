package core

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch is what a descriptor of the poller stands for.
type watch struct {
	unit *unit    // nil: inotify
	proc *process // an adopted one; nil: the unit's control
}

// poll waits for command bytes and for the ends of adopted processes.
func (c *Core) poll() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		var err error
		if e := c.ready.Read(func(fd uintptr) bool {
			// Raw, since it never waits: the runtime needs no thread in its place.
			r, _, no := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
			if n, err = int(r), nil; no != 0 {
				n, err = -1, no
			}
			return n != 0
		}); e != nil {
			err = e
		}
		if err != nil && err != unix.EINTR {
			panic(err)
		}
		for _, ev := range events[:max(n, 0)] {
			c.mu.Lock()
			w, ok := c.watched[ev.Fd]
			c.mu.Unlock()
			switch {
			case !ok:
			case w.unit == nil:
				c.removals()
			case w.proc == nil:
				if w.unit.told.CompareAndSwap(false, true) {
					w.unit.svc.post(event{kind: evReadable, who: w.unit})
				}
			default:
				c.ending(w, int(ev.Fd))
			}
		}
	}
}

// watchControl has the unit told when bytes come; edge-triggered, so that one
// who writes and writes wakes the service no more often than it reads.
func (c *Core) watchFD(fd int, w watch, events uint32) error {
	c.mu.Lock()
	c.watched[int32(fd)] = w
	c.mu.Unlock()
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// unwatch forgets a descriptor and closes it.
func (c *Core) unwatch(fd int) {
	c.mu.Lock()
	delete(c.watched, int32(fd))
	c.mu.Unlock()
	unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	unix.Close(fd)
}
