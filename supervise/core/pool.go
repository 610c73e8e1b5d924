package core

import (
	"sync"
	"sync/atomic"
	"time"

	"runitbox/supervise/child"
)

// pool does what may take its time, such as what touches a disk, a few jobs at
// once: each may hold a thread. A worker does one job after the other, so that its
// large stack serves many services. One that takes more than slowTime holds up nobody else: another
// goes on in its place, if there is a thread for it.
type pool struct {
	mu     sync.Mutex
	urgent []func(*worker) // goes before all others
	starts []func(*worker) // of services that are open
	opens  []func(*worker) // of services
	active int             // without those that have yielded their place
	all    int             // with them
	ready  int             // for how many there are threads
	// grow sees to threads for so many, and says whether there are. Where it is nil
	// there are always.
	grow    func(n int) bool
	growing bool        // that is going on, or soon, or to be tried again
	later   *time.Timer // when
	hung    time.Time   // when the last job took longer than it may
	onSlow  func()      // is called then, if it is not nil
	// onCPU says whether a child that is being made has a processor or waits for one. Nil
	// is no.
	onCPU func(*child.Slot) bool
}

// poolMax is how many jobs are done at once, and urgentMax how many more of those
// that are pressing: what is started again does not wait for what is opened.
// poolLeast is for how many there are threads also when nothing has happened for a
// while: one, and what writes to standard error.
const (
	poolMax   = 4
	urgentMax = 2
	poolLeast = 2
)

// slowTime is how long a job may take until another is done beside it. Each that has
// taken longer and is not done yet halves it, down to slowLeast, until none has for
// slowRest: where a file system does not answer, all that hang get out of the way of the
// others soon. Where the machine is busy they are done soon, and need no more threads.
const (
	slowTime  = 100 * time.Millisecond
	slowLeast = 5 * time.Millisecond
	slowRest  = time.Second
)

// slowTries is how many times as long as another a job may take whose child waits for
// nothing but a processor, as when a whole machine begins: a worker more would only have
// one more wait for it.
const slowTries = 10

// growTime is how long a job waits for those before it until a thread more is asked
// for: who is through with one job as a rule does the next in less time than that.
const growTime = time.Millisecond

// openAhead is how many services are opened before the first of them is started:
// what is told of them to the scanner is then told together.
const openAhead = 16

// worker is a place in the pool.
type worker struct {
	pool    *pool
	orders  []order // room for those of one service
	yielded atomic.Bool
	slow    atomic.Pointer[func()]     // is called, once, when the job takes more than slowTime
	making  atomic.Pointer[child.Slot] // of the child that the job makes at the moment; nil: none
	tries   atomic.Int32               // how many times the job has been given its time
	late    *time.Timer                // calls overdue; pool.mu guards the variable
}

// whenSlow has f called when the job takes its time, in another goroutine as a rule,
// and at once where it already has.
func (t *worker) whenSlow(f func()) {
	t.slow.Store(&f)
	if t.yielded.Load() { // late may have looked before
		t.callSlow()
	}
}

// callSlow calls what whenSlow has set, unless that was done.
func (t *worker) callSlow() {
	if f := t.slow.Swap(nil); f != nil {
		(*f)()
	}
}

// done says that what whenSlow was about is done, and whether that was before f.
func (t *worker) done() (inTime bool) { return t.slow.Swap(nil) != nil }

// overdue is called when a job has taken longer than it may.
func (t *worker) overdue() {
	c := t.pool
	if t.isStarved() {
		d := c.patience()
		c.mu.Lock()
		defer c.mu.Unlock()
		t.late.Reset(d)
		return
	}
	c.mu.Lock()
	c.hung = time.Now()
	c.mu.Unlock()
	t.yield()
	if c.onSlow != nil {
		c.onSlow()
	}
	t.callSlow()
}

