package core

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runitbox/supervise/policy"
)

func TestBackOff(t *testing.T) {
	const ms = time.Millisecond
	p := &policy.Policy{BackoffMin: 100 * ms, BackoffMax: 700 * ms}
	var d deaths
	var got []time.Duration
	for _, lived := range []time.Duration{0, 0, 0, 0, 0, 699 * ms, 700 * ms, 0, time.Hour} {
		if !d.backOff(p, lived) {
			t.Fatal("there is no pause")
		}
		got = append(got, d.pause)
	}
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 700 * ms, 700 * ms, 700 * ms, 100 * ms, 200 * ms, 100 * ms}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.backOff(&policy.Policy{}, 0) {
		t.Error("a pause that no file tells")
	}
}

func TestTooMany(t *testing.T) {
	p := &policy.Policy{Deaths: 20, GiveUpAfter: 3, GiveUpWithin: 10 * time.Second}
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
		var d deaths
		got := 0
		for i, s := range tt.seconds {
			if d.tooMany(p, begin.Add(time.Duration(s)*time.Second)) && got == 0 {
				got = i + 1
			}
		}
		if got != tt.want {
			t.Errorf("%s: given up at %d, want %d", tt.name, got, tt.want)
		}
	}
}
