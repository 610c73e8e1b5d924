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
	growing bool        // that is going on, or to be tried again
	retry   *time.Timer // when
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

// reliefTime is how long a job may take until another is done beside it. Of those
// that hang for good as many as there are places get out of the way in that time.
const reliefTime = 100 * time.Millisecond

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

// whenSlow has f called when the job takes its time, in another goroutine.
func (t *turn) whenSlow(f func()) { t.slow.Store(&f) }

// done says that what whenSlow was about is done, and whether that was before f.
func (t *turn) done() (inTime bool) { return t.slow.Swap(nil) != nil }

// late is called when a job has taken reliefTime.
func (t *turn) late() {
	t.relieve()
	if f := t.slow.Swap(nil); f != nil {
		(*f)()
	}
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
				go c.makeReady(c.all + 1)
			}
			return
		}
		c.active++
		c.all++
		go c.work()
	}
}

// makeReady sees to threads for n. Where there is no room for one it is tried again
// in a second; until then jobs wait for those before them.
func (c *crew) makeReady(n int) {
	ok := c.grow(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.ready = max(c.ready, n)
		c.growing = false
		c.fill()
		return
	}
	c.retry = time.AfterFunc(time.Second, func() {
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
		if late == nil {
			late = time.AfterFunc(reliefTime, t.late)
		} else {
			late.Reset(reliefTime)
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
		return job
	}
	*queue = nil
	if t.relieved.CompareAndSwap(false, true) { // its timer may be about to
		c.active--
	}
	return nil
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
