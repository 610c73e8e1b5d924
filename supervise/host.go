package supervise

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
)

// Log services share processes. One that is started, and becomes svlogd in the end,
// asks the core whether a log service of the same identity runs already in this tree;
// if so it gives its descriptors, arguments and environment to that, the host, and
// ends: it goes on as an engine of the host. Otherwise it becomes one. So a host is
// the process of a log service like any other, and its end is the end of all that it
// runs.
//
// The core stands between: it alone takes connections, each from the process of a log
// service that it knows, and it alone talks to hosts. What may come to the same host is
// said by identity, which the kernel tells.

// host is one that the core has a line to, or waits for.
type host struct {
	pid      int
	ticks    uint64 // its start
	identity string
	process  *process // that it has adopted; nil for a child
	units    map[uint32]*unit
	last     uint32 // engine
	over     bool
	asks     map[uint32]*ask // who waits for an engine to be taken
	pidfd    int             // of an adopted one, else -1

	// What it has told of when it introduced itself.
	has   map[uint32]bool
	ended map[uint32]unix.WaitStatus

	conn  syscall.RawConn // nil while it has not introduced itself to this core
	file  *os.File
	queue []wireMessage // that there was no room for
}

// hosting is what the core knows of hosts.
type hosting struct {
	mu    sync.Mutex
	hosts map[int]*host // by pid
	open  bool
	turns chan struct{} // of those who are heard
}

// listenForHosts has log services and hosts find this core. Where no address is to be
// had all log services stay processes of their own.
func (c *Core) listenForHosts() {
	c.hosting.hosts, c.hosting.turns = map[int]*host{}, make(chan struct{}, 1)
	if fd := listenAt(meetings(os.Getpid())); fd >= 0 {
		c.private = append(c.private, fd)
		c.hosting.open = true
		go c.accept(fd)
	}
}

// listenAt listens at the first of these addresses that is free.
func listenAt(names []string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	for _, name := range names {
		if unix.Bind(fd, &unix.SockaddrUnix{Name: name}) == nil && unix.Listen(fd, 1024) == nil {
			return fd
		}
	}
	unix.Close(fd)
	return -1
}

// strangerRest is how long nobody is listened to after somebody has connected who is
// none of this tree: they get no more of this process's time than that.
const strangerRest = 20 * time.Millisecond

