package core

import (
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
)

// processes knows whose each process is, and has its owner told of its end.
//
// The end of a child is first looked at: the corpse stays until the owner has
// recorded the end, and only then is it collected, by who has recorded it. So a
// kill in between loses no end, and no number in the registry is given to
// another process. Whoever waits for ends waits for no owner: what is held up by
// its disk keeps its corpse, and the ends of others are told meanwhile.
//
// A child may end before its number is known to who makes it. Therefore who makes one
// says before that a child is expected. While one is expected the corpse of an unknown
// child stays as well: who makes it asks for it when he knows the number, and when none
// is expected any more the corpses that nobody has asked for are collected.
type processes struct {
	kernel kernel
	wake   chan struct{} // of one: a corpse is to be collected or none is left, or there may be a child
	slow   chan struct{} // of one: an owner has been held up
	held   func() bool   // whether an owner is
	deaths chan os.Signal
	given  bool // as process 1 or a subreaper it gets children that it has not made

	collecting sync.Mutex // is held by who collects, without the other

	mu        sync.Mutex
	known     map[int]*process
	expecting int                     // children whose numbers are not known yet
	corpses   map[int]*process        // seen and left where they are; nil: of nobody known
	finished  []int                   // corpses that the reaper is to collect
	leaving   bool                    // the process ends soon: who is dead and not recorded is left to the scanner
	openings  int                     // services that are being opened, and may adopt processes
	reserved  int                     // how many are kept for services that could not be opened
	unclaimed map[int]unix.WaitStatus // ends that the scanner has told of, of processes that nobody has adopted yet
	seen      func(pid int)           // tells the scanner that it may collect a process; must not wait
}

// process is one that a service has: a child, or one that it has adopted.
type process struct {
	pid         int
	unit        *unit // nil: its service was let go
	role        role
	adopted     bool
	pidfd       int    // of an adopted one, as long as its unit has it open; else -1
	reservedFor string // of an adopted one without a unit: the service that is to have it
	unreported  bool   // its service does not know of it yet
	over        bool   // it has ended, with ws
	ws          unix.WaitStatus
	use         proc.Usage            // what it has used, of a child
	asked       bool                  // the scanner waits until the end is recorded
	host        func(unix.WaitStatus) // is told of the end of a host of log services; else nil
}

// kernel is what processes asks of the kernel.
type kernel struct {
	wait    func(use *proc.Usage) (pid int, ws unix.WaitStatus, ok bool) // waits for an end; not ok: there is no child
	peek    func(pid int, use *proc.Usage) (ws unix.WaitStatus, ended bool)
	collect func(pid int)
	list    func() []int  // all children
	signal  func(on bool) // has SIGCHLD come, or not
}

