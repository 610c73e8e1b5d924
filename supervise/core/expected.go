package core

// expected is a child that is being made: its end may come before its number.
type expected struct {
	ps   *processes
	open bool
}

// expect says that a child is about to be made, unless none is to be any more.
func (ps *processes) expect() (*expected, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.leaving {
		return nil, false
	}
	ps.expecting++
	return &expected{ps, true}, true
}

// holds says that pid is the child that was expected. Its end is kept back until the
// unit has been told of it (see told).
func (pl *expected) holds(pid int, u *unit, r role) *process {
	ps := pl.ps
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := &process{pid: pid, role: r, pidfd: -1, unreported: true}
	p.isOf(u)
	ps.known[pid] = p
	if len(ps.corpses) > 0 { // it may be among them, or behind one that hides it
		delete(ps.corpses, pid)
		var e ending
		var ended bool
		if e.ws, ended = ps.kernel.peek(pid, &e.use); ended {
			ps.corpses[pid] = p
			p.end(e)
		}
	}
	pl.shut()
	return p
}

// close says that no child has come of it.
func (pl *expected) close() {
	pl.ps.mu.Lock()
	defer pl.ps.mu.Unlock()
	pl.shut()
}

// shut says that the child is not expected any more. Of the corpses of unknown children
// those are forgotten that whoever made them has collected, and when none is expected
// all are collected.
func (pl *expected) shut() {
	if !pl.open {
		return
	}
	pl.open = false
	ps := pl.ps
	ps.expecting--
	for pid, p := range ps.corpses {
		switch {
		case p != nil:
		case ps.expecting == 0 && !ps.leaving:
			ps.collect(pid)
		default:
			if _, ended := ps.kernel.peek(pid, nil); !ended {
				delete(ps.corpses, pid)
			}
		}
	}
	ps.poke()
}

// told says that the process's service knows of it: its end may follow.
func (ps *processes) told(p *process) {
	if p == nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.unreported = false
	if p.over {
		p.tell()
	}
}
