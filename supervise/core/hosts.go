package core

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// host is a process that runs log services. It is guarded by hosting.mu.
type host struct {
	hosting  *hosting
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

	file  *os.File // the connection; nil while there is none
	fd    int      // its descriptor, which does not wait
	queue []loghost.Message
	later bool // they are sent soon, since there was no room
}

// place finds a host for a log service, or makes it one: then it is its own. It is told
// neither to wait nor that it hosts where it cannot be looked at or heard.
func (hs *hosting) place(c *Core, a *ask) (own *host, hosts bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.hosts {
		if h.identity == a.identity && h.file != nil && !h.over && !h.quits {
			h.last++
			h.asks[h.last] = a
			h.send(loghost.Take, h.last, 0)
			return nil, true
		}
	}
	st, found, err := proc.StatOf(a.pid)
	if err != nil || !found || a.settled {
		a.answer(loghost.Stay)
		return nil, false
	}
	if !a.answer(loghost.Host) {
		return nil, false
	}
	h := hs.add(a.pid, st.Ticks)
	h.identity, h.units[loghost.First] = a.identity, a.unit
	c.procs.setHost(h.pid, func(ws unix.WaitStatus) { c.hostEnded(h, ws) })
	c.connect(h, a.file, a.fd)
	return h, true
}

// add takes note of a host. The caller has locked.
func (hs *hosting) add(pid int, ticks uint64) *host {
	if hs.hosts == nil {
		hs.hosts = map[int]*host{}
	}
	h := &host{hosting: hs, pid: pid, ticks: ticks, units: map[uint32]*unit{}, asks: map[uint32]*ask{}, pidfd: -1}
	hs.hosts[pid] = h
	return h
}

// connect has a host heard over a connection. The caller has locked.
func (c *Core) connect(h *host, file *os.File, fd int) {
	h.file, h.fd = file, fd
	file.SetReadDeadline(time.Time{})
	conn, err := file.SyscallConn()
	go func() {
		if err == nil {
			loghost.Each(conn, h.heard)
		}
		c.hosting.mu.Lock()
		h.file.Close()
		h.file = nil
		c.hosting.mu.Unlock()
		c.find(h) // if it has not ended
	}()
}

// tell tells a host something of an engine.
func (hs *hosting) tell(h *host, kind byte, engine, number uint32) {
	if h == nil {
		return
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.send(kind, engine, number)
}

// send is tell. The caller has locked.
func (h *host) send(kind byte, engine, number uint32) {
	h.queue = append(h.queue, loghost.Message{Kind: kind, Engine: engine, Number: number})
	if !h.later {
		h.flush()
	}
}

// flush sends what the host is to be told, as long as there is room for it in its socket.
// What has failed otherwise is told by the end of the connection. The caller has locked.
func (h *host) flush() {
	for ; h.file != nil && len(h.queue) > 0; h.queue = h.queue[1:] {
		m := h.queue[0]
		if m.Kind == loghost.Take {
			a := h.asks[m.Engine]
			if a == nil { // it has given up to wait
				continue
			}
			m.Texts, m.FDs = a.m.Texts, a.m.FDs
		}
		if err := loghost.Write(h.fd, m); err != unix.EAGAIN && err != unix.ETOOMANYREFS {
			continue
		}
		h.later = true
		time.AfterFunc(time.Millisecond, func() {
			h.hosting.mu.Lock()
			defer h.hosting.mu.Unlock()
			h.later = false
			h.flush()
		})
		return
	}
}

// heard acts on a host's message.
func (h *host) heard(m loghost.Message) {
	sys.CloseAll(m.FDs)
	h.hosting.mu.Lock()
	defer h.hosting.mu.Unlock()
	u, a := h.units[m.Engine], h.asks[m.Engine]
	switch {
	case m.Kind == loghost.End && u != nil:
		delete(h.units, m.Engine)
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: m.Engine, ws: unix.WaitStatus(m.Number)})
	case m.Kind == loghost.Taken && a == nil: // who has given up to wait
		h.send(loghost.Send, m.Number, uint32(unix.SIGKILL))
	case m.Kind == loghost.End, a == nil:
	case m.Kind == loghost.Taken:
		h.units[m.Number] = a.unit
		a.unit.svc.post(event{kind: evLodged, who: a.unit, pid: a.pid, ask: a, host: h, engine: m.Number})
		delete(h.asks, m.Engine)
	case m.Kind == loghost.Refused:
		next := event{kind: evLodged, who: a.unit, pid: a.pid, ask: a}
		if m.Number != 0 {
			h.identity, next.kind = "", evAsksHost
		}
		a.unit.svc.post(next)
		delete(h.asks, m.Engine)
	}
	h.letGo()
}

// giveUp has a log service that no host has taken in time wait no longer: its process has
// stopped to.
func (hs *hosting) giveUp(a *ask) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.hosts {
		for id, asks := range h.asks {
			if asks == a {
				delete(h.asks, id)
				a.unit.svc.post(event{kind: evLodged, who: a.unit, pid: a.pid, ask: a})
			}
		}
	}
}

// letGo tells a host that has nothing of this core's. The caller has locked.
func (h *host) letGo() {
	if len(h.units) == 0 && len(h.asks) == 0 && !h.quits {
		h.quits = true
		h.send(loghost.Quit, 0, 0)
	}
}

// moveOut has a host forget an engine that does not run.
func (hs *hosting) moveOut(h *host, engine uint32) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(h.units, engine)
	h.send(loghost.Send, engine, uint32(unix.SIGKILL))
	h.letGo()
}

// hostEnded tells all log services of a host that it has ended; who wanted to be there
// looks for another.
func (c *Core) hostEnded(h *host, ws unix.WaitStatus) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.over = true
	if hs.hosts[h.pid] == h {
		delete(hs.hosts, h.pid)
	}
	for _, a := range h.asks {
		a.unit.svc.post(event{kind: evAsksHost, who: a.unit, pid: a.pid, ask: a})
	}
	for id, u := range h.units {
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: id, ws: ws})
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
		h = hs.add(was.record.PID, was.record.Ticks)
		h.pidfd = was.pidfd
		if h.process = c.procs.adopt(h.pid, h.pidfd, nil, isRun); h.process == nil {
			delete(hs.hosts, h.pid)
			return nil
		}
		c.procs.setHost(h.pid, func(ws unix.WaitStatus) { c.hostEnded(h, ws) })
		was.pidfd = -1
		if h.pidfd < 0 || c.poller.watch(h.pidfd, watch{unit: u, proc: h.process}, unix.EPOLLIN|unix.EPOLLET) != nil {
			c.lookAfter(h.process, was.record)
		}
		go c.find(h)
	}
	if h == nil || h.over || h.ticks != was.record.Ticks {
		return nil
	}
	h.units[id], h.quits = u, false
	if h.file != nil {
		h.send(loghost.Claim, id, 0)
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

// rejoin claims of a host what is this core's, over a new connection, if it is that host's.
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
	file, _ := wire.InPoller(fd, "host")
	h.identity = id
	queue := h.queue
	h.queue = nil
	for id := range h.units {
		h.queue = append(h.queue, loghost.Message{Kind: loghost.Claim, Engine: id})
	}
	h.queue = append(h.queue, queue...)
	c.connect(h, file, fd)
	h.flush()
	return true
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
