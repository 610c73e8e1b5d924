package logger

import (
	"sync"
	"time"
)

// seats are for those who work. There are few, so that those who use a
// processor do not use it by turns; but who hangs in the kernel, in front of a disk
// that does not answer, has another sit in his place.
type seats struct {
	mu      *sync.Mutex
	queue   []waiter
	taken   map[*seat]bool
	spare   []*seat
	stuck   int         // of those who sit
	most    int         // may sit that are not stuck
	looking bool        // for who is stuck, soon
	room    func() bool // says whether another thread can be had; called with the lock, which it may give up for a while
}

// waiter waits for a seat.
type waiter struct {
	engine *Engine // nil if it is somebody who goes on
	seat   func(*seat)
}

// seat is the right to work. From time to time it is looked at whether its owner
// comes along.
type seat struct {
	of          *seats
	moves, seen uint64
	stuck       bool
}

// lookTime is after what time without a move somebody is stuck, when others wait.
// It may take twice as long until that is seen.
const lookTime = 10 * time.Millisecond

// overfull says that those who were stuck are not any more. The caller has locked.
func (b *seats) overfull() bool { return len(b.taken)-b.stuck > b.most }

// seatThem gives free seats to those who wait. The caller has locked.
func (b *seats) seatThem() {
	for len(b.queue) > 0 && len(b.taken) < b.most {
		b.seatFirst()
	}
	if len(b.queue) > 0 && !b.looking {
		b.looking = true
		time.AfterFunc(lookTime, b.look)
	}
}

// seatFirst gives a seat to the first who waits. The caller has locked.
func (b *seats) seatFirst() {
	b.first().seat(b.take())
}

// take takes a seat. The caller has locked.
func (b *seats) take() *seat {
	s := &seat{of: b, moves: 1}
	if n := len(b.spare); n > 0 {
		s, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	s.seen = s.moves - 1 // a time without a move begins with the next look
	b.taken[s] = true
	return s
}

// vacant says that there is a seat, and that nobody waits for one. The caller has locked.
func (b *seats) vacant() bool { return len(b.queue) == 0 && len(b.taken) < b.most }

// first is who has waited longest. The caller has locked.
func (b *seats) first() waiter {
	w := b.queue[0]
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil
	}
	return w
}

// look finds out who is stuck, while others wait, and has others work in their
// place as far as there is room.
func (b *seats) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.taken {
		if s.moves == s.seen && !s.stuck {
			s.stuck = true
			b.stuck++
		}
		s.seen = s.moves
	}
	for len(b.queue) > 0 && len(b.taken)-b.stuck < b.most && b.room() {
		if len(b.queue) > 0 {
			b.seatFirst()
		}
	}
	b.looking = false
	b.seatThem()
}

// moved takes note that the owner of a seat has come along. The caller has locked.
func (s *seat) moved() {
	s.moves++
	if s.stuck {
		s.stuck = false
		s.of.stuck--
	}
}

// free gives a seat back. The caller has locked.
func (s *seat) free() {
	s.moved()
	delete(s.of.taken, s)
	if len(s.of.spare) < s.of.most {
		s.of.spare = append(s.of.spare, s)
	}
	s.of.seatThem()
}

// pass gives a seat to the engine that has waited longest; if there is none, or
// there are too many at work, it is free. The caller has locked.
func (b *seats) pass(s *seat) *Engine {
	s.moved()
	if len(b.queue) == 0 || b.queue[0].engine == nil || b.overfull() {
		s.free()
		return nil
	}
	e := b.first().engine
	e.state = working
	return e
}

// sit waits for a seat.
func (b *seats) sit() *seat {
	mine := make(chan *seat, 1)
	b.mu.Lock()
	b.queue = append(b.queue, waiter{seat: func(s *seat) { mine <- s }})
	b.seatThem()
	b.mu.Unlock()
	return <-mine
}

// stand gives up a seat.
func (b *seats) stand(s *seat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.free()
}
