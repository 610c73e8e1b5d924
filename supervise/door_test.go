package supervise

import (
	"sync/atomic"
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
		var late atomic.Int32
		for range doors {
			leave = append(leave, c.door(func() { late.Add(1) }))
		}
		last := c.door(nil)
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %v for those that hang, want 1s", waited)
		}
		for _, f := range append(leave, last) {
			f() // those that were late leave no second time
		}
		if n := len(c.doors); n != 0 {
			t.Errorf("%d doors are taken, want none", n)
		}
		synctest.Wait()
		if late.Load() != doors {
			t.Errorf("%d were told that they are late, want %d", late.Load(), doors)
		}
		c.door(func() { t.Error("late") })()
		time.Sleep(2 * time.Second)
		begin = begin.Add(2 * time.Second)
		if waited := time.Since(begin); waited != time.Second {
			t.Errorf("waited %v for a free door", waited-time.Second)
		}
	})
}
