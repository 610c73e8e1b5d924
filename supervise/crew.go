package supervise

import (
	"sync"
	"sync/atomic"
	"time"
)

// crew does what may take its time, such as what touches a disk, a few jobs at
// once: each may hold a thread. A goroutine does one job after the other, so that its large stack serves
// many services. One that takes more than reliefTime holds up nobody else: another
// goes on in its place, if there is a thread for it.
type crew struct {
	mu      sync.Mutex
	pressed []func(*turn) // goes before all others
	starts  []func(*turn) // of services that are open
	opens   []func(*turn) // of services
	active  int           // without those who were relieved
	all     int           // with them
	ready   int           // for how many there are threads
	// grow sees to threads for so many, and says whether there are. Where it is nil
	// there are always.
	grow    func(n int) bool
	growing bool          // that is going on, or soon, or to be tried again
	later   *time.Timer   // when
	relief  time.Duration // how long the next job may take until another is done beside it; 0: reliefTime
	hung    time.Time     // when the last one took longer
}

// crewMax is how many jobs are done at once, and pressMax how many more of those
// that are pressing: what is started again does not wait for what is opened.
// crewLeast is for how many there are threads also when nothing has happened for a
// while: one, and what writes to standard error.
const (
	crewMax   = 4
	pressMax  = 2
	crewLeast = 2
)

// reliefTime is how long a job may take until another is done beside it. Each that
// takes longer halves it, down to reliefLeast, until none has for reliefRest: where a
// file system does not answer, all that hang get out of the way of the others soon.
const (
	reliefTime  = 100 * time.Millisecond
	reliefLeast = 5 * time.Millisecond
	reliefRest  = time.Second
)

// growTime is how long a job waits for those before it until a thread more is asked
// for: who is through with one job as a rule does the next in less time than that.
const growTime = time.Millisecond

// inStock is how many services are opened before the first of them is started:
// what is told of them to the scanner is then told together.
const inStock = 16

// turn is a place in the crew.
type turn struct {
	crew     *crew
	orders   []order // room for those of one service
	relieved atomic.Bool
	slow     atomic.Pointer[func()] // is called, once, when the job takes more than reliefTime
}

// whenSlow has f called when the job takes its time, in another goroutine as a rule,
// and at once where it already has.
func (t *turn) whenSlow(f func()) {
	t.slow.Store(&f)
	if t.relieved.Load() { // late may have looked before
		t.beSlow()
	}
}

// beSlow calls what whenSlow has set, unless that was done.
func (t *turn) beSlow() {
	if f := t.slow.Swap(nil); f != nil {
		(*f)()
	}
}

// done says that what whenSlow was about is done, and whether that was before f.
func (t *turn) done() (inTime bool) { return t.slow.Swap(nil) != nil }

// late is called when a job has taken longer than it may.
func (t *turn) late() {
	c := t.crew
	c.mu.Lock()
	c.relief, c.hung = max(c.relief/2, reliefLeast), time.Now()
	c.mu.Unlock()
	t.relieve()
	t.beSlow()
}

// press, start and open have a job done.
func (c *crew) press(job func(*turn)) { c.add(&c.pressed, job) }
func (c *crew) start(job func(*turn)) { c.add(&c.starts, job) }
func (c *crew) open(job func(*turn))  { c.add(&c.opens, job) }

func (c *crew) add(queue *[]func(*turn), job func(*turn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*queue = append(*queue, job)
	c.fill()
}

// fill has another begin, if there is a place and something to do. c.mu is locked.
func (c *crew) fill() {
	if len(c.pressed) > 0 && c.active < crewMax+pressMax || len(c.starts)+len(c.opens) > 0 && c.active < crewMax {
		if c.grow != nil && c.all >= c.ready {
			if !c.growing {
				c.growing = true
				c.growAfter(growTime, c.makeReady)
			}
			return
		}
		c.active++
		c.all++
		go c.work()
	}
}

// growAfter has f called in a while. c.mu is locked.
func (c *crew) growAfter(d time.Duration, f func()) {
	if c.later != nil {
		c.later.Stop()
	}
	c.later = time.AfterFunc(d, f)
}

// makeReady sees to threads for those that wait, a few at once, and more where many
// hang already. Where there is no
// room for one it is tried again in a second; until then jobs wait for those before
// them.
func (c *crew) makeReady() {
	c.mu.Lock()
	least := c.all + 1
	most := c.all + min(len(c.pressed)+len(c.starts)+len(c.opens), max(crewMax, c.all/2))
	c.mu.Unlock()
	n := most
	for n >= least && !c.grow(n) {
		n--
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n >= least || most < least { // the latter: none waits any more
		c.ready = max(c.ready, n)
		c.growing = false
		for range max(1, n-least+2) {
			c.fill()
		}
		return
	}
	c.growAfter(time.Second, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.growing = false
		c.fill()
	})
}

// calm says that from here on there are threads for the least only.
func (c *crew) calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = min(c.ready, max(crewLeast-1, c.all))
}

// work does jobs until there are none.
func (c *crew) work() {
	t := &turn{crew: c}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		c.fill() // what has waited for a thread
	}()
	var late *time.Timer
	for !t.relieved.Load() {
		job := t.next()
		if job == nil {
			break
		}
		if d := t.crew.patience(); late == nil {
			late = time.AfterFunc(d, t.late)
		} else {
			late.Reset(d)
		}
		job(t)
		late.Stop()
	}
}

// next takes a job out of the queues. Where there is none the place is left.
func (t *turn) next() (job func(*turn)) {
	c := t.crew
	c.mu.Lock()
	defer c.mu.Unlock()
	queue := &c.pressed
	switch {
	case len(c.pressed) > 0 || c.active > crewMax:
	case len(c.starts) >= inStock || len(c.opens) == 0:
		queue = &c.starts
	default:
		queue = &c.opens
	}
	if q := *queue; len(q) > 0 {
		job, *queue = q[0], q[1:]
		q[0] = nil
		if c.growing && len(c.pressed)+len(c.starts)+len(c.opens) == 0 && c.later.Stop() { // nobody waits
			c.growing = false
		}
		return job
	}
	*queue = nil
	if t.relieved.CompareAndSwap(false, true) { // its timer may be about to
		c.active--
	}
	return nil
}

// patience is how long the next job may take.
func (c *crew) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.relief == 0 || time.Since(c.hung) > reliefRest {
		c.relief = reliefTime
	}
	return c.relief
}

// relieve gives the place to another, once.
func (t *turn) relieve() {
	if t.relieved.CompareAndSwap(false, true) {
		t.crew.mu.Lock()
		defer t.crew.mu.Unlock()
		t.crew.active--
		t.crew.fill()
	}
}
