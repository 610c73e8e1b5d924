package scanner

import (
	"slices"
	"time"
)

// backOff is when cores died: the fifth death within ten seconds is followed by
// a pause of a second, each further one by twice as long, up to half a minute,
// until a core has lived for ten seconds.
type backOff struct {
	times  []time.Time
	pauses int
	begun  time.Time // when the core that is there now is due
}

// next takes a death and says how many there were in the last ten seconds, and
// how long the pause is.
func (b *backOff) next(now time.Time) (n int, wait time.Duration) {
	const span = 10 * time.Second
	if now.Sub(b.begun) >= span {
		b.pauses = 0
	}
	b.times = append(slices.DeleteFunc(b.times, func(t time.Time) bool { return now.Sub(t) > span }), now)
	n = len(b.times)
	if n >= 5 || b.pauses > 0 {
		wait = min(time.Second<<b.pauses, 30*time.Second)
		b.pauses = min(b.pauses+1, 5)
	}
	b.begun = now.Add(wait)
	return n, wait
}
