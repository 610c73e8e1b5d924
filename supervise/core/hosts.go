package core

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
	"runitbox/supervise/proc"
	"runitbox/supervise/wire"
)

// host is a process that runs log services. It is guarded by hosting.mu.
type host struct {
	pid      int
	ticks    uint64   // its start
	identity string   // "": nobody comes to it any more
	process  *process // that was adopted; nil for a child
	pidfd    int      // of an adopted one, else -1
	units    map[uint32]*unit
	asks     map[uint32]*ask // who waits until it has taken him
	last     uint32          // of those
	quits    bool            // it was told that it has nothing of this core's
	over     bool            // it has ended

	conn  syscall.RawConn // nil while there is no connection
	file  *os.File
	queue []loghost.Message // that there was no room for
}

// place finds a host for a log service, or makes it one: then it is its own.
func (hs *hosting) place(c *Core, a *ask) (own *host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.hosts {
		if h.identity == a.identity && h.conn != nil && !h.over && !h.quits {
			h.take(c, a)
			return nil
		}
	}
	st, found, err := proc.StatOf(a.pid)
	if err != nil || !found || a.reply(loghost.Message{Kind: loghost.Host, Engine: 1}) != nil {
		a.file.Close()
		a.file = nil
		return nil
	}
	a.file.SetReadDeadline(time.Time{})
	h := &host{pid: a.pid, ticks: st.Ticks, identity: a.identity, units: map[uint32]*unit{1: a.unit}, asks: map[uint32]*ask{}, conn: a.conn, file: a.file, pidfd: -1}
	hs.add(h)
	c.procs.setHost(h.pid, func(ws unix.WaitStatus) { c.hostEnded(h, ws) })
	go c.listenTo(h)
	return h
}

// add takes note of a host.
func (hs *hosting) add(h *host) {
	if hs.hosts == nil {
		hs.hosts = map[int]*host{}
	}
	hs.hosts[h.pid] = h
}

// take has the host take a log service. The caller has locked.
func (h *host) take(c *Core, a *ask) {
	h.last++
	id := h.last
	h.asks[id] = a
	h.send(c, loghost.Message{Kind: loghost.Take, Engine: id, Rest: a.m.Rest, FDs: a.m.FDs})
	a.late = time.AfterFunc(answerTime, func() {
		c.hosting.mu.Lock()
		defer c.hosting.mu.Unlock()
		if h.asks[id] == a {
			delete(h.asks, id)
			a.over(false)
		}
	})
}

// over has a log service told that the host has not taken it; again is to have it look for
// another.
func (a *ask) over(again bool) {
	ev := event{kind: evLodged, who: a.unit, pid: a.pid, ask: a}
	if again {
		ev.kind = evAsksHost
	}
	a.unit.svc.post(ev)
}

// tell sends a host a message.
func (hs *hosting) tell(c *Core, h *host, m loghost.Message) {
	if h == nil {
		return
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.send(c, m)
}

// send sends a message, later where the host's socket is full. The caller has locked.
func (h *host) send(c *Core, m loghost.Message) {
	if len(h.queue) == 0 && !waits(h.write(m)) {
		return // what has failed otherwise is told by the end of the connection
	}
	fds := m.FDs
	m.FDs = nil
	for _, fd := range fds { // who asks closes its own
		if copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			m.FDs = append(m.FDs, copied)
		}
	}
	if h.queue = append(h.queue, m); len(h.queue) == 1 && h.conn != nil {
		time.AfterFunc(time.Millisecond, func() { c.sendRest(h) })
	}
}

// waits says whether what could not be sent can be sent later.
func waits(err error) bool { return err == unix.EAGAIN || err == unix.ETOOMANYREFS }

func (h *host) write(m loghost.Message) (err error) {
	if h.conn == nil {
		return unix.EAGAIN
	}
	if e := h.conn.Control(func(fd uintptr) { err = loghost.Write(int(fd), m) }); e != nil {
		return e
	}
	return err
}

// sendRest sends what there was no room for.
func (c *Core) sendRest(h *host) {
	c.hosting.mu.Lock()
	defer c.hosting.mu.Unlock()
	for len(h.queue) > 0 && (h.over || !waits(h.write(h.queue[0]))) {
		loghost.CloseAll(h.queue[0].FDs)
		h.queue = h.queue[1:]
	}
	if len(h.queue) > 0 && h.conn != nil {
		time.AfterFunc(time.Millisecond, func() { c.sendRest(h) })
	}
}

// listenTo hears what a host says.
func (c *Core) listenTo(h *host) {
	conn := h.conn
	for {
		m, err := loghost.Receive(conn)
		if err != nil {
			break
		}
		loghost.CloseAll(m.FDs)
		c.heard(h, m)
	}
	c.hosting.mu.Lock()
	h.file.Close()
	h.conn, h.file = nil, nil
	c.hosting.mu.Unlock()
	c.find(h) // if it has not ended
}

