package core

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// Log services share processes: see package loghost. The core stands between: it alone
// takes connections, each from the process of a log service that it knows, and it alone
// talks to hosts. What may come to the same host is said by identity, which the kernel
// tells.

// hosting is what the core knows of hosts.
type hosting struct {
	mu     sync.Mutex
	shares bool          // log services are to share processes
	settle Settle        // nil: each link to rsvlog does so itself
	hosts  map[int]*host // by pid
	heard  map[int]bool  // the children who are just heard
	seats  seats
	inputs map[int]map[uint64]string // the pipes that a host of an earlier core has open, by inode
}

// lodging is what a log service has of a host.
type lodging struct {
	ask    *ask   // it asks for one
	host   *host  // it runs there; the unit's pid is the host's then
	engine uint32 // and this is its number there
}

// ask is the question of a log service's process, and what came along.
type ask struct {
	unit     *unit
	pid      int
	identity string
	file     *os.File // the connection
	fd       int      // its descriptor, which does not wait
	m        loghost.Message
	settled  bool // it is a link to rsvlog, and cannot be a host as it is
	spoiled  bool // a signal was sent to the process meanwhile, which it may have heeded
	seat     *seat
}

// Settle is told the working directory, arguments and environment of a process that is a link
// to rsvlog and may do to files what this one may. It does what that would, and tells the
// options that svlogd gets, and who it is to be: nil is who it is. Where that is not plain, or
// there is anything to be said, ok is false: the process does it again.
type Settle func(dir int, args, env []string) (options []string, owner *loghost.Owner, ok bool)

// answerTime is how long a process may take to say what it wants.
const answerTime = 2 * time.Second

// shareLogs has log services and hosts find this core. Where no address is to be had all
// log services stay processes of their own.
func (c *Core) shareLogs() {
	if fd := loghost.Listen(loghost.AtCore); fd >= 0 {
		c.private = append(c.private, fd)
		c.hosting.seats.open(&c.descriptors)
		go loghost.Accept(fd, c.greet)
	}
}

// greet listens to a process that has connected, if it is a child of this one, and not the
// socket of another that had its number before. A child is heard once of each kind, so that
// none can keep this process busy.
func (c *Core) greet(fd int, peer *unix.Ucred) bool {
	pid, hs := int(peer.Pid), &c.hosting
	st, found, err := proc.StatOf(pid)
	if err != nil || !found || st.PPID != os.Getpid() || c.procs.hasAsked(pid) {
		return false
	}
	if user, known := loghost.User(pid); !known || user != peer.Uid {
		return false
	}
	seat := hs.seats.take()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.heard[pid] {
		seat.leave()
		return false
	}
	if hs.heard == nil {
		hs.heard = map[int]bool{}
	}
	hs.heard[pid] = true
	go c.hear(fd, pid, seat)
	return true
}

// hear hears what a child asks, and has its service answer.
func (c *Core) hear(fd, pid int, seat *seat) {
	file, conn := wire.InPoller(fd, "ask")
	file.SetReadDeadline(time.Now().Add(answerTime))
	m, err := loghost.Receive(conn)
	a := &ask{unit: c.procs.logService(pid, m.Kind), pid: pid, file: file, fd: fd, m: m, seat: seat}
	seat.whenLate(func() { c.hosting.giveUp(a) })
	c.hosting.mu.Lock()
	delete(c.hosting.heard, pid) // before it is answered: it may ask again at once
	c.hosting.mu.Unlock()
	if err == nil && !loghost.IsGone(fd) && (m.Kind == loghost.Ask || m.Kind == loghost.Settle) && a.unit != nil && c.files != nil && loghost.Fits(m.FDs) {
		id, files, known := loghost.Identity(pid)
		a.identity = id
		switch {
		case !known || files != c.files.Cur:
		case m.Kind == loghost.Ask:
			a.post()
			return
		case c.hosting.maySettle(a):
			c.pool.runFirst(func(*worker) { c.settle(a) })
			return
		}
	}
	a.answer(loghost.Stay)
}

// post has the service hear what is asked.
func (a *ask) post() {
	a.unit.svc.post(event{kind: evAsksHost, who: a.unit, pid: a.pid, ask: a})
}

