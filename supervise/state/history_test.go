package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ends are n of them, a second apart.
func ends(n int) (all []Ended) {
	for i := range n {
		all = append(all, Ended{At: time.Unix(1_700_000_000+int64(i), 5), Lived: time.Duration(i) * time.Minute, Status: 9, Monotonic: 7, Memory: int64(i), CPU: time.Second, OOM: i%2 == 0})
	}
	return all
}

// TestHistory writes ends as a core does, each in the place of the oldest.
func TestHistory(t *testing.T) {
	for _, n := range []int{0, 1, EndedMost - 1, EndedMost, EndedMost + 1, 3*EndedMost + 7} {
		var file []byte
		for _, e := range ends(n) {
			at, line := NextEnded(file, EndedMost)*EndedSize, e.Bytes()
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

// TestHistoryRuns: the end of a life overwrites what it said while it ran, and a status
// that nobody knows is one.
func TestHistoryRuns(t *testing.T) {
	first := ends(1)[0].Bytes()
	ready := Ended{At: time.Unix(1_800_000_000, 0), Lived: time.Second, Runs: true, Ready: time.Second}
	line := ready.Bytes()
	file := append(first[:], line[:]...)
	if d := cmp.Diff([]Ended{ends(1)[0], ready}, ParseHistory(file)); d != "" {
		t.Error(d)
	}
	if at := NextEnded(file, EndedMost); at != 1 {
		t.Errorf("the next is %d, not the life that runs", at)
	}
	longest := Ended{At: time.Unix(1<<33, 999_999_999), Lived: 1<<62 - 1, Status: StatusUnknown, Monotonic: 1<<62 - 1, Ready: 1<<62 - 1, Memory: 1 << 40, CPU: 1 << 50, OOM: true}
	line = longest.Bytes()
	longest.CPU = longest.CPU / time.Microsecond * time.Microsecond
	if d := cmp.Diff([]Ended{longest}, ParseHistory(line[:])); d != "" {
		t.Error(d)
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
		if at := NextEnded(b, EndedMost); at < 0 || at > len(b)/EndedSize {
			t.Errorf("the next is %d", at)
		}
	})
}
