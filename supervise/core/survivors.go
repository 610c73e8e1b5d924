package core

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// survivors are the trees of earlier scanners of which something still runs. Guarded
// by the core's mu.
type survivors struct {
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

// lives says that something of a tree was seen to run.
func (c *Core) lives(tree uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.survivors.alive == nil {
		c.survivors.alive, c.survivors.looks = map[uint32]bool{}, map[uint32]*survey{}
	}
	c.survivors.alive[tree] = true
}

// survives says whether something of an earlier scanner's tree still runs: a process
// that a record in the scanner's directory tells of. It is looked for once for each
// such tree, when the first service asks of which nothing runs itself.
func (c *Core) survives(tree uint32) (bool, error) {
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
	look := c.survivors.looks[tree]
	if look == nil {
		look = &survey{over: make(chan struct{})}
		c.survivors.looks[tree] = look
		go c.survey(look, tree, at.world)
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
	case c.survivors.alive[tree]:
		return true, nil
	case over && look.err != nil:
		delete(c.survivors.looks, tree) // another look will be made
		return false, look.err
	}
	return false, nil
}

// survey looks through the records of all services in the scanner's directory.
func (c *Core) survey(look *survey, tree uint32, w state.World) {
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
			runs, err := stillRuns(at, path, tree, w)
			if !runs && err == nil && c.states != "" {
				runs, err = stillRuns(unix.AT_FDCWD, c.states+"/"+path, tree, w)
			}
			if err != nil {
				look.err = err
			}
			if runs {
				look.err = nil
				c.lives(tree)
				return
			}
		}
	}
}

// stillRuns says whether the record at path is of this tree and its process runs.
func stillRuns(at int, path string, tree uint32, w state.World) (bool, error) {
	l, ok, err := proc.Read(at, path)
	if err != nil || !ok || l.Tree != tree || l.PID == 0 || trustOf(l, w, l.Place) != trustAll {
		return false, err
	}
	s, err := proc.See(l)
	if s.PidFD >= 0 {
		unix.Close(s.PidFD)
	}
	return s.Found && !s.Dead, err
}