// maySettle says whether to settle what a link to rsvlog does, in its place: if somebody may
// take its log then, and nothing is being settled for that service yet, which may hang.
func (hs *hosting) maySettle(a *ask) bool {
	if hs.settle == nil || !loghost.IsOurs(a.identity) {
		return false
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.hosts) > 0 && a.unit.settling.CompareAndSwap(false, true)
}

// settle does so. From then on it is as if a svlogd of the owner's had asked.
func (c *Core) settle(a *ask) {
	defer a.unit.svc.crash()
	defer a.unit.settling.Store(false)
	args, env, err := loghost.Unpack(a.m.Texts)
	if err == nil {
		options, owner, ok := c.hosting.settle(a.m.FDs[1], args, env)
		if ok {
			if owner != nil {
				a.identity = owner.Identity(a.identity)
			}
			a.m.Texts, a.settled = loghost.Pack(options, env), true
			a.post()
			return
		}
	}
	a.answer(loghost.Stay)
}

// hasAsked says whether a child has asked for a host as svlogd, or too often.
func (ps *processes) hasAsked(pid int) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[pid]
	return p != nil && p.heard == finally
}

// A child that has been heard once, to settle something, may ask as svlogd yet.
const (
	once = 1 + iota
	finally
)

// logService is the log service whose ./run the child is, which has asked now: what it may
// ask. It may be so young that this is not known yet.
func (ps *processes) logService(pid int, kind byte) *unit {
	for range 200 {
		ps.mu.Lock()
		p, soon := ps.known[pid], ps.expecting > 0
		again := false
		if p != nil {
			again = p.heard != 0 && kind == loghost.Settle
			if p.heard = finally; kind == loghost.Settle && !again {
				p.heard = once
			}
		}
		if p != nil && (again || p.adopted || p.over || p.role != isRun || p.unit == nil || p.unit.prefix == "") {
			p, soon = nil, false
		}
		var u *unit
		if p != nil {
			u = p.unit
		}
		ps.mu.Unlock()
		if u != nil || !soon {
			return u
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// answer answers, and lets go of what came along and, unless the process is a host from
// now on, of the connection. It says whether that was heard.
func (a *ask) answer(kind byte) bool {
	sys.CloseAll(a.m.FDs)
	a.m.FDs = nil
	heard := a.say(kind)
	if kind != loghost.Host || !heard {
		a.file.Close()
	}
	a.seat.leave()
	return heard
}

// say tells the process that asks.
func (a *ask) say(kind byte) bool {
	return loghost.Write(a.fd, loghost.Message{Kind: kind}) == nil
}

// asksHost has a log service hosted, if that may be.
func (s *service) asksHost(a *ask) {
	u := a.unit
	switch {
	case s.log == u && u.st.Phase == machine.Starting && s.ordered > 0 && u.lodging == nil: // it is not told yet that it runs
		u.lodging = &lodging{ask: a}
	case !u.mayLodge(a) || u.lodging != nil && u.lodging.ask != a || !s.piped || !loghost.SamePipe(s.pipe[0], a.m.FDs[0]):
		a.answer(loghost.Stay)
	default:
		u.lodging = &lodging{ask: a}
		switch h, hosts := s.core.hosting.place(s.core, a); {
		case h != nil:
			s.lodge(u, h, loghost.First)
		case !hosts: // it was told to stay by itself
			u.lodging = nil
		}
	}
}

// mayLodge says whether the log service may run in a host: its process is the one that
// has asked, and nothing was said of it that is about a process of its own.
func (u *unit) mayLodge(a *ask) bool {
	return u.svc.log == u && u.pid == a.pid && !a.spoiled && u.st.Phase == machine.Running && !u.st.Paused && !u.st.Termed &&
		u.policy == nil && !u.grouped && u.notify == 0 && u.talk == nil && !u.svc.dir.Has("log/own-process")
}

// nowRuns has what the log service has asked for done when it is told to run, or not to.
func (s *service) nowRuns(u *unit) {
	if u.lodging == nil || u.lodging.host != nil {
		return
	}
	a := u.lodging.ask
	u.lodging = nil
	s.asksHost(a)
}

// lodged takes note that a host has a log service, whose process may end then, or that it
// has not.
func (s *service) lodged(ev event) {
	u, a, h := ev.who, ev.ask, ev.host
	asks := u.lodging != nil && u.lodging.ask == a
	if h != nil && asks && u.mayLodge(a) && a.say(loghost.Soon) {
		s.lodge(u, h, ev.engine)
		if a.answer(loghost.Go) {
			s.core.hosting.tell(h, loghost.Run, ev.engine, 0)
			return
		}
		st, _, _ := proc.StatOf(a.pid) // it has given up to wait, and runs by itself after all
		s.runsIn(u, state.ProcRun, a.pid, st.Ticks, 0)
	} else {
		a.answer(loghost.Stay)
	}
	if asks {
		u.lodging = nil
	}
	if h != nil {
		s.core.hosting.moveOut(h, ev.engine)
	}
}

// lodge records who runs a log service.
func (s *service) lodge(u *unit, h *host, engine uint32) {
	u.lodging = &lodging{host: h, engine: engine}
	s.runsIn(u, state.ProcHosted, h.pid, h.ticks, engine)
}

func (s *service) runsIn(u *unit, word string, pid int, ticks uint64, engine uint32) {
	u.pid = pid
	u.records.Lock()
	l := u.rec
	u.records.Unlock()
	l.Word, l.PID, l.Ticks, l.Status = word, pid, ticks, unix.WaitStatus(engine)
	s.record(u, l)
	u.write()
}

// engine is the number under which a host runs the unit; 0 for a process of its own.
func (u *unit) engine() uint32 {
	if u.lodging == nil || u.lodging.host == nil {
		return 0
	}
	return u.lodging.engine
}

// sendHosted does to a hosted log service what a signal does to a process; ok is false for
// one that has a process of its own.
func (u *unit) sendHosted(sig unix.Signal) (ok bool) {
	switch l := u.lodging; {
	case !loghost.Built, l == nil:
		return false
	case l.host == nil:
		l.ask.spoiled = true
		return false
	default:
		if sig == unix.SIGCONT || sig == unix.SIGKILL { // they count for one that somebody has stopped, too
			proc.SendSignal(l.host.pid, u.pidfd, unix.SIGCONT)
		}
		u.svc.core.hosting.tell(l.host, loghost.Send, l.engine, uint32(sig))
		return true
	}
}

// restoreHosted has a log service go on in its host, if that is there.
func (s *service) restoreHosted(u *unit, was *priorState) {
	h := s.core.claim(u, was)
	if h == nil {
		return
	}
	u.lodging = &lodging{host: h, engine: uint32(was.record.Status)}
	u.pid = h.pid
	was.there = false
	u.replaced = was.verdict.stop
	u.seenAs(was)
}

// refuse answers an ask that nobody will act on, and has a host that has taken it forget it.
func (ev event) refuse() {
	if !loghost.Built || ev.ask == nil {
		return
	}
	go func() {
		ev.ask.answer(loghost.Stay)
		if ev.host != nil {
			ev.who.svc.core.hosting.moveOut(ev.host, ev.engine)
		}
	}()
}

// inputOf is the descriptor by which a host of an earlier core reads the pipe of a log
// service, "" where it has it no more. All are looked for at once, since there may be many.
func (hs *hosting) inputOf(l state.Process) string {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if fd := hs.inputs[l.PID][l.Pipe]; fd != "" {
		if ino, ok := pipeAt(l.PID, fd); ok && ino == l.Pipe {
			return fd
		}
	}
	if hs.inputs == nil {
		hs.inputs = map[int]map[uint64]string{}
	}
	pipes := map[uint64]string{}
	entries, _ := os.ReadDir("/proc/" + strconv.Itoa(l.PID) + "/fd")
	for _, e := range entries {
		if ino, ok := pipeAt(l.PID, e.Name()); ok {
			pipes[ino] = e.Name()
		}
	}
	hs.inputs[l.PID] = pipes
	return pipes[l.Pipe]
}

// pipeAt is the inode of the pipe that a process has as a descriptor.
func pipeAt(pid int, fd string) (ino uint64, ok bool) {
	to, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + fd)
	number, ok := strings.CutPrefix(strings.TrimSuffix(to, "]"), "pipe:[")
	if err != nil || !ok {
		return 0, false
	}
	ino, err = strconv.ParseUint(number, 10, 64)
	return ino, err == nil
}
