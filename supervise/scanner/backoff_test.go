package scanner

import (
	"testing"
	"time"
)

func TestBackOff(t *testing.T) {
	type step struct {
		after time.Duration // of the pause before
		n     int
		wait  time.Duration
	}
	const s = time.Second
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"four in ten seconds are nothing", []step{{0, 1, 0}, {3 * s, 2, 0}, {3 * s, 3, 0}, {3 * s, 4, 0}, {3 * s, 4, 0}, {3 * s, 4, 0}}},
		{"from the fifth on the pauses grow", []step{{0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {0, 4, 0}, {0, 5, s}, {0, 6, 2 * s}, {0, 7, 4 * s},
			{0, 8, 8 * s}, {0, 2, 16 * s}, {0, 1, 30 * s}, {0, 1, 30 * s}, {9 * s, 1, 30 * s}}},
		{"until one has lived for ten seconds", []step{{0, 1, 0}, {0, 2, 0}, {0, 3, 0}, {0, 4, 0}, {0, 5, s}, {0, 6, 2 * s}, {9 * s, 1, 4 * s}, {10 * s, 1, 0}, {0, 2, 0}}},
	} {
		now := time.Unix(1e9, 0)
		b := backOff{}
		for i, st := range tt.steps {
			now = now.Add(st.after)
			if n, wait := b.next(now); n != st.n || wait != st.wait {
				t.Errorf("%s: death %d: %d deaths, pause %v; want %d, %v", tt.name, i+1, n, wait, st.n, st.wait)
			}
			now = b.begun
		}
	}
}
