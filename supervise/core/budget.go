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

// tightRoom is more than the services that are opened at once may take.
const tightRoom = 256

// isTight says whether take may fail soon.
func (b *budget) isTight() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.unlimited && b.room < tightRoom
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
