package core

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
)

// TestCrew: a few jobs are done at once, but those that hang hold up the others
// for a moment only, or as long as they say.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c pool
		var hang []chan struct{}
		for range poolMax {
			over := make(chan struct{})
			hang = append(hang, over)
			c.runOpen(func(*worker) { <-over })
		}
		synctest.Wait()
		var done sync.WaitGroup
		var mu sync.Mutex
		var order []string
		for _, queue := range []struct {
			add  func(func(*worker))
			n    int
			name string
		}{{c.runOpen, 20, "open"}, {c.runStart, 17, "start"}, {c.runFirst, 2, "press"}} {
			for range queue.n {
				done.Add(1)
				queue.add(func(*worker) {
					defer done.Done()
					mu.Lock()
					defer mu.Unlock()
					order = append(order, queue.name)
				})
			}
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"press", "press"}, order); diff != "" {
			t.Errorf("what came in while others had all places (-want +got):\n%s", diff)
		}
		close(hang[0])
		done.Wait()
		// What is pressing, what is too much in stock, more for the stock, and what is left.
		want := slices.Concat([]string{"press", "press", "start", "start"}, slices.Repeat([]string{"open"}, 20), slices.Repeat([]string{"start"}, 15))
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("the order of jobs (-want +got):\n%s", diff)
		}
		begin := time.Now()
		hang[0] = make(chan struct{})
		for range 1 + urgentMax {
			c.runFirst(func(*worker) { <-hang[0] })
		}
		synctest.Wait()
		done.Add(1)
		c.runFirst(func(*worker) { done.Done() })
		done.Wait()
		if waited := time.Since(begin); waited != slowTime {
			t.Errorf("waited %v for those that hang, want %v", waited, slowTime)
		}
		for _, over := range hang {
			close(over)
		}
		synctest.Wait()
		if c.active != 0 {
			t.Errorf("%d places are taken, want none", c.active)
		}

		// Who gives up his place goes on, and none is counted twice.
		busy := 0
		for range 3 * poolMax {
			c.runOpen(func(turn *worker) {
				turn.yield()
				busy++
				time.Sleep(2 * time.Second)
			})
			synctest.Wait()
		}
		if busy != 3*poolMax {
			t.Errorf("%d jobs began, want %d", busy, 3*poolMax)
		}
		time.Sleep(3 * time.Second)
		if c.active != 0 {
			t.Errorf("%d places are taken, want none", c.active)
		}

		// Else no more than there are places.
		var now, most int
		for range 5 * poolMax {
			done.Add(1)
			c.runOpen(func(*worker) {
				defer done.Done()
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(slowTime / 2)
				mu.Lock()
				now--
				mu.Unlock()
			})
		}
		done.Wait()
		if most != poolMax {
			t.Errorf("%d jobs at once, want %d", most, poolMax)
		}
	})
}

// TestCrewRelief: of many that hang at once all get out of the way of the others in
// less than a second, though each takes a thread that is yet to be made; of a great
// many soon too, since more threads are asked for at once then.
func TestCrewRelief(t *testing.T) {
	testCrewRelief(t, 60, time.Second)
	if grows := testCrewRelief(t, 900, 3*time.Second); grows > 40 {
		t.Errorf("threads were asked for %d times", grows)
	}
}

func testCrewRelief(t *testing.T, jobs int, limit time.Duration) (grows int) {
	synctest.Test(t, func(t *testing.T) {
		c := pool{ready: 1}
		c.grow = func(int) bool {
			grows++
			time.Sleep(3 * time.Millisecond)
			return true
		}
		over := make(chan struct{})
		defer synctest.Wait()
		defer close(over)
		var done sync.WaitGroup
		begin := time.Now()
		for i := range jobs {
			if i%3 == 0 {
				done.Add(1)
				c.runOpen(func(*worker) { done.Done() })
			} else {
				c.runOpen(func(*worker) { <-over })
			}
		}
		done.Wait()
		took := time.Since(begin)
		if took > limit {
			t.Errorf("it took %v until all others were served, want %v at most", took, limit)
		}
		time.Sleep(2 * slowRest)
		if c.patience() != slowTime {
			t.Error("a job is still hurried long after the last that hung")
		}
		t.Logf("%d jobs: %v, %d times more threads", jobs, took, grows)
	})
	return grows
}

