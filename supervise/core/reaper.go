package core

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
)

// collect has the reaper have the kernel forget a child that has ended: who has recorded
// the end goes on meanwhile.
func (ps *processes) collect(pid int) {
	if !slices.Contains(ps.finished, pid) {
		ps.finished = append(ps.finished, pid)
	}
	ps.poke()
}

// collectNow does what the reaper is to do soon: until it is collected a child that has
// ended counts at the limits of processes.
func (ps *processes) collectNow() {
	ps.collecting.Lock()
	defer ps.collecting.Unlock()
	ps.mu.Lock()
	pids := ps.finished
	ps.finished = nil
	for _, pid := range pids {
		delete(ps.corpses, pid) // from here on the number may be another's
	}
	ps.mu.Unlock()
	for _, pid := range pids {
		ps.kernel.collect(pid)
	}
}

func (ps *processes) poke() { poke(ps.wake) }

// heldUp says that an owner has been held up for a while: behind a corpse that it keeps
// may be others.
func (ps *processes) heldUp() { poke(ps.slow) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// reap has owners told of the ends of children, for ever.
func (ps *processes) reap() {
	patience := time.NewTimer(0)
	crowd := 0 // how many ends in a row were there already when it was waited for the next
	for {
		var use proc.Usage
		crowd++
		pid, ws, ok := ps.kernel.wait(false, &use)
		if !ok {
			crowd = 0
			pid, ws, ok = ps.kernel.wait(true, &use)
		}
		if !ok { // there is no child
			select {
			case <-ps.wake:
			case <-ps.deaths:
			}
			continue
		}
		ps.died(pid, ws, use)
		if ps.isCrowd(crowd) {
			crowd = 0
			ps.look(false)
		}
		// The kernel tells of a corpse that is left again and again, and of none
		// behind it. As a rule it is collected in less time than any other way to
		// look for those would take. A timer is only for where somebody is held up already,
		// since the runtime wakes another thread to look after it.
		select {
		case <-ps.slow:
		default:
		}
		var late <-chan time.Time
		if ps.held() {
			patience.Reset(proc.GraceTime)
			late = patience.C
		}
		for left := ps.left(); left; left = ps.left() {
			select {
			case <-ps.wake:
				continue
			case <-ps.slow:
				ps.lookAround()
			case <-late:
				ps.lookAround()
			}
			break
		}
		patience.Stop()
	}
}

// lookAround looks at each child alone whenever one ends, as long as a corpse is
// left.
func (ps *processes) lookAround() {
	ps.kernel.signal(true)
	defer ps.kernel.signal(false)
	for {
		ps.look(ps.given)
		for woken := false; !woken; {
			if !ps.left() {
				return
			}
			select {
			case <-ps.wake:
			case <-ps.deaths:
				woken = true
			}
		}
	}
}

// isCrowd says whether so many have ended one right behind the other that it takes less to
// ask for each child once, and tell all owners at once, than to go on one by one, as where a
// tree is told to exit: an owner is woken for each end, and the reaper again behind it.
func (ps *processes) isCrowd(ends int) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ends > 0 && ends >= len(ps.known)/crowdShare
}

// crowdShare is for how many children it may be asked, for each that has ended: that takes as
// long as to tell of one end alone.
const crowdShare = 32

// look finds the children that have ended among those that are known, or among all.
func (ps *processes) look(all bool) {
	var pids []int
	ps.mu.Lock()
	for pid, p := range ps.known {
		if !p.adopted && !p.over {
			pids = append(pids, pid)
		}
	}
	ps.mu.Unlock()
	if all {
		pids = append(pids, ps.kernel.list()...)
	}
	for _, pid := range pids {
		var use proc.Usage
		if ws, ended := ps.kernel.peek(pid, &use); ended {
			ps.died(pid, ws, use)
		}
	}
}

// left collects what is to be, and says whether there are corpses that are left.
func (ps *processes) left() bool {
	ps.collectNow()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.corpses) > 0
}

// died takes the end of a child, whose corpse is there.
func (ps *processes) died(pid int, ws unix.WaitStatus, use proc.Usage) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[pid]
	if p != nil && p.adopted { // it has its number from one that somebody else has collected
		p = nil
	}
	switch {
	case p != nil && p.unit != nil:
		if !p.over {
			ps.corpses[pid] = p
			p.end(ending{ws, use})
		}
	case p == nil && ps.expecting > 0 || ps.leaving:
		ps.corpses[pid] = p
	case p == nil:
		ps.collect(pid)
	default:
		if p.host != nil && !p.over {
			go p.host(ws)
		}
		ps.remove(p)
	}
}
