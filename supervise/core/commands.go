package core

import (
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
)

// peeker copies what waits in a FIFO and leaves it there, by tee(2): a command is not
// taken out before the order that it gives is recorded, so that one that a killed core
// was about to obey is read by the next. It is made when it is first needed.
type peeker struct {
	mu   sync.Mutex
	made bool
	pipe [2]int
}

// peek copies into buf what waits in the FIFO and says how many bytes. It never waits.
func (p *peeker) peek(fifo int, buf []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.made {
		if err := unix.Pipe2(p.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return 0, err
		}
		p.made = true
	}
	copied, err := unix.Tee(fifo, p.pipe[1], len(buf), unix.SPLICE_F_NONBLOCK)
	if err != nil || copied <= 0 {
		return 0, err
	}
	return unix.Read(p.pipe[0], buf)
}

// pipeSize is how much a FIFO holds, and readAtOnce how many of its commands are
// obeyed before other events are looked at.
const (
	pipeSize   = 64 << 10
	readAtOnce = 1 << 10
)

// drain reads and obeys what was in supervise/control before this, which a full
// pipe bounds: who writes without end does not keep the service from its other
// events. What is left then is told again.
func (s *service) drain(u *unit) {
	u.more = s.read(u, pipeSize)
}

// readMore reads on where bytes are left.
func (s *service) readMore() {
	for _, u := range s.units() {
		if u.more {
			u.more = s.read(u, readAtOnce)
		}
	}
}

// read reads and obeys up to limit bytes and says whether there may be more.
func (s *service) read(u *unit, limit int) bool {
	var buf [256]byte
	for limit > 0 {
		u.unread = false
		u.told.Store(false)
		for i := range s.lanes {
			if u == &s.main && len(s.lanes[i].queue) > laneMax {
				u.unread = true
				return false
			}
		}
		n, err := s.core.commands.peek(u.control, buf[:])
		waits := err == nil
		if !waits && err != unix.EAGAIN && err != unix.EINTR { // as where there is no descriptor for it
			n, err = unix.Read(u.control, buf[:])
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return false
		}
		for _, b := range buf[:n] {
			if waits {
				s.peeked = u
			}
			s.command(u, machine.Event(b))
			s.takeOut()
		}
		limit -= n
	}
	return true
}

// takeOut takes the command that is being obeyed out of its FIFO, once. What order it
// gives is recorded by then, and nothing has been done about it: a kill at any moment
// neither loses an order nor has a signal sent twice.
func (s *service) takeOut() {
	if s.peeked == nil {
		return
	}
	var b [1]byte
	for _, err := unix.Read(s.peeked.control, b[:]); err == unix.EINTR; {
		_, err = unix.Read(s.peeked.control, b[:])
	}
	s.peeked = nil
}
