package core

import (
	"sync"
	"syscall"
	"unsafe"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/wire"

	"golang.org/x/sys/unix"
)

// watch is what a descriptor of the poller stands for.
type watch struct {
	unit   *unit    // nil: inotify
	proc   *process // an adopted one
	notify bool     // it is the unit's readiness
	talk   bool     // what it says of itself; else, without proc, its control
}

// poller tells, by epoll, of command bytes and of the ends of adopted processes.
type poller struct {
	epoll int
	ready syscall.RawConn // epoll, in the runtime's poller

	mu      sync.Mutex
	watched map[int32]watch
	alone   bool // the scanner is gone
}

func (p *poller) open() (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("unable to create epoll: %w", err)
	}
	_, p.ready = wire.InPoller(p.epoll, "epoll")
	p.watched = map[int32]watch{}
	return nil
}

// find is what the descriptor stands for, if it is watched.
func (p *poller) find(fd int32) (w watch, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok = p.watched[fd]
	return w, ok
}

// leftAlone says that the scanner is gone, and gives the adopted processes, by their pidfds.
func (p *poller) leftAlone() map[int32]watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alone = true
	all := map[int32]watch{}
	for fd, w := range p.watched {
		if w.proc != nil {
			all[fd] = w
		}
	}
	return all
}

// dup is a copy of a descriptor that still stands for w, -1 where none can be had; else
// ok is false.
func (p *poller) dup(fd int, w watch) (copied int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[int32(fd)] != w {
		return -1, false
	}
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		copied = -1
	}
	return copied, true
}

// watch has an event of the descriptor told.
func (p *poller) watch(fd int, w watch, events uint32) error {
	p.mu.Lock()
	p.watched[int32(fd)] = w
	p.mu.Unlock()
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// watchEnd has the end of an adopted process told, by its pidfd. That of a child of the scanner
// is told by the scanner, as long as it is there.
func (p *poller) watchEnd(fd int, w watch, scanners bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched[int32(fd)] = w
	if scanners && !p.alone {
		return nil
	}
	return p.expect(fd)
}

// expectEnd has the end told by the pidfd from here on. What it is no longer watched for has
// ended, and its number may be another's.
func (p *poller) expectEnd(fd int, w watch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched[int32(fd)] != w {
		return nil
	}
	return p.expect(fd)
}

// expect has epoll tell when the process of a pidfd ends, also if it has. p.mu is locked.
func (p *poller) expect(fd int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)})
}

// close forgets a descriptor and closes it.
func (p *poller) close(fd int) {
	p.mu.Lock()
	delete(p.watched, int32(fd))
	p.mu.Unlock()
	unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	unix.Close(fd)
}

// poll waits for command bytes and for the ends of adopted processes.
func (c *Core) poll() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		var err error
		if e := c.poller.ready.Read(func(fd uintptr) bool {
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
			w, ok := c.poller.find(ev.Fd)
			switch {
			case !ok:
			case w.unit == nil:
				c.removals()
			case w.notify:
				w.unit.svc.post(event{kind: evNotified, who: w.unit})
			case w.talk:
				w.unit.svc.post(event{kind: evTalk, who: w.unit})
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
