package core

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// survivors are the trees of earlier scanners of which something still runs. Those that
// have taken over from one another are one line, which the first of them gives its number:
// what has ended under one of them, and was not opened under the next, is known by that.
// Guarded by the core's mu.
type survivors struct {
	line  uint32 // of this tree, if it has taken over from an earlier one
	alive map[uint32]bool
	looks map[uint32]*survey
}

// survey is a look for what is left of an earlier tree.
type survey struct {
	over chan struct{}
	err  error // what could not be read, where nothing was found
}

// surveyTime is how long the services whose orders depend on it wait for a survey,
// which a disk may hold up.
const surveyTime = time.Second

// lives says that something was seen to run that a record tells of.
func (c *Core) lives(l state.Process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.survivors.alive == nil {
		c.survivors.alive, c.survivors.looks = map[uint32]bool{}, map[uint32]*survey{}
	}
	c.survivors.alive[l.Tree], c.survivors.alive[l.Line] = true, true
}

// succeed takes note that this tree goes on with what a record tells of.
func (c *Core) succeed(l state.Process) {
	if at, err := c.here(); err == nil && l.Line != 0 && l.Line != at.tree {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.survivors.line = l.Line
	}
}

// lineage is the line of a tree that was not told one.
func (c *Core) lineage(tree uint32) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.survivors.line != 0 {
		return c.survivors.line
	}
	return tree
}

// survives says whether something of an earlier scanner's tree still runs: a process
// that a record in the scanner's directory tells of. It is looked for once for each
// such tree, when the first service asks of which nothing runs itself.
func (c *Core) survives(line uint32) (bool, error) {
	if c.dir == "" { // the runsv of one directory has looked already
		return false, nil
	}
	at, err := c.here()
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	if c.survivors.alive == nil {
		c.survivors.alive, c.survivors.looks = map[uint32]bool{}, map[uint32]*survey{}
	}
	look := c.survivors.looks[line]
	if look == nil {
		look = &survey{over: make(chan struct{})}
		c.survivors.looks[line] = look
		go c.survey(look, line, at)
	}
	c.mu.Unlock()
	late := time.NewTimer(surveyTime)
	defer late.Stop()
	over := false
	select {
	case <-look.over:
		over = true
	case <-late.C: // what does not answer counts for nothing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.survivors.alive[line]:
		return true, nil
	case over && look.err != nil:
		delete(c.survivors.looks, line) // another look will be made
		return false, look.err
	}
	return false, nil
}

// survey looks through the records of all services in the scanner's directory.
func (c *Core) survey(look *survey, line uint32, here origin) {
	defer close(look.over)
	dir, err := os.Open(c.dir)
	if err != nil {
		look.err = sys.Unless(sys.Absent, c.dir, err)
		return
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		look.err = err
		return
	}
	at := int(dir.Fd())
	for _, name := range names {
		if name[0] == '.' {
			continue
		}
		for _, path := range []string{name + "/supervise/proc", name + "/log/supervise/proc"} {
			runs, err := stillRuns(at, path, line, here)
			if !runs && err == nil && c.states != "" {
				runs, err = stillRuns(unix.AT_FDCWD, c.states+"/"+path, line, here)
			}
			if err != nil {
				look.err = err
			}
			if runs {
				look.err = nil
				c.lives(state.Process{Tree: line, Line: line})
				return
			}
		}
	}
}

// stillRuns says whether the record at path is of this line and its process runs, or is of
// this scanner, which runs itself. One that was written before its core knew of the line has
// the tree's number alone.
func stillRuns(at int, path string, line uint32, here origin) (bool, error) {
	l, ok, err := proc.Read(at, path)
	if err != nil || !ok || l.Line != line && l.Tree != line || l.PID == 0 && l.Tree != here.tree || trustOf(l, here.world, l.Place) != trustAll {
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