// accept takes connections.
func (c *Core) accept(listener int) {
	_, conn := keepInPoller(listener, "hosts")
	for {
		fd := -1
		var err error
		if e := conn.Read(func(l uintptr) bool {
			fd, _, err = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		if err != nil {
			time.Sleep(strangerRest)
			continue
		}
		cred, err := credOf(fd)
		switch {
		case err != nil, !c.greet(fd, int(cred.Pid)):
			unix.Close(fd)
			time.Sleep(strangerRest)
		}
	}
}

// pollers keeps the files of keepInPoller, which would be closed if nobody had them.
var pollers struct {
	sync.Mutex
	files []*os.File
}

// keepInPoller is inPoller for a descriptor that stays open.
func keepInPoller(fd int, name string) (*os.File, syscall.RawConn) {
	file, conn := inPoller(fd, name)
	pollers.Lock()
	defer pollers.Unlock()
	pollers.files = append(pollers.files, file)
	return file, conn
}

// greet listens to a process that has connected, if it is one of this tree's.
func (c *Core) greet(fd, pid int) bool {
	for range 50 { // it may be younger than what is known of it
		u, making := c.procs.logger(pid)
		if u != nil {
			go c.hearAsk(fd, pid, u)
			return true
		}
		if !making {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// logger is the log service whose ./run pid is; making says that more may be known soon.
func (ps *processes) logger(pid int) (u *unit, making bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[pid]; p != nil && !p.adopted && !p.over && p.role == isRun && p.unit != nil && p.unit.prefix != "" {
		return p.unit, false
	}
	return nil, ps.places > 0
}

// askTime is how long a process may take to say what it wants.
const askTime = 2 * time.Second

// hearAsk hears what the process of a log service asks, and has its service answer.
func (c *Core) hearAsk(fd, pid int, u *unit) {
	c.hosting.turns <- struct{}{} // one at a time: what it takes, the next can use
	defer func() { <-c.hosting.turns }()
	file, conn := inPoller(fd, "asks")
	file.SetReadDeadline(time.Now().Add(askTime))
	var m wireMessage
	var err error
	if e := conn.Read(func(fd uintptr) bool {
		m, err = receivePassing(int(fd), unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	}); e != nil {
		err = e
	}
	a := &ask{pid: pid, file: file, conn: conn, m: m}
	if err != nil || m.kind != wireAsk || len(m.fds) != 3 || !isPipe(m.fds[0]) || !isDir(m.fds[1]) {
		a.answer(wireMessage{kind: wireStay})
		return
	}
	var known bool
	var files uint64
	if a.identity, files, known = sameness(pid); !known || c.files == nil || files != c.files.Cur {
		a.answer(wireMessage{kind: wireStay})
		return
	}
	u.svc.post(event{kind: evAsked, who: u, pid: pid, ask: a})
}

// ask is the question of a log service's process, and what came along.
type ask struct {
	pid      int
	identity string
	file     *os.File
	conn     syscall.RawConn
	m        wireMessage
	kept     bool // the connection goes on
}

// answer answers and lets go of what came along.
func (a *ask) answer(m wireMessage) (err error) {
	closeAll(a.m.fds)
	a.m.fds = nil
	if e := a.conn.Control(func(fd uintptr) { err = sendWire(int(fd), m) }); e != nil {
		err = e
	}
	if !a.kept {
		a.file.Close()
	}
	return err
}

// asked has a log service hosted, if that may be. Its service's owner calls it.
func (s *service) asked(ev event) {
	u, a := ev.who, ev.ask
	if s.log == u && u.st.Phase == Starting && s.ordered > 0 { // it is not told yet that it runs
		time.AfterFunc(time.Millisecond, func() { s.post(ev) })
		return
	}
	if s.log != u || u.pid != a.pid || u.st.Phase != Running || u.host != nil || !s.piped ||
		inode(true, a.m.fds[0]) != inode(true, s.pipe[0]) || s.dir.has("log/own-process") {
		a.answer(wireMessage{kind: wireStay})
		return
	}
	if h := s.core.hosting.place(s.core, u, a); h != nil {
		s.setHost(u, h, 1)
	}
}

// place finds a host for a log service, or makes it one: then it is its own.
func (hs *hosting) place(c *Core, u *unit, a *ask) (own *host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.hosts {
		if h.identity == a.identity && h.conn != nil && !h.over {
			h.last++
			h.units[h.last] = u
			h.send(c, wireMessage{kind: wireTake, engine: h.last, rest: a.m.rest, fds: a.m.fds})
			h.pending(h.last, a)
			return nil
		}
	}
	h := &host{pid: a.pid, identity: a.identity, units: map[uint32]*unit{1: u}, last: 1, conn: a.conn, file: a.file, pidfd: -1}
	if st, found, err := proc.StatOf(a.pid); err != nil || !found {
		a.answer(wireMessage{kind: wireStay})
		return nil
	} else {
		h.ticks = st.Ticks
	}
	a.kept = true
	if a.answer(wireMessage{kind: wireHost, engine: 1}) != nil {
		a.file.Close()
		return nil
	}
	a.file.SetReadDeadline(time.Time{})
	hs.hosts[h.pid] = h
	c.procs.hosts(h.pid, c, h)
	go c.listen(h)
	return h
}

// pending notes who has asked for an engine that the host is to take. The caller has
// locked.
func (h *host) pending(engine uint32, a *ask) {
	if h.asks == nil {
		h.asks = map[uint32]*ask{}
	}
	h.asks[engine] = a
}

// send sends a message, later where the host's socket is full. The caller has locked.
func (h *host) send(c *Core, m wireMessage) {
	if len(h.queue) == 0 && h.write(m) != unix.EAGAIN {
		return // what has failed otherwise is told by the end of the connection
	}
	if h.queue = append(h.queue, m); len(h.queue) == 1 {
		go func() {
			for more := true; more; {
				time.Sleep(time.Millisecond)
				c.hosting.mu.Lock()
				for len(h.queue) > 0 && h.write(h.queue[0]) != unix.EAGAIN {
					h.queue = h.queue[1:]
				}
				more = len(h.queue) > 0 && !h.over
				c.hosting.mu.Unlock()
			}
		}()
	}
}

func (h *host) write(m wireMessage) (err error) {
	if h.conn == nil {
		return unix.EAGAIN
	}
	if e := h.conn.Control(func(fd uintptr) { err = sendWire(int(fd), m) }); e != nil {
		return e
	}
	return err
}

// signal does to a hosted log service what a signal does to a process.
func (c *Core) signalHosted(u *unit, sig unix.Signal) bool {
	c.hosting.mu.Lock()
	defer c.hosting.mu.Unlock()
	u.host.send(c, wireMessage{kind: wireSend, engine: u.engine, number: uint32(sig)})
	return true
}

// listen hears what a host says.
func (c *Core) listen(h *host) {
	buf := make([]byte, 1024)
	for {
		var m wireMessage
		var err error
		if e := h.conn.Read(func(fd uintptr) bool {
			m, err = receiveWire(int(fd), buf, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		}); e != nil {
			err = e
		}
		if err != nil {
			break
		}
		closeAll(m.fds)
		c.heard(h, m)
	}
	h.file.Close()
	c.procs.killHost(h.pid, h) // if it has not ended: nobody can tell it anything any more
}

// heard acts on a host's message.
func (c *Core) heard(h *host, m wireMessage) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	u := h.units[m.engine]
	if u == nil {
		return
	}
	a := h.asks[m.engine]
	switch m.kind {
	case wireTaken:
		if a != nil {
			delete(h.asks, m.engine)
			u.svc.post(event{kind: evHosted, who: u, pid: a.pid, ask: a, host: h, engine: m.engine})
		}
	case wireEnd:
		delete(h.units, m.engine)
		if a != nil { // it could not take it
			delete(h.asks, m.engine)
			a.answer(wireMessage{kind: wireStay})
		} else {
			u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: m.engine, ws: unix.WaitStatus(m.number)})
		}
		if len(h.units) == 0 {
			h.over = true
			h.send(c, wireMessage{kind: wireQuit})
		}
	}
}

// hostDied tells all log services of a host that it has ended.
func (c *Core) hostDied(h *host, ws unix.WaitStatus) {
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.over = true
	if hs.hosts[h.pid] == h {
		delete(hs.hosts, h.pid)
	}
	for id, u := range h.units {
		if a := h.asks[id]; a != nil { // it may still be another's, or a host itself
			u.svc.post(event{kind: evAsked, who: u, pid: a.pid, ask: a})
			continue
		}
		u.svc.post(event{kind: evDied, who: u, role: isRun, pid: h.pid, engine: id, ws: ws})
	}
	h.units, h.asks = nil, nil
	if h.pidfd >= 0 {
		c.unwatch(h.pidfd)
		h.pidfd = -1
	}
	if h.process != nil {
		c.procs.recorded(h.process)
	}
}

// hosted takes note that a host has a log service, whose process may end then.
func (s *service) hosted(ev event) {
	u, a := ev.who, ev.ask
	if s.log != u || u.pid != a.pid || u.st.Phase != Running || u.host != nil {
		s.core.hosting.mu.Lock()
		ev.host.send(s.core, wireMessage{kind: wireSend, engine: ev.engine, number: uint32(unix.SIGKILL)})
		s.core.hosting.mu.Unlock()
		a.answer(wireMessage{kind: wireStay})
		return
	}
	s.setHost(u, ev.host, ev.engine)
	a.answer(wireMessage{kind: wireGo})
	s.core.hosting.mu.Lock()
	ev.host.send(s.core, wireMessage{kind: wireRun, engine: ev.engine})
	s.core.hosting.mu.Unlock()
}

// setHost records who runs a log service.
func (s *service) setHost(u *unit, h *host, engine uint32) {
	u.host, u.engine, u.pid = h, engine, h.pid
	u.records.Lock()
	l := u.life
	u.records.Unlock()
	l.Word, l.PID, l.Ticks, l.Status = state.ProcHosted, h.pid, h.ticks, unix.WaitStatus(engine)
	s.record(u, l)
	u.write()
	if u.st.Paused { // as its process was
		s.core.signalHosted(u, unix.SIGSTOP)
	}
}

// rejoinTime is how long a host may take to introduce itself to a core that follows
// another.
const rejoinTime = 10 * time.Second

// claim is the host that the record of a log service names, when an earlier core has
// left it.
func (c *Core) claim(u *unit, was *remains) *host {
	hs := &c.hosting
	id := uint32(was.life.Status)
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.hosts[was.life.PID]
	if h == nil && hs.open {
		h = &host{pid: was.life.PID, ticks: was.life.Ticks, units: map[uint32]*unit{}, pidfd: was.pidfd}
		if h.process = c.procs.adoptHost(h.pid, c, h); h.process == nil {
			return nil
		}
		was.pidfd = -1
		if h.pidfd < 0 || c.watchFD(h.pidfd, watch{unit: u, proc: h.process}, unix.EPOLLIN|unix.EPOLLET) != nil {
			c.lookAfter(h.process, was.life)
		}
		hs.hosts[h.pid] = h
		go c.find(h)
	}
	if h == nil || h.over || h.ticks != was.life.Ticks {
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
		for _, name := range hostMeetings(h.pid) {
			if fd, ok := meetAt(name, func(cred *unix.Ucred) bool { return int(cred.Pid) == h.pid }); ok {
				c.rejoin(fd, h)
			}
		}
		c.hosting.mu.Lock()
		done := h.conn != nil || h.over
		c.hosting.mu.Unlock()
		if done {
			return
		}
	}
	c.procs.killHost(h.pid, h)
}

// rejoin hears which engines a host has that an earlier core has left.
func (c *Core) rejoin(fd int, h *host) {
	file, conn := inPoller(fd, "host")
	file.SetReadDeadline(time.Now().Add(askTime))
	has, ended := map[uint32]bool{}, map[uint32]unix.WaitStatus{}
	last := uint32(0)
	for all := false; !all; {
		var m wireMessage
		var err error
		buf := make([]byte, 256)
		if e := conn.Read(func(fd uintptr) bool {
			m, err = receiveWire(int(fd), buf, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		}); e != nil {
			err = e
		}
		if err != nil {
			file.Close()
			return
		}
		closeAll(m.fds)
		last = max(last, m.engine)
		switch m.kind {
		case wireHas:
			has[m.engine] = true
		case wireEnd:
			ended[m.engine] = unix.WaitStatus(m.number)
		case wireAll:
			all = true
		}
	}
	file.SetReadDeadline(time.Time{})
	st, found, err := proc.StatOf(h.pid)
	id, _, known := sameness(h.pid)
	hs := &c.hosting
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var unsent error
	if e := conn.Control(func(fd uintptr) { unsent = sendWire(int(fd), wireMessage{kind: wireHost}) }); e != nil {
		unsent = e
	}
	if h.over || h.conn != nil || err != nil || !found || st.Ticks != h.ticks || unsent != nil {
		file.Close()
		return
	}
	if !known { // it goes on, and nobody comes to it any more
		id = ""
	}
	h.file, h.conn, h.identity, h.has, h.ended, h.last = file, conn, id, has, ended, max(h.last, last)
	for id, u := range h.units {
		h.settle(id, u)
	}
	go c.listen(h)
}

// adoptHost takes in a host that an earlier core has left.
func (ps *processes) adoptHost(pid int, c *Core, h *host) *process {
	p := ps.adopt(pid, -1, nil, isRun)
	if p == nil {
		return nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.host = func(ws unix.WaitStatus) { c.hostDied(h, ws) }
	if p.over {
		go p.host(p.ws)
	}
	return p
}

// hosts says that a child is a host.
func (ps *processes) hosts(pid int, c *Core, h *host) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[pid]; p != nil {
		if p.host = func(ws unix.WaitStatus) { c.hostDied(h, ws) }; p.over {
			go p.host(p.ws)
		}
	}
}

// killHost kills a host, if it is one yet.
func (ps *processes) killHost(pid int, h *host) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.known[pid]; p != nil && !p.over && p.host != nil {
		sendSignal(pid, p.pidfd, unix.SIGKILL)
	}
}

// restoreHosted has a log service go on in its host, if that is there.
func (s *service) restoreHosted(u *unit, was *remains) {
	u.ws = statusUnknown
	h := s.core.claim(u, was)
	if h == nil {
		return
	}
	u.host, u.engine, u.pid = h, uint32(was.life.Status), h.pid
	was.there = false
	u.replaced = was.verdict.stop
	if was.seen.PID == u.pid {
		u.st.Paused, u.st.Termed = was.seen.Paused, was.seen.Termed
	} else {
		u.since, u.began = time.Now(), time.Now()
	}
}
