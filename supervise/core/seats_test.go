package core

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSeats: who finds no seat waits until one is given back, or its holder has had it for
// too long; where services lack nothing there is one for each.
func TestSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seats{budget: &budget{}, freed: make(chan struct{}, 1)}
		first, second := s.take(), s.take()
		var late atomic.Bool
		second.whenLate(func() { late.Store(true) })
		third := make(chan *seat)
		go func() { third <- s.take() }()
		synctest.Wait()
		select {
		case <-third:
			t.Fatal("there is a seat too many")
		default:
		}
		first.leave()
		first.leave() // gives it back once
		next := <-third
		go func() { third <- s.take() }()
		synctest.Wait()
		select {
		case <-third:
			t.Fatal("a seat was given back twice")
		default:
		}
		begin := time.Now()
		last := <-third
		if waited := time.Since(begin); waited != seatTime {
			t.Errorf("waited %v, want %v", waited, seatTime)
		}
		synctest.Wait()
		if !late.Load() {
			t.Error("who had it for too long was not told")
		}
		second.leave()
		next.leave()
		last.leave()
		if s.taken != 0 {
			t.Errorf("%d seats are taken", s.taken)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := &budget{room: 2 * tightRoom}
		s := &seats{budget: b, freed: make(chan struct{}, 1)}
		var all []*seat
		for range 20 {
			all = append(all, s.take())
		}
		if want := 2*tightRoom - (20-seatsLeast)*seatSize; b.room != want {
			t.Errorf("room for %d, want %d", b.room, want)
		}
		for _, seat := range all {
			seat.leave()
		}
		if b.room != 2*tightRoom {
			t.Errorf("room for %d at the end", b.room)
		}
	})
}
