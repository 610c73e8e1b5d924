package core

import (
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"runitbox/supervise/diag"
	"runitbox/supervise/self"
	"runitbox/supervise/threads"
)

// awaitThreads waits for the threads that a core cannot do without, which is for where
// there may be too little room: what it starts takes of the same room. It has what it can
// get of those that it would make later otherwise.
func (c *Core) awaitThreads() {
	c.mu.Lock()
	c.spare = spareThreads
	c.mu.Unlock()
	need := c.needThreads()
	threads.Wait(func() bool {
		if !threads.Reserve(need + poolLeast) {
			return false
		}
		for c.pool.ready = poolLeast; c.pool.ready < poolMax && threads.Reserve(need+c.pool.ready+1); {
			c.pool.ready++
		}
		return true
	}, func() {
		c.Say(diag.Warning, "", errors.New("too few processes may be made for a supervisor; waiting."))
	}, nil)
}

// spareThreads are for calls of the kernel that never wait: where the machine is busy
// they take long enough for the runtime to use another thread meanwhile.
const spareThreads = 2

// growPool sees to threads for n jobs at once and says whether there are.
func (c *Core) growPool(n int) bool { return threads.More(c.needThreads() + n + 1) }

// processors is how many processors the core uses: there is a thread for each.
func processors() int { return min(runtime.NumCPU(), poolMax) }

// needThreads is how many threads the core needs beside those of its worker pool: the
// runtime's, the template, one for each processor, and one for what waits in the kernel: the reaper,
// and logs that are read on to standard error.
func (c *Core) needThreads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := self.RuntimeThreads() + threads.Template + runtime.GOMAXPROCS(0) + 1 + len(c.rescued) + c.spare
	if c.prefix || c.lines != nil { // and for who reads the services' lines
		n++
	}
	if c.link != nil { // the scanner watches the main goroutine's
		n++
	}
	if c.hosting.shares { // and for whoever is looked at that asks for a host, or is one: one at a time
		n++
	}
	return n
}

// tinyTree is how many services are started with one of the scheduler's processors, and
// smallTree with one for each of the machine's. More have them up a twentieth sooner, and
// take 100 KiB of memory each.
const tinyTree, smallTree = 8, 128

// tidyLater gives back, when no service has been added for a while, what adding them
// took.
func (c *Core) tidyLater() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tidyTimer == nil {
		c.tidyTimer = time.AfterFunc(tidyTime, c.tidyUp)
	} else {
		c.tidyTimer.Reset(tidyTime)
	}
}

const tidyTime = 3 * time.Second

// tidyUp is what tidy has done.
func (c *Core) tidyUp() { c.guardAll(c.tidyNow) }

// tidyNow is what there is to be done when all are guarded.
func (c *Core) tidyNow() {
	c.keepGuards()
	c.pool.shrink()
	need := c.needThreads() + poolLeast
	threads.Trim(need)
	threads.Reserve(need)
	debug.SetGCPercent(50)
	if c.services.addedSince() > smallTree { // else the first collection takes more memory than there is to give back
		debug.FreeOSMemory()
	}
}
