package core

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// survivors are the trees of earlier scanners of which something still runs. Those that
// have taken over from one another are one line, which the first of them gives its number:
// what has ended under one of them, and was not opened under the next, is known by that.
type survivors struct {
	line  atomic.Uint32         // of this tree, if it has taken over from an earlier one; else 0
	alive map[uint32]bool       // guarded by the core's mu, as are the surveys
	looks map[[2]uint32]*survey // by tree and line
}

// survey is a look for what is left of an earlier tree.
type survey struct {
	of       state.Process // the record of which it is asked
	dir      *os.File
	names    []string // that were not looked at
	left     int      // of all, those of which nothing is known yet
	answered int
	err      error // what could not be read, where nothing was found
	ended    bool
	over     chan struct{} // closed by then
}

// surveyTime is how long a survey may come no further. That is all of its time where the
// disk that a service is on does not answer: that counts for nothing then. A busy machine
// takes as long as it takes.
const surveyTime = time.Second

// lives says that something was seen to run that a record tells of.
func (c *Core) lives(l state.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survivors.found(l)
}

// found is lives. The core's mu is locked.
func (v *survivors) found(l state.Process) {
	if v.alive == nil {
		v.alive = map[uint32]bool{}
	}
	v.alive[l.Tree], v.alive[l.Line] = true, true
}

// succeed takes note that this tree goes on with what a record tells of.
func (c *Core) succeed(l state.Process) {
	if at, err := c.here(); err == nil && l.Line != 0 && l.Line != at.tree {
		c.survivors.line.Store(l.Line)
	}
}

// survives says whether something of an earlier scanner's tree still runs: a process
// that a record in the scanner's directory tells of. It is looked for once for each
// such tree, when the first service asks of which nothing runs itself.
func (c *Core) survives(of state.Process) (bool, error) {
	if c.dir == "" { // the runsv of one directory has looked already
		return false, nil
	}
	c.mu.Lock()
	if c.survivors.looks == nil {
		c.survivors.looks = map[[2]uint32]*survey{}
	}
	key := [2]uint32{of.Tree, of.Line}
	look := c.survivors.looks[key]
	if look == nil {
		look = &survey{of: of, over: make(chan struct{})}
		c.survivors.looks[key] = look
		c.pool.runFirst(func(*worker) { c.survey(look) })
	}
	c.mu.Unlock()
	late := time.NewTicker(surveyTime)
	defer late.Stop()
	for answered := -1; ; {
		over := false
		select {
		case <-look.over:
			over = true
		case <-late.C:
		}
		c.mu.Lock()
		further := look.answered > answered
		answered = look.answered
		alive, err := c.survivors.alive[of.Tree] || c.survivors.alive[of.Line], look.err
		if over && err != nil && !alive {
			delete(c.survivors.looks, key) // another look will be made
		}
		c.mu.Unlock()
		switch {
		case alive:
			return true, nil
		case over:
			return false, err
		case !further:
			return false, nil
		}
	}
}

// survey looks through the records of all services in the scanner's directory.
func (c *Core) survey(look *survey) {
	dir, err := os.Open(c.dir)
	var names []string
	if err == nil {
		names, err = dir.Readdirnames(-1)
	}
	c.mu.Lock()
	if look.dir = dir; err != nil {
		look.err = sys.Unless(sys.Absent, c.dir, err)
	}
	for _, name := range names {
		if name[0] != '.' {
			look.names = append(look.names, name)
		}
	}
	look.left = len(look.names)
	none := look.left == 0
	if none {
		look.end()
	}
	c.mu.Unlock()
	if !none {
		c.pool.runFirst(func(t *worker) { c.lookOn(look, t) })
	}
}

// end is for when it is known, or there is nothing more to look at. The core's mu is locked.
func (look *survey) end() {
	if !look.ended {
		look.ended = true
		close(look.over)
	}
	if look.left == 0 {
		look.dir.Close() // also of none
	}
}

// lookOn looks at one name after the other. Where one does not answer, another job goes on
// with the rest.
func (c *Core) lookOn(look *survey, t *worker) {
	t.whenSlow(func() { c.pool.runFirst(func(t *worker) { c.lookOn(look, t) }) })
	for {
		c.mu.Lock()
		if len(look.names) == 0 {
			c.mu.Unlock()
			t.done()
			return
		}
		name := look.names[0]
		look.names = look.names[1:]
		c.mu.Unlock()
		runs, err := c.runsStill(look, name)
		c.mu.Lock()
		look.left--
		look.answered++
		if err != nil {
			look.err = err
		}
		if runs { // the rest does not matter
			look.left -= len(look.names)
			look.names, look.err = nil, nil
			c.survivors.found(look.of)
		}
		if runs || look.left == 0 {
			look.end()
		}
		c.mu.Unlock()
		if t.yielded.Load() {
			return
		}
	}
}

// runsStill says whether a service, or its log service, runs that is of the tree looked for.
// What cannot be read of the one does not keep the other from being looked at.
func (c *Core) runsStill(look *survey, name string) (runs bool, unread error) {
	here, err := c.here()
	if err != nil {
		return false, err
	}
	for _, path := range []string{name + "/supervise/proc", name + "/log/supervise/proc"} {
		runs, err := stillRuns(int(look.dir.Fd()), path, look.of, here)
		if !runs && err == nil && c.states != "" {
			runs, err = stillRuns(unix.AT_FDCWD, c.states+"/"+path, look.of, here)
		}
		if runs {
			return true, nil
		}
		if err != nil {
			unread = err
		}
	}
	return false, unread
}

// stillRuns says whether the record at path is of the tree or the line of another record, and
// its process runs, or is of this scanner, which runs itself. One that was written before its
// core knew of the line has the tree's number alone.
func stillRuns(at int, path string, of state.Process, here origin) (bool, error) {
	l, ok, err := proc.Read(at, path)
	if err != nil || !ok || l.Line != of.Line && l.Tree != of.Line && l.Tree != of.Tree || l.PID == 0 && l.Tree != here.tree || trustOf(l, here.world, l.Place) != trustAll {
		return false, err
	}
	if l.Tree == here.tree {
		return true, nil
	}
	s, err := proc.See(l)
	if s.PidFD >= 0 {
		unix.Close(s.PidFD)
	}
	return s.Found && !s.Dead, err
}
