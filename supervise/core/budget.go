package core

import "sync"

// budget is how many descriptors the services may still open, so that what is opened
// for a moment always finds room. A service of runsv's needs none: there is one.
type budget struct {
	mu        sync.Mutex
	unlimited bool
	room      int  // descriptors that services may still take
	limit     int  // of all descriptors of the process
	said      bool // that there are too few
}

// take reserves n descriptors, if there are as many.
func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unlimited {
		return true
	}
	if b.room < n {
		return false
	}
	b.room -= n
	return true
}

// give takes back what take has reserved.
func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room += n
}

// sayOnce says whether it is still to be said that there are too few.
func (b *budget) sayOnce() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := !b.said
	b.said = true
	return first
}
