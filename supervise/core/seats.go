package core

import (
	"sync"
	"sync/atomic"
	"time"
)

// seats are for processes that ask for a host: each takes descriptors of this process until it
// has its answer. When a host ends all its log services ask at once. Who finds no seat waits,
// not accepted yet, where he takes no descriptor, and nobody waits for him but who comes later.
type seats struct {
	mu     sync.Mutex
	budget *budget
	taken  int           // of those that are always there
	freed  chan struct{} // holds one where a seat was given back
}

// seat is one that is taken.
type seat struct {
	of     *seats
	always bool
	timer  *time.Timer
	once   sync.Once
	late   atomic.Pointer[func()]
}

// seatsLeast is how many seats are always there, in what no service may take. More are there
// while services lack nothing. A seat is so many descriptors: the connection, what comes with
// the question, and what is open while the kernel is asked who asks.
const (
	seatsLeast = 2
	seatSize   = 6
)

// seatTime is how long one who has no answer keeps his seat: longer than he waits for it. (A
// host that is stopped does not answer.)
const seatTime = 6 * time.Second

// open makes them ready: those that are not always there are taken from the budget.
func (s *seats) open(b *budget) { s.budget, s.freed = b, make(chan struct{}, 1) }

// take waits for a seat. Who has it gives it back by leave; after seatTime it is given back
// by itself.
func (s *seats) take() *seat {
	for {
		s.mu.Lock()
		always := s.taken < seatsLeast
		if always {
			s.taken++
		}
		s.mu.Unlock()
		if always || !s.budget.isTight() && s.budget.take(seatSize) {
			one := &seat{of: s, always: always}
			one.timer = time.AfterFunc(seatTime, one.expire)
			return one
		}
		<-s.freed
	}
}

// whenLate has f called when the seat was kept for too long.
func (s *seat) whenLate(f func()) { s.late.Store(&f) }

// expire gives back a seat that was kept for too long.
func (s *seat) expire() {
	if f := s.late.Load(); f != nil {
		(*f)()
	}
	s.giveBack()
}

// leave gives back the seat, however often it is called.
func (s *seat) leave() {
	s.timer.Stop()
	s.giveBack()
}

func (s *seat) giveBack() {
	s.once.Do(func() { s.of.give(s.always) })
}

// give gives back a seat.
func (s *seats) give(always bool) {
	if always {
		s.mu.Lock()
		s.taken--
		s.mu.Unlock()
	} else {
		s.budget.give(seatSize)
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
