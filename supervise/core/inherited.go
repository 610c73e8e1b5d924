package core

import "golang.org/x/sys/unix"

// adopt takes in a process that an earlier core has left to u. It is nil where
// another service has it.
func (ps *processes) adopt(pid, pidfd int, u *unit, r role) *process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.known[pid]
	if old != nil && old.unit != nil {
		return nil
	}
	p := &process{pid: pid, role: r, adopted: true, pidfd: pidfd}
	p.isOf(u)
	e, over := ps.unclaimed[pid]
	delete(ps.unclaimed, pid)
	p.asked = over
	if old != nil && old.adopted {
		p.asked = over || old.asked
		e, over = old.ending, old.over
		ps.count(old.reservedFor, -1)
	}
	ps.known[pid] = p
	if over {
		p.end(e)
	}
	return p
}

// reserve keeps a process of an earlier core for a service that could not be
// opened and will be tried again: how it ends is not lost meanwhile.
func (ps *processes) reserve(pid int, heir string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.known[pid] != nil || ps.leaving {
		return
	}
	e, over := ps.unclaimed[pid]
	delete(ps.unclaimed, pid)
	ps.known[pid] = &process{pid: pid, adopted: true, pidfd: -1, reservedFor: heir, over: over, ending: e, asked: over}
	ps.count(heir, 1)
}

// count counts those that are kept for a service, so that nobody looks for them where
// there are none. (The service of a runsv has no key, and nobody asks for it.)
func (ps *processes) count(heir string, n int) {
	if heir != "" {
		ps.reserved += n
	}
}

// unreserve lets go of what was bequeathed to a service and that it has not taken.
func (ps *processes) unreserve(heir string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.reserved == 0 { // as a rule: all services ask when they are opened
		return
	}
	for _, p := range ps.known {
		if p.unit == nil && p.adopted && p.reservedFor == heir {
			ps.remove(p)
		}
	}
}

// opening says that a service is being opened, which may adopt processes, and
// opened that it has those that it will have.
func (ps *processes) opening() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.openings++
}

func (ps *processes) opened() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.openings--; ps.openings > 0 {
		return
	}
	for pid := range ps.unclaimed {
		delete(ps.unclaimed, pid)
		ps.seen(pid)
	}
}

// inherited takes the end of a process that the scanner has inherited from an
// earlier core. What is nobody's may be collected, when nobody can come to adopt it.
func (ps *processes) inherited(pid int, e ending) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch p := ps.known[pid]; {
	case p != nil && p.adopted:
		p.asked = true
		p.end(e)
	case ps.openings > 0:
		ps.unclaimed[pid] = e
	default:
		ps.seen(pid)
	}
}

// ended takes the end of an adopted process that is no child of the scanner.
func (ps *processes) ended(p *process, ws unix.WaitStatus) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.end(ending{ws: ws})
}
