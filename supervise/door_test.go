package supervise

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDoor: services make their files a few at a time, but those whose disk
// hangs hold up the others for a second only.
func TestDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Core{doors: make(chan struct{}, doors)}
		begin := time.Now()
		var leave []func()
		for range doors {
			leave = append(leave, c.door())
		}
		last := c.door()
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %v for those that hang, want 1s", waited)
		}
		for _, f := range append(leave, last) {
			f() // those that were late leave no second time
		}
		if n := len(c.doors); n != 0 {
			t.Errorf("%d doors are taken, want none", n)
		}
		c.door()()
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %v for a free door", waited-time.Second)
		}
	})
}
