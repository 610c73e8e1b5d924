package scanner

import (
	"testing"
	"time"
)

// TestAlarm has both kinds ring once, at the time set last, and no earlier.
func TestAlarm(t *testing.T) {
	byGo := &alarm{rings: make(chan struct{}, 1), fd: -1}
	byGo.timer = time.AfterFunc(time.Hour, byGo.ring)
	kernels := newAlarm()
	if kernels.timer != nil {
		t.Error("there is no timerfd")
	}
	for name, a := range map[string]*alarm{"timerfd": kernels, "without": byGo} {
		a.set(time.Hour)
		begin := time.Now()
		a.set(30 * time.Millisecond)
		<-a.rings
		if took := time.Since(begin); took < 30*time.Millisecond {
			t.Errorf("%s: rang after %v, want 30ms", name, took)
		}
		begin = time.Now()
		a.set(10 * time.Millisecond)
		<-a.rings
		if took := time.Since(begin); took < 10*time.Millisecond {
			t.Errorf("%s: rang again after %v, want 10ms", name, took)
		}
	}
}