// isStarved says whether the job goes on as soon as a child that it makes has a processor, and
// counts that. Otherwise something does not answer, such as a disk.
func (t *worker) isStarved() bool {
	h := t.making.Load()
	return h != nil && t.pool.onCPU != nil && !t.yielded.Load() && t.tries.Add(1) < slowTries && t.pool.onCPU(h)
}

// makes says that a child is about to be made, and made that it is, or is not to be: what is
// left of a job whose child has waited for a processor has its time anew.
func (t *worker) makes(h *child.Slot) { t.making.Store(h) }

func (t *worker) made() {
	t.making.Store(nil)
	if t.tries.Load() > 0 && !t.yielded.Load() {
		t.begin(t.pool.patience())
	}
}

// runFirst, start and open have a job done.
func (c *pool) runFirst(job func(*worker)) { c.add(&c.urgent, job) }
func (c *pool) runStart(job func(*worker)) { c.add(&c.starts, job) }
func (c *pool) runOpen(job func(*worker))  { c.add(&c.opens, job) }

func (c *pool) add(queue *[]func(*worker), job func(*worker)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*queue = append(*queue, job)
	c.fill()
}

// fill has another begin, if there is a place and something to do. c.mu is locked.
func (c *pool) fill() {
	if len(c.urgent) > 0 && c.active < poolMax+urgentMax || len(c.starts)+len(c.opens) > 0 && c.active < poolMax {
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
func (c *pool) growAfter(d time.Duration, f func()) {
	if c.later != nil {
		c.later.Stop()
	}
	c.later = time.AfterFunc(d, f)
}

// makeReady sees to threads for those that wait, a few at once, and more where many
// hang already. Where there is no
// room for one it is tried again in a second; until then jobs wait for those before
// them.
func (c *pool) makeReady() {
	c.mu.Lock()
	least := c.all + 1
	most := c.all + min(len(c.urgent)+len(c.starts)+len(c.opens), max(poolMax, c.all/2))
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

// shrink says that from here on there are threads for the least only.
func (c *pool) shrink() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = min(c.ready, max(poolLeast-1, c.all))
}

// work does jobs until there are none.
func (c *pool) work() {
	t := &worker{pool: c}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all--
		c.fill() // what has waited for a thread
	}()
	for !t.yielded.Load() {
		job := t.next()
		if job == nil {
			break
		}
		t.begin(c.patience())
		job(t)
		t.late.Stop()
	}
}

// begin has overdue called when the job that is about to begin takes longer than d.
func (t *worker) begin(d time.Duration) {
	t.tries.Store(0)
	if t.late != nil {
		t.late.Reset(d)
		return
	}
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	t.late = time.AfterFunc(d, t.overdue)
}

// next takes a job out of the queues. Where there is none the place is left.
func (t *worker) next() (job func(*worker)) {
	c := t.pool
	c.mu.Lock()
	defer c.mu.Unlock()
	queue := &c.urgent
	switch {
	case len(c.urgent) > 0 || c.active > poolMax:
	case len(c.starts) >= openAhead || len(c.opens) == 0:
		queue = &c.starts
	default:
		queue = &c.opens
	}
	if q := *queue; len(q) > 0 {
		job, *queue = q[0], q[1:]
		q[0] = nil
		if c.growing && len(c.urgent)+len(c.starts)+len(c.opens) == 0 && c.later.Stop() { // nobody waits
			c.growing = false
		}
		return job
	}
	*queue = nil
	if t.yielded.CompareAndSwap(false, true) { // its timer may be about to
		c.active--
	}
	return nil
}

// patience is how long the next job may take.
func (c *pool) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.hung) > slowRest {
		return slowTime
	}
	return max(slowTime>>(c.all-c.active), slowLeast)
}

// hangs says whether a job takes longer than it may.
func (c *pool) hangs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all > c.active
}

// yield gives the place to another, once. It is said and counted at once: a worker that
// ends meanwhile would be counted as gone before.
func (t *worker) yield() {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	if t.yielded.CompareAndSwap(false, true) {
		t.pool.active--
		t.pool.fill()
	}
}