// TestCrewGrows: who is through with one job does the next, and no thread is asked
// for; for what takes longer it is, also where there is no room for all that would do.
func TestCrewGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pool{ready: 1}
		var asked []int
		room := 2
		c.grow = func(n int) bool {
			asked = append(asked, n)
			return n <= room
		}
		var done sync.WaitGroup
		for range 10 {
			done.Add(2)
			c.runFirst(func(*worker) {
				c.runFirst(func(*worker) { done.Done() })
				done.Done()
			})
		}
		done.Wait()
		time.Sleep(2 * growTime)
		synctest.Wait()
		if asked != nil {
			t.Errorf("threads were asked for as for %v jobs", asked)
		}
		over := make(chan struct{})
		for range 4 {
			done.Add(1)
			c.runFirst(func(*worker) {
				<-over
				done.Done()
			})
		}
		time.Sleep(4 * growTime)
		synctest.Wait()
		if diff := cmp.Diff([]int{4, 3, 2, 4, 3}, asked); diff != "" {
			t.Errorf("for how many there were to be threads (-want +got):\n%s", diff)
		}
		c.mu.Lock()
		all := c.all
		c.mu.Unlock()
		if all != 2 {
			t.Errorf("%d jobs at once, want 2", all)
		}
		close(over)
		done.Wait()
		synctest.Wait()
	})
}

// TestPoolSlow: what takes longer than it may is told at once, and hurries the others
// until it is done.
func TestPoolSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		c := pool{onSlow: func() { told.Add(1) }}
		over := make(chan struct{})
		for range 2 {
			c.runFirst(func(*worker) { <-over })
		}
		c.runFirst(func(*worker) {})
		time.Sleep(slowTime / 2)
		synctest.Wait()
		if told.Load() != 0 || c.hangs() {
			t.Errorf("told %d times before its time", told.Load())
		}
		time.Sleep(slowTime)
		synctest.Wait()
		if told.Load() != 2 || !c.hangs() || c.patience() != slowTime/4 {
			t.Errorf("two that hang were told %d times, and the next has %v", told.Load(), c.patience())
		}
		close(over)
		synctest.Wait()
		if c.hangs() || c.patience() != slowTime {
			t.Errorf("when both are done the next has %v", c.patience())
		}
	})
}

// TestPoolCountsYields: a place is not said to be yielded before it is counted so. Else a
// worker that ends meanwhile would be counted as gone first, and there would be fewer
// workers than places taken.
func TestPoolCountsYields(t *testing.T) {
	c := pool{active: 1, all: 1}
	w := &worker{pool: &c}
	done := make(chan bool)
	c.mu.Lock()
	go func() { w.yield(); close(done) }()
	for range 50 { // nothing tells that it waits for the lock
		time.Sleep(time.Millisecond)
		if w.yielded.Load() {
			t.Error("yielded, and counted as one that has its place")
			break
		}
	}
	c.mu.Unlock()
	if <-done; !w.yielded.Load() || c.active != 0 {
		t.Errorf("%d places are taken, want none", c.active)
	}
}

// TestPoolStarved: a job whose child waits for nothing but a processor has more time than one
// that does not answer, and is not told as that; without an end it has not either.
func TestPoolStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		var starved atomic.Bool
		c := pool{onSlow: func() { told.Add(1) }, onCPU: func(*child.Slot) bool { return starved.Load() }}
		for _, test := range []struct {
			name    string
			making  bool
			starved bool
			want    time.Duration
		}{
			{"what waits for a processor", true, true, slowTries * slowTime},
			{"what does not answer", true, false, slowTime},
			{"what makes no child", false, true, slowTime},
		} {
			told.Store(0)
			starved.Store(test.starved)
			over := make(chan struct{})
			c.runFirst(func(w *worker) {
				if test.making {
					w.makes(child.NewSlot())
				}
				<-over
				w.made()
			})
			time.Sleep(test.want - slowTime/2)
			synctest.Wait()
			if told.Load() != 0 || c.hangs() {
				t.Errorf("%s is told before its time", test.name)
			}
			time.Sleep(slowTime)
			synctest.Wait()
			if told.Load() != 1 || !c.hangs() {
				t.Errorf("%s is told %d times, want once", test.name, told.Load())
			}
			close(over)
			time.Sleep(2 * slowRest)
			synctest.Wait()
		}
		// What is left of a job has its time anew, and so has the next.
		starved.Store(true)
		told.Store(0)
		for range 2 {
			c.runFirst(func(w *worker) {
				w.makes(child.NewSlot())
				time.Sleep((slowTries-1)*slowTime - slowTime/2)
				w.made()
				time.Sleep(slowTime * 3 / 4)
			})
		}
		time.Sleep(2 * slowTries * slowTime)
		synctest.Wait()
		if told.Load() != 0 || c.active != 0 {
			t.Errorf("told %d times, and %d places are taken", told.Load(), c.active)
		}
	})
}

// TestOnCPU: a child that is busy is told from one that waits, and from none.
func TestOnCPU(t *testing.T) {
	if onCPU(child.NewSlot()) {
		t.Error("no child is busy")
	}
	for script, want := range map[string]bool{"while :; do :; done": true, "exec sleep 1000": false} {
		h := child.NewSlot()
		c := child.Child{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Files: []int{0, 1, 2}}
		pid, err := c.Start(h, nil)
		if err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); onCPU(h) != want; time.Sleep(time.Millisecond) { // until the shell has begun
			if time.Since(begin) > 10*time.Second {
				t.Errorf("%s: that it is busy is %v", script, !want)
				break
			}
		}
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	}
}