// heard acts on a host's message.
func (c *Core) heard(h *host, m loghost.Message) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	u, a := h.units[m.Engine], h.asks[m.Engine]
	switch m.Kind {
	case loghost.Taken:
		if delete(h.asks, m.Engine); a == nil { // too late
			h.send(c, loghost.Message{Kind: loghost.Send, Engine: m.Number, Number: uint32(unix.SIGKILL)})
			break
		}
		h.units[m.Number] = a.unit
		a.unit.svc.post(event{kind: evLodged, who: a.unit, pid: a.pid, ask: a, host: h, engine: m.Number})
	case loghost.Refused:
		if m.Number != 0 {
			h.identity = ""
		}
		if delete(h.asks, m.Engine); a != nil {
			a.over(m.Number != 0)
		}
	case loghost.End:
		if delete(h.units, m.Engine); u != nil {
			u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: m.Engine, ws: unix.WaitStatus(m.Number)})
		}
	}
	h.letGo(c)
}

// letGo tells a host that has nothing of this core's. The caller has locked.
func (h *host) letGo(c *Core) {
	if len(h.units) == 0 && len(h.asks) == 0 && !h.quits {
		h.quits = true
		h.send(c, loghost.Message{Kind: loghost.Quit})
	}
}

// moveOut has a host forget an engine that does not run.
func (hs *hosting) moveOut(c *Core, h *host, engine uint32) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(h.units, engine)
	h.send(c, loghost.Message{Kind: loghost.Send, Engine: engine, Number: uint32(unix.SIGKILL)})
	h.letGo(c)
}

// hostEnded tells all log services of a host that it has ended.
func (c *Core) hostEnded(h *host, ws unix.WaitStatus) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.over = true
	if hs.hosts[h.pid] == h {
		delete(hs.hosts, h.pid)
	}
	for _, a := range h.asks {
		a.late.Stop()
		a.over(true)
	}
	for id, u := range h.units {
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: id, ws: ws})
	}
	for _, m := range h.queue {
		loghost.CloseAll(m.FDs)
	}
	h.units, h.asks, h.queue = nil, nil, nil
	if h.pidfd >= 0 {
		c.poller.close(h.pidfd)
		h.pidfd = -1
	}
	if h.process != nil {
		c.procs.recorded(h.process)
	}
}

// claim is the host that the record of a log service names, when an earlier core has
// left it.
func (c *Core) claim(u *unit, was *priorState) *host {
	id := uint32(was.record.Status)
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.hosts[was.record.PID]
	if h == nil && was.there {
		h = &host{pid: was.record.PID, ticks: was.record.Ticks, units: map[uint32]*unit{}, asks: map[uint32]*ask{}, pidfd: was.pidfd}
		if h.process = c.procs.adoptHost(h.pid, h.pidfd, func(ws unix.WaitStatus) { c.hostEnded(h, ws) }); h.process == nil {
			return nil
		}
		was.pidfd = -1
		if h.pidfd < 0 || c.poller.watch(h.pidfd, watch{unit: u, proc: h.process}, unix.EPOLLIN|unix.EPOLLET) != nil {
			c.lookAfter(h.process, was.record)
		}
		hs.add(h)
		go c.find(h)
	}
	if h == nil || h.over || h.ticks != was.record.Ticks {
		return nil
	}
	h.units[id], h.quits = u, false
	if h.conn != nil {
		h.send(c, loghost.Message{Kind: loghost.Claim, Engine: id})
	}
	return h
}

// rejoinTime is how long a host that lives may be without a connection.
const rejoinTime = 10 * time.Second

// find connects to a host that an earlier core has left, or that has lost the connection.
// One that cannot be told anything is killed.
func (c *Core) find(h *host) {
	for begin := time.Now(); time.Since(begin) < rejoinTime; time.Sleep(20 * time.Millisecond) {
		user, known := loghost.User(h.pid)
		fd, _, ok := loghost.Meet(h.pid, loghost.AtHost, func(id uint32) bool { return known && id == user })
		if ok && c.rejoin(h, fd) {
			return
		}
		c.hosting.mu.Lock()
		over := h.over
		c.hosting.mu.Unlock()
		if over {
			return
		}
	}
	c.procs.killHost(h.pid)
}

// rejoin claims of a host what is this core's, over a new connection.
func (c *Core) rejoin(h *host, fd int) bool {
	st, found, err := proc.StatOf(h.pid)
	id, _, _ := loghost.Identity(h.pid)
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h.over || err != nil || !found || st.Ticks != h.ticks {
		unix.Close(fd)
		return false
	}
	h.file, h.conn = wire.InPoller(fd, "host")
	h.identity = id
	queue := h.queue
	h.queue = nil
	for id := range h.units {
		h.send(c, loghost.Message{Kind: loghost.Claim, Engine: id})
	}
	for _, m := range queue {
		h.send(c, m)
		loghost.CloseAll(m.FDs)
	}
	go c.listenTo(h)
	return true
}

// adoptHost takes in a host that an earlier core has left.
func (ps *processes) adoptHost(pid, pidfd int, ended func(unix.WaitStatus)) *process {
	p := ps.adopt(pid, pidfd, nil, isRun)
	if p != nil {
		ps.setHost(pid, ended)
	}
	return p
}

// setHost says that a process is a host, and who is told of its end.
func (ps *processes) setHost(pid int, ended func(unix.WaitStatus)) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[pid]; p != nil {
		if p.host = ended; p.over {
			go ended(p.ws)
		}
	}
}

// killHost kills a process, if it is a host.
func (ps *processes) killHost(pid int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[pid]; p != nil && !p.over && p.host != nil {
		proc.SendSignal(pid, p.pidfd, unix.SIGKILL)
	}
}