// newProcesses is an empty registry. given says that the process gets children
// that it has not made; otherwise SIGCHLD costs nothing but where it is needed.
func newProcesses(given bool) *processes {
	ps := &processes{
		given: given, wake: make(chan struct{}, 1), slow: make(chan struct{}, 1), held: func() bool { return false }, deaths: make(chan os.Signal, 1),
		known: map[int]*process{}, corpses: map[int]*process{}, unclaimed: map[int]unix.WaitStatus{},
		seen: func(int) {},
	}
	ps.kernel = kernel{
		wait: func(use *proc.Usage) (int, unix.WaitStatus, bool) { return proc.PeekDead(0, use) },
		peek: proc.PeekChild,
		collect: func(pid int) {
			for {
				if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != unix.EINTR {
					return
				}
			}
		},
		list:   proc.Children,
		signal: func(bool) {},
	}
	return ps
}

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
	p := &process{pid: pid, unit: u, role: r, pidfd: -1, unreported: true}
	ps.known[pid] = p
	if len(ps.corpses) > 0 { // it may be among them, or behind one that hides it
		delete(ps.corpses, pid)
		if ws, ended := ps.kernel.peek(pid, &p.use); ended {
			ps.corpses[pid] = p
			p.end(ws)
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

// end takes the end of a process and tells its service, once. The registry is
// locked.
func (p *process) end(ws unix.WaitStatus) {
	if p.over {
		return
	}
	p.over, p.ws = true, ws
	if p.host != nil {
		go p.host(ws)
	}
	p.tell()
}

func (p *process) tell() {
	if !p.unreported && p.unit != nil {
		p.unit.svc.post(event{kind: evDied, who: p.unit, role: p.role, pid: p.pid, ws: p.ws, proc: p})
	}
}

// recorded takes a process out whose end its service has recorded. From here on
// another may get its number.
func (ps *processes) recorded(p *process) {
	if p == nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.remove(p)
}

// remove takes a process out and has its corpse collected, by the scanner where
// that has inherited it.
func (ps *processes) remove(p *process) {
	ps.count(p.reservedFor, -1)
	p.unit, p.pidfd, p.reservedFor = nil, -1, ""
	if ps.known[p.pid] == p {
		delete(ps.known, p.pid)
	}
	switch {
	case !p.adopted:
		ps.collect(p.pid)
	case p.asked:
		p.asked = false
		ps.seen(p.pid)
	}
}

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

// adopt takes in a process that an earlier core has left to u. It is nil where
// another service has it.
func (ps *processes) adopt(pid, pidfd int, u *unit, r role) *process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := &process{pid: pid, unit: u, role: r, adopted: true, pidfd: pidfd}
	old := ps.known[pid]
	if old != nil && old.unit != nil {
		return nil
	}
	ws, over := ps.unclaimed[pid]
	delete(ps.unclaimed, pid)
	p.asked = over
	if old != nil && old.adopted {
		p.asked = over || old.asked
		ws, over = old.ws, old.over
		ps.count(old.reservedFor, -1)
	}
	ps.known[pid] = p
	if over {
		p.end(ws)
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
	ws, over := ps.unclaimed[pid]
	delete(ps.unclaimed, pid)
	ps.known[pid] = &process{pid: pid, adopted: true, pidfd: -1, reservedFor: heir, over: over, ws: ws, asked: over}
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

// forget lets go of all processes of a service. Those that are children run on,
// and are nobody's; those that it had adopted before it could not be opened are
// for the next try.
func (ps *processes) forget(s *service) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.known {
		switch {
		case p.unit == nil || p.unit.svc != s:
		case ps.leaving: // its end is the scanner's to tell
			p.unit = nil
		case p.adopted && !s.opened:
			p.unit, p.pidfd, p.reservedFor = nil, -1, s.key
			ps.count(s.key, 1)
		case p.over || p.adopted:
			ps.remove(p)
		default:
			p.unit = nil
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
func (ps *processes) inherited(pid int, ws unix.WaitStatus) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch p := ps.known[pid]; {
	case p != nil && p.adopted:
		p.asked = true
		p.end(ws)
	case ps.openings > 0:
		ps.unclaimed[pid] = ws
	default:
		ps.seen(pid)
	}
}

// ended takes the end of an adopted process that is no child of the scanner.
func (ps *processes) ended(p *process, ws unix.WaitStatus) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.end(ws)
}

// awaited says whether a service still has to hear of the end of p.
func (ps *processes) awaited(p *process) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return !p.over && (p.unit != nil || p.host != nil)
}

// leave says that the process ends soon: nothing more is made, and who has died
// stays where he is, unless the end is recorded.
func (ps *processes) leave() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.leaving = true
}

// making is how many processes are just being made.
func (ps *processes) making() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.expecting
}

// kill kills what runs, and returns it: the services' processes, or the log services'.
func (ps *processes) kill(log bool) (late []lateProcess) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.known {
		if p.over || (p.host != nil || p.unit != nil && p.unit.prefix != "") != log || p.unit == nil && p.host == nil {
			continue
		}
		proc.SendSignal(p.pid, p.pidfd, unix.SIGKILL)
		if p.unit != nil {
			late = append(late, lateProcess{unit: p.unit, role: p.role})
		}
	}
	return late
}

// lateProcess is what was killed at the end of the time: whose it was, and what. The process
// itself may be nobody's by the time that it is told of.
type lateProcess struct {
	unit *unit
	role role
}

// reap has owners told of the ends of children, for ever.
func (ps *processes) reap() {
	patience := time.NewTimer(0)
	for {
		var use proc.Usage
		pid, ws, ok := ps.kernel.wait(&use)
		if !ok { // there is no child
			select {
			case <-ps.wake:
			case <-ps.deaths:
			}
			continue
		}
		ps.died(pid, ws, use)
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
		ps.look()
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

// look finds the children that have ended among all.
func (ps *processes) look() {
	var pids []int
	ps.mu.Lock()
	for pid, p := range ps.known {
		if !p.adopted && !p.over {
			pids = append(pids, pid)
		}
	}
	ps.mu.Unlock()
	if ps.given {
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
			p.use = use
			p.end(ws)
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
