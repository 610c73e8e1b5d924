package core

import (
	"os"
	"slices"
	"sync"

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
	expecting int              // children whose numbers are not known yet
	corpses   map[int]*process // seen and left where they are; nil: of nobody known
	finished  []int            // corpses that the reaper is to collect
	leaving   bool             // the process ends soon: who is dead and not recorded is left to the scanner
	openings  int              // services that are being opened, and may adopt processes
	reserved  int              // how many are kept for services that could not be opened
	unclaimed map[int]ending   // ends that the scanner has told of, of processes that nobody has adopted yet
	seen      func(pid int)    // tells the scanner that it may collect a process; must not wait
}

// process is one that a service has: a child, or one that it has adopted.
type process struct {
	pid         int
	unit        *unit // nil: its service was let go
	role        role
	adopted     bool
	pidfd       int                   // of an adopted one, as long as its unit has it open; else -1
	reservedFor string                // of an adopted one without a unit: the service that is to have it
	unreported  bool                  // its service does not know of it yet
	over        bool                  // it has ended
	ending                            // and how
	asked       bool                  // the scanner waits until the end is recorded
	heard       int8                  // it has asked for a host of log services, or for nothing: once or finally
	host        func(unix.WaitStatus) // is told of the end of a host of log services; else nil
}

// ending is how a process has ended, and what it had used by then, where its parent tells.
type ending struct {
	ws  unix.WaitStatus
	use proc.Usage
}

// kernel is what processes asks of the kernel.
type kernel struct {
	wait    func(block bool, use *proc.Usage) (pid int, ws unix.WaitStatus, ok bool) // finds one that has ended, or waits for one; not ok: there is none
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
		known: map[int]*process{}, corpses: map[int]*process{}, unclaimed: map[int]ending{},
		seen: func(int) {},
	}
	ps.kernel = kernel{
		wait: func(block bool, use *proc.Usage) (int, unix.WaitStatus, bool) {
			flags := unix.WNOHANG
			if block {
				flags = 0
			}
			return proc.PeekDead(flags, use)
		},
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

// isOf says whose the process is from here on: nil, where nobody is to hear of its end. The
// registry is locked.
func (p *process) isOf(u *unit) {
	if p.unit != nil {
		p.unit.processes--
	}
	if p.unit = u; u != nil {
		u.processes++
	}
}

// end takes the end of a process and tells its service, once. The registry is
// locked.
func (p *process) end(e ending) {
	if p.over {
		return
	}
	p.over, p.ending = true, e
	if p.host != nil {
		go p.host(e.ws)
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
	p.isOf(nil)
	p.pidfd, p.reservedFor = -1, ""
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

// forget lets go of all processes of a service. Those that are children run on,
// and are nobody's; those that it had adopted before it could not be opened are
// for the next try.
func (ps *processes) forget(s *service) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !slices.ContainsFunc(s.units(), func(u *unit) bool { return u.processes > 0 }) { // as a rule
		return
	}
	for _, p := range ps.known {
		switch {
		case p.unit == nil || p.unit.svc != s:
		case ps.leaving: // its end is the scanner's to tell
			p.isOf(nil)
		case p.adopted && !s.opened:
			p.isOf(nil)
			p.pidfd, p.reservedFor = -1, s.key
			ps.count(s.key, 1)
		case p.over || p.adopted:
			ps.remove(p)
		default:
			p.isOf(nil)
		}
	}
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

// kill kills what runs: the services' processes, or the log services'. Each is told before it
// is killed: with the last of them this process may end, which waits only for what was told.
func (ps *processes) kill(log bool, tell func(lateProcess)) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.known {
		if p.over || p.unit == nil && p.host == nil || (p.host != nil || p.unit.readsLast()) != log {
			continue
		}
		if p.unit != nil {
			tell(lateProcess{unit: p.unit, role: p.role})
		}
		proc.SendSignal(p.pid, p.pidfd, unix.SIGKILL)
	}
}

// lateProcess is what is killed at the end of the time: whose it is, and what.
type lateProcess struct {
	unit *unit
	role role
}
