package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ends are n of them, a second apart.
func ends(n int) (all []Ended) {
	for i := range n {
		all = append(all, Ended{time.Unix(1_700_000_000+int64(i), 5), time.Duration(i) * time.Minute, 9})
	}
	return all
}

// TestHistory writes ends as a core does, each in the place of the oldest.
func TestHistory(t *testing.T) {
	for _, n := range []int{0, 1, EndedMost - 1, EndedMost, EndedMost + 1, 3*EndedMost + 7} {
		var file []byte
		for _, e := range ends(n) {
			at, line := NextEnded(file)*EndedSize, e.Bytes()
			if at == len(file) {
				file = append(file, line[:]...)
			} else {
				copy(file[at:], line[:])
			}
		}
		want := ends(n)
		if n > EndedMost {
			want = want[n-EndedMost:]
		}
		if d := cmp.Diff(want, ParseHistory(file)); d != "" {
			t.Errorf("of %d ends: %s", n, d)
		}
	}
}

func FuzzParseHistory(f *testing.F) {
	line := ends(2)[1].Bytes()
	f.Add(line[:])
	f.Add([]byte("x 1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(ParseHistory(b)); n > len(b)/EndedSize {
			t.Errorf("%d ends in %d bytes", n, len(b))
		}
		if at := NextEnded(b); at < 0 || at >= EndedMost {
			t.Errorf("the next is %d", at)
		}
	})
}
