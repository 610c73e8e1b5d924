package machine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runitbox/supervise/state"
)

const ms = time.Millisecond

// TestAfter: which event an end is, by what is wanted and what the service says.
func TestAfter(t *testing.T) {
	begin := time.Now()
	up, down, once := Status{}, Status{Want: state.WantDown}, Status{Want: state.WantOnce}
	backs := Rules{Deaths: 20, BackoffMin: 100 * ms, BackoffMax: 700 * ms}
	one := Rules{Deaths: 20, GiveUpAfter: 1, GiveUpWithin: 10 * time.Second}
	both := Rules{Deaths: 20, GiveUpAfter: 1, GiveUpWithin: 10 * time.Second, BackoffMin: 100 * ms, BackoffMax: 700 * ms}
	before := []time.Time{begin.Add(-time.Second)}
	for _, tt := range []struct {
		name string
		s    Status
		e    End
		r    Rules
		had  []time.Time
		want Event
	}{
		{"a short life", up, End{Lived: 999 * ms}, Rules{}, nil, GoneSoon},
		{"a second", up, End{Lived: time.Second}, Rules{}, nil, Gone},
		{"./finish comes first", up, End{Finish: true}, both, before, Died},
		{"it has exited 125", up, End{Refuses: true}, both, before, Refused},
		{"the same where it is to stay down", down, End{Refuses: true}, Rules{}, nil, Refused},
		{"a pause of its own", up, End{Lived: time.Hour}, backs, nil, GoneBackoff},
		{"none where it is to stay down", down, End{}, backs, nil, GoneSoon},
		{"none behind what was to run once", once, End{}, backs, nil, GoneSoon},
		{"too many", up, End{Lived: time.Hour}, one, before, TooMany},
		{"too many, and a pause", up, End{}, both, before, TooMany},
		{"not too many, and a pause", up, End{}, both, nil, GoneBackoff},
		{"not too many", up, End{Lived: time.Hour}, one, nil, Gone},
		{"what is wanted down does not count", down, End{}, one, before, GoneSoon},
		{"nor does what was told to end", up, End{Told: true}, one, before, GoneSoon},
		{"and it has no pause", up, End{Told: true, Lived: time.Hour}, backs, nil, Gone},
	} {
		d := Deaths{Times: tt.had, Pause: 100 * ms}
		tt.e.At = begin
		if got := d.After(tt.s, tt.e, tt.r); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, eventNames[got], eventNames[tt.want])
		}
		if (tt.want == TooMany || tt.want == Refused) && (d.Times != nil || d.Pause != 0) {
			t.Errorf("%s: it is given up, and %+v is remembered", tt.name, d)
		}
	}
}

func TestBackOff(t *testing.T) {
	r := Rules{BackoffMin: 100 * ms, BackoffMax: 700 * ms}
	var d Deaths
	var got []time.Duration
	for _, lived := range []time.Duration{0, 0, 0, 0, 0, 699 * ms, 700 * ms, 0, time.Hour} {
		if ev := d.After(Status{}, End{Lived: lived}, r); ev != GoneBackoff {
			t.Fatalf("%s, want GoneBackoff", eventNames[ev])
		}
		got = append(got, d.Pause)
	}
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 700 * ms, 700 * ms, 700 * ms, 100 * ms, 200 * ms, 100 * ms}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	d.After(Status{}, End{}, r)
	if rest := d.Rest(); rest != 200*ms {
		t.Errorf("it rests for %v, want 200ms", rest)
	}
	d.After(Status{}, End{Told: true}, r)
	if rest := d.Rest(); rest != time.Second {
		t.Errorf("behind an end that was told it rests for %v, want 1s", rest)
	}
	if d.After(Status{}, End{}, r); d.Pause != 100*ms {
		t.Errorf("behind that the pause is %v, want 100ms", d.Pause)
	}
}

func TestTooMany(t *testing.T) {
	r := Rules{Deaths: 20, GiveUpAfter: 3, GiveUpWithin: 10 * time.Second}
	begin := time.Now()
	for _, tt := range []struct {
		name    string
		seconds []int
		want    int // at which end it is given up; 0: at none
	}{
		{"four within ten seconds", []int{0, 1, 2, 10}, 4},
		{"never four within ten", []int{0, 4, 8, 12, 16, 20}, 0},
		{"an old one does not count", []int{0, 20, 21, 22, 23}, 5},
	} {
		var d Deaths
		got := 0
		for i, s := range tt.seconds {
			if d.After(Status{}, End{At: begin.Add(time.Duration(s) * time.Second)}, r) == TooMany && got == 0 {
				got = i + 1
			}
		}
		if got != tt.want {
			t.Errorf("%s: given up at %d, want %d", tt.name, got, tt.want)
		}
	}
}
