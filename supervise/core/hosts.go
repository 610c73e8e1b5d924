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
	ticks    uint64 // its start
	identity string
	process  *process // that was adopted; nil for a child
	pidfd    int      // of an adopted one, else -1
	units    map[uint32]*unit
	last     uint32 // engine
	over     bool
	asks     map[uint32]*ask // who waits for an engine to be taken

	// What it has told of when it introduced itself.
	has   map[uint32]bool
	ended map[uint32]unix.WaitStatus

	conn  syscall.RawConn // nil while it has not introduced itself to this core
	file  *os.File
	queue []loghost.Message // that there was no room for
}

// place finds a host for a log service, or makes it one: then it is its own.
func (hs *hosting) place(c *Core, a *ask) (own *host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.hosts {
		if h.identity == a.identity && h.conn != nil && !h.over {
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
	h := &host{pid: a.pid, ticks: st.Ticks, identity: a.identity, units: map[uint32]*unit{1: a.unit}, asks: map[uint32]*ask{}, last: 1, conn: a.conn, file: a.file, pidfd: -1}
	a.file.SetReadDeadline(time.Time{})
	hs.hosts[h.pid] = h
	c.procs.setHost(h.pid, func(ws unix.WaitStatus) { c.hostEnded(h, ws) })
	go c.listenTo(h)
	return h
}

// take has the host take a log service. The caller has locked.
func (h *host) take(c *Core, a *ask) {
	h.last++
	id := h.last
	h.units[id], h.asks[id] = a.unit, a
	h.send(c, loghost.Message{Kind: loghost.Take, Engine: id, Rest: a.m.Rest, FDs: a.m.FDs})
	a.late = time.AfterFunc(answerTime, func() {
		c.hosting.mu.Lock()
		defer c.hosting.mu.Unlock()
		if h.asks[id] == a {
			h.refuse(c, id)
			h.send(c, loghost.Message{Kind: loghost.Send, Engine: id, Number: uint32(unix.SIGKILL)})
		}
	})
}

// refuse has a log service stay by itself that the host has not taken. The caller has
// locked.
func (h *host) refuse(c *Core, id uint32) {
	a := h.asks[id]
	delete(h.asks, id)
	delete(h.units, id)
	a.unit.svc.post(event{kind: evLodged, who: a.unit, pid: a.pid, ask: a})
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
	for {
		m, err := loghost.Receive(h.conn)
		if err != nil {
			break
		}
		loghost.CloseAll(m.FDs)
		c.heard(h, m)
	}
	h.file.Close()
	c.procs.killHost(h.pid) // if it has not ended: nobody can tell it anything any more
}

// heard acts on a host's message.
func (c *Core) heard(h *host, m loghost.Message) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	u, a := h.units[m.Engine], h.asks[m.Engine]
	switch {
	case u == nil:
	case m.Kind == loghost.Taken && a != nil:
		delete(h.asks, m.Engine)
		u.svc.post(event{kind: evLodged, who: u, pid: a.pid, ask: a, host: h, engine: m.Engine})
	case m.Kind == loghost.End && a != nil: // it could not take it
		h.refuse(c, m.Engine)
	case m.Kind == loghost.End:
		delete(h.units, m.Engine)
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: m.Engine, ws: unix.WaitStatus(m.Number)})
	}
	if len(h.units) == 0 && !h.over {
		h.over = true
		h.send(c, loghost.Message{Kind: loghost.Quit})
	}
}

// hostEnded tells all log services of a host that it has ended.
func (c *Core) hostEnded(h *host, ws unix.WaitStatus) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.over = true
	delete(hs.hosts, h.pid)
	for id, u := range h.units {
		if h.asks[id] != nil {
			h.refuse(c, id)
			continue
		}
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: id, ws: ws})
	}
	h.units = nil
	for _, m := range h.queue {
		loghost.CloseAll(m.FDs)
	}
	h.queue = nil
	if h.pidfd >= 0 {
		c.poller.close(h.pidfd)
		h.pidfd = -1
	}
	if h.process != nil {
		c.procs.recorded(h.process)
	}
}

// rejoinTime is how long a host may take to introduce itself to a core that follows
// another.
const rejoinTime = 10 * time.Second

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
		if hs.hosts == nil {
			hs.hosts = map[int]*host{}
		}
		hs.hosts[h.pid] = h
		go c.find(h)
	}
	if h == nil || h.over || h.ticks != was.record.Ticks {
		return nil
	}
	h.units[id] = u
	h.last = max(h.last, id)
	if h.conn != nil {
		h.settle(id, u)
	}
	return h
}

// settle tells a log service that its host has told that it has it no more. The caller
// has locked.
func (h *host) settle(id uint32, u *unit) {
	if h.has[id] {
		return
	}
	ws, told := h.ended[id]
	if !told {
		ws = statusUnknown
	}
	delete(h.units, id)
	u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: id, ws: ws})
}

// find connects to a host that an earlier core has left. One that cannot be told
// anything is killed.
func (c *Core) find(h *host) {
	for begin := time.Now(); time.Since(begin) < rejoinTime; time.Sleep(20 * time.Millisecond) {
		if fd, _, ok := loghost.Meet(h.pid, loghost.AtHost); ok {
			c.rejoin(fd, h)
		}
		c.hosting.mu.Lock()
		done := h.conn != nil || h.over
		c.hosting.mu.Unlock()
		if done {
			return
		}
	}
	c.procs.killHost(h.pid)
}

// rejoin hears which engines a host has that an earlier core has left.
func (c *Core) rejoin(fd int, h *host) {
	file, conn := wire.InPoller(fd, "host")
	file.SetReadDeadline(time.Now().Add(answerTime))
	has, ended := map[uint32]bool{}, map[uint32]unix.WaitStatus{}
	last := uint32(0)
	for all := false; !all; {
		m, err := loghost.Receive(conn)
		if err != nil {
			file.Close()
			return
		}
		loghost.CloseAll(m.FDs)
		last = max(last, m.Engine)
		switch m.Kind {
		case loghost.Has:
			has[m.Engine] = true
		case loghost.End:
			ended[m.Engine] = unix.WaitStatus(m.Number)
		case loghost.All:
			all = true
		}
	}
	file.SetReadDeadline(time.Time{})
	st, found, err := proc.StatOf(h.pid)
	id, _, _ := loghost.Identity(h.pid) // "" where it is not known: nobody comes to it any more
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var unsent error
	if e := conn.Control(func(fd uintptr) { unsent = loghost.Write(int(fd), loghost.Message{Kind: loghost.Host}) }); e != nil {
		unsent = e
	}
	if h.over || h.conn != nil || err != nil || !found || st.Ticks != h.ticks || unsent != nil {
		file.Close()
		return
	}
	h.file, h.conn, h.identity, h.has, h.ended, h.last = file, conn, id, has, ended, max(h.last, last)
	for id, u := range h.units {
		h.settle(id, u)
	}
	if len(h.queue) > 0 {
		time.AfterFunc(0, func() { c.sendRest(h) })
	}
	go c.listenTo(h)
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
