package loghost

import (
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// Engine is what a host is to run for a log service.
type Engine struct {
	ID      uint32
	Options []string
	Env     []string
	// Input, Dir and Stderr are what the log service has as descriptors 0 and 2, and its
	// working directory. They are the host's to close.
	Input, Dir, Stderr int
}

// Engines are what a host does for the core.
type Engines interface {
	Take(Engine) error               // prepares an engine; nothing is to be opened yet
	Run(id uint32)                   // lets one run
	Send(id uint32, sig unix.Signal) // does to it what a signal does to a process
	Drop(id uint32)                  // forgets one that does not run yet
	NoRoom()                         // an engine could not come, since too few descriptors may be open
	Quit()                           // ends the process: there is no engine, and none comes
}

// Link is a host's line to the core of its tree, and to the one that follows it: for a
// while there may be both, since services are handed over one after the other.
type Link struct {
	Files uint64 // how many descriptors its processors may have open; its own limit is raised

	user uint32  // that the core runs as
	host Engines // nil until it serves

	mu      sync.Mutex
	cores   map[*core]bool // whether each may have an engine here
	engines map[uint32]*engine
	last    uint32                     // engine
	ended   map[uint32]unix.WaitStatus // and that is recorded nowhere yet
	ending  uint32                     // 1: no engine comes any more
}

// core is one that has a connection.
type core struct{ fd int }

// engine is one that a core has given.
type engine struct {
	of   *core // nil: of one that is gone
	runs bool
}

// First is the number of a host's own engine.
const First = 1

// newLink is the line of a process that becomes a host, to its first core.
func newLink(files uint64, user uint32, fd int) *Link {
	c := &core{fd}
	return &Link{
		Files: files, user: user, last: First,
		cores: map[*core]bool{c: true}, engines: map[uint32]*engine{First: {c, true}}, ended: map[uint32]unix.WaitStatus{},
	}
}

// Serve does what the core says, for ever. While there is none the engines go on. A core
// that follows another comes and claims them: it knows this process by its records.
func (l *Link) Serve(host Engines) {
	l.mu.Lock()
	l.host = host
	for c := range l.cores {
		go l.follow(c)
	}
	l.mu.Unlock()
	if fd := Listen(AtHost); fd >= 0 {
		Accept(fd, l.accept)
	}
	select {}
}

// strangerRest is how long nobody is listened to after somebody has connected who has no
// business here: they take no more of this process's time, and little of who waits.
const strangerRest = time.Millisecond

// Accept takes connections, for ever; who is refused is a stranger.
func Accept(listener int, take func(fd int, peer *unix.Ucred) bool) {
	file, conn := wire.InPoller(listener, "listener")
	defer file.Close()
	var fd uintptr
	var no syscall.Errno
	look := func(l uintptr) bool {
		// Accept4 of package unix brings the code for each kind of address.
		fd, _, no = unix.Syscall6(unix.SYS_ACCEPT4, l, 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
		return no != unix.EAGAIN
	}
	for conn.Read(look) == nil {
		if no == 0 {
			peer, err := Peer(int(fd))
			if err == nil && take(int(fd), peer) {
				continue
			}
			unix.Close(int(fd))
		}
		time.Sleep(strangerRest)
	}
}

// accept takes the connection of who may be a core, by its user.
func (l *Link) accept(fd int, peer *unix.Ucred) bool {
	if peer.Uid != l.user && peer.Uid != 0 {
		return false
	}
	c := &core{fd}
	l.mu.Lock()
	l.cores[c] = true
	l.mu.Unlock()
	go l.follow(c)
	return true
}

// follow obeys a core until it is gone. What it has not let run is not known to be here,
// and is forgotten then.
func (l *Link) follow(c *core) {
	file, conn := wire.InPoller(c.fd, "core")
	Each(conn, func(m Message) { l.obey(c, m) })
	l.mu.Lock()
	defer l.mu.Unlock()
	file.Close()
	delete(l.cores, c)
	for id, e := range l.engines {
		if e.of != c {
			continue
		}
		if e.of = nil; !e.runs {
			delete(l.engines, id)
			l.host.Drop(id)
		}
	}
	l.leave()
}

// Receive receives a message; who waits for it holds no thread.
func Receive(conn syscall.RawConn) (m Message, err error) {
	if e := conn.Read(func(fd uintptr) bool {
		m, err = Read(int(fd))
		return err != unix.EAGAIN
	}); e != nil {
		err = e
	}
	return m, err
}

// Each receives messages until there is an end.
func Each(conn syscall.RawConn, f func(Message)) {
	for {
		m, err := Receive(conn)
		if err == nil {
			f(m)
		} else if err != errMessage {
			return
		}
	}
}

// obey does what one message says.
func (l *Link) obey(c *core, m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, id := l.engines[m.Engine], m.Engine
	its := e != nil && e.of == c
	switch m.Kind {
	case Take:
		l.take(c, m)
		return
	case Run:
		if its && !e.runs {
			e.runs = true
			l.host.Run(id)
		}
	case Send:
		if its && e.runs {
			l.host.Send(id, unix.Signal(m.Number))
		} else if its {
			delete(l.engines, id)
			l.host.Drop(id)
		}
	case Claim:
		l.cores[c] = true
		ws, ended := l.ended[id]
		if e != nil && e.runs {
			e.of = c
		} else {
			if !ended {
				ws = unknown
			}
			c.tell(End, id, uint32(ws))
		}
	case Known:
		delete(l.ended, id)
	case Quit:
		l.cores[c] = false
		l.leave()
	}
	sys.CloseAll(m.FDs)
}

// unknown is the wait status of what nobody can tell the end of.
const unknown = state.StatusUnknown

// take takes an engine in, if it can. It does not run yet, and is called by no number but
// this core's. The caller has locked.
func (l *Link) take(c *core, m Message) {
	l.cores[c] = true
	options, env, err := Unpack(m.Texts)
	if len(m.FDs) < descriptors {
		l.host.NoRoom()
	}
	if err != nil || l.ending != 0 || !Fits(m.FDs) {
		sys.CloseAll(m.FDs)
		c.tell(Refused, m.Engine, l.ending)
		return
	}
	l.last++
	if l.host.Take(Engine{l.last, options, env, m.FDs[0], m.FDs[1], m.FDs[2]}) != nil {
		c.tell(Refused, m.Engine, 0)
		return
	}
	l.engines[l.last] = &engine{of: c}
	c.tell(Taken, m.Engine, l.last)
}

// Ended tells the core that an engine has ended.
func (l *Link) Ended(id uint32, ws unix.WaitStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.engines[id]
	if e == nil {
		return
	}
	delete(l.engines, id)
	l.ended[id] = ws
	if e.of != nil {
		e.of.tell(End, id, uint32(ws))
	}
	l.leave()
}

// End takes no engine any more: when the last has ended, so does the process.
func (l *Link) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = 1
	l.leave()
}

// leave ends the process where there is no engine, and none that may come. The caller has
// locked.
func (l *Link) leave() {
	for _, may := range l.cores {
		if may && l.ending == 0 {
			return
		}
	}
	if len(l.engines) == 0 && l.host != nil {
		l.host.Quit()
	}
}

// tell sends a core a message. There is little of it: the socket has room unless the
// core hangs, and then that is given up.
func (c *core) tell(kind byte, id, number uint32) {
	for range 1000 {
		if Write(c.fd, Message{Kind: kind, Engine: id, Number: number}) != unix.EAGAIN {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
