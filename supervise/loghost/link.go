package loghost

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
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

// Calls are what a host does for the core.
type Calls struct {
	Take func(Engine) error               // prepares an engine; nothing is to be opened yet
	Run  func(id uint32)                  // lets one run
	Send func(id uint32, sig unix.Signal) // does to it what a signal does to a process
	Drop func(id uint32)                  // forgets one that does not run yet
	Room func()                           // an engine could not come, since too few descriptors may be open
	Quit func()                           // ends the process: there is no engine, and none comes
}

// Link is a host's line to the core of its tree, and to the one that follows it: for a
// while there may be both, since services are handed over one after the other.
type Link struct {
	First uint32 // the number of the host's own engine
	Files uint64 // how many descriptors its processors may have open; its own limit is raised

	user  uint32 // that the core runs as
	calls Calls

	mu      sync.Mutex
	cores   map[*core]bool
	engines map[uint32]*engine
	last    uint32                     // engine
	ended   map[uint32]unix.WaitStatus // and that is recorded nowhere yet
	ending  uint32                     // 1: no engine comes any more
}

// core is one that has a connection.
type core struct {
	fd    int
	file  *os.File
	conn  syscall.RawConn
	quits bool // it has no engine here
}

// engine is one that a core has given.
type engine struct {
	of   *core // nil: of one that is gone
	runs bool
}

// newLink is the line of a process that becomes a host.
func newLink(first uint32, files uint64, user uint32, fd int) *Link {
	c := &core{fd: fd}
	return &Link{
		First: first, Files: files, user: user, last: first,
		cores: map[*core]bool{c: true}, engines: map[uint32]*engine{first: {of: c, runs: true}}, ended: map[uint32]unix.WaitStatus{},
	}
}

// Serve does what the core says, for ever. While there is none the engines go on. A core
// that follows another comes and claims them: it knows this process by its records.
func (l *Link) Serve(calls Calls) {
	l.calls = calls
	if fd := Listen(AtHost); fd >= 0 {
		go Accept(fd, l.accept)
	}
	l.mu.Lock()
	for c := range l.cores {
		l.follow(c)
	}
	l.mu.Unlock()
	select {}
}

// strangerRest is how long nobody is listened to after somebody has connected who has no
// business here: they take no more of this process's time, and little of who waits.
const strangerRest = time.Millisecond

// Accept takes connections, for ever; who is refused is a stranger.
func Accept(listener int, take func(fd int, peer *unix.Ucred) bool) {
	file, conn := wire.InPoller(listener, "listener")
	defer file.Close()
	for {
		fd := -1
		var err error
		if e := conn.Read(func(l uintptr) bool {
			// Accept4 of package unix brings the code for each kind of address.
			n, _, no := unix.Syscall6(unix.SYS_ACCEPT4, l, 0, 0, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
			if fd, err = int(n), nil; no != 0 {
				err = no
			}
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		if err == nil {
			var peer *unix.Ucred
			if peer, err = Peer(fd); err == nil && take(fd, peer) {
				continue
			}
			unix.Close(fd)
		}
		time.Sleep(strangerRest)
	}
}

// accept takes the connection of who may be a core, by its user.
func (l *Link) accept(fd int, peer *unix.Ucred) bool {
	if peer.Uid != l.user && peer.Uid != 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow(&core{fd: fd})
	return true
}

// follow has a core's words obeyed. The caller has locked.
func (l *Link) follow(c *core) {
	l.cores[c] = true
	c.file, c.conn = wire.InPoller(c.fd, "core")
	go func() {
		for {
			m, err := Receive(c.conn)
			if err != nil && err != errMessage {
				break
			}
			if err == nil {
				l.obey(c, m)
			}
		}
		l.lose(c)
	}()
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

// obey does what one message says.
func (l *Link) obey(c *core, m Message) {
	if m.Kind == Take {
		l.take(c, m)
		return
	}
	CloseAll(m.FDs)
	l.mu.Lock()
	e := l.engines[m.Engine]
	its := e != nil && e.of == c
	switch {
	case m.Kind == Run && its && !e.runs:
		e.runs = true
		defer l.calls.Run(m.Engine)
	case m.Kind == Send && its && e.runs:
		defer l.calls.Send(m.Engine, unix.Signal(m.Number))
	case m.Kind == Send && its:
		delete(l.engines, m.Engine)
		defer l.calls.Drop(m.Engine)
	case m.Kind == Claim:
		c.quits = false
		l.claim(c, m.Engine)
	case m.Kind == Known:
		delete(l.ended, m.Engine)
	case m.Kind == Quit:
		c.quits = true
		l.leave()
	}
	l.mu.Unlock()
}

// claim makes a core the one that is told of an engine. The caller has locked.
func (l *Link) claim(c *core, id uint32) {
	ws, ended := l.ended[id]
	switch e := l.engines[id]; {
	case e != nil && e.runs:
		e.of = c
	case !ended:
		ws = unknown
		fallthrough
	default:
		c.tell(Message{Kind: End, Engine: id, Number: uint32(ws)})
	}
}

// unknown is the wait status of what nobody can tell the end of.
const unknown = state.StatusUnknown

// take takes an engine in, if it can. It does not run yet, and is called by no number but
// this core's.
func (l *Link) take(c *core, m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.quits = false
	if len(m.FDs) < descriptors {
		l.calls.Room()
	}
	if l.ending != 0 || !Fits(m.FDs) {
		CloseAll(m.FDs)
		c.tell(Message{Kind: Refused, Engine: m.Engine, Number: l.ending})
		return
	}
	l.last++
	e := Engine{ID: l.last, Options: m.Options, Env: m.Env, Input: m.FDs[0], Dir: m.FDs[1], Stderr: m.FDs[2]}
	if l.calls.Take(e) != nil {
		c.tell(Message{Kind: Refused, Engine: m.Engine})
		return
	}
	l.engines[e.ID] = &engine{of: c}
	c.tell(Message{Kind: Taken, Engine: m.Engine, Number: e.ID})
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
		e.of.tell(Message{Kind: End, Engine: id, Number: uint32(ws)})
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
	for c := range l.cores {
		if !c.quits && l.ending == 0 {
			return
		}
	}
	if len(l.engines) == 0 && l.calls.Quit != nil {
		l.calls.Quit()
	}
}

// tell sends a core a message. There is little of it: the socket has room unless the
// core hangs, and then that is given up.
func (c *core) tell(m Message) {
	for range 1000 {
		if Write(c.fd, m) != unix.EAGAIN {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// lose gives up a core. What it has not let run is not known to be here: it is forgotten.
func (l *Link) lose(c *core) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.file.Close()
	delete(l.cores, c)
	for id, e := range l.engines {
		if e.of != c {
			continue
		}
		if e.of = nil; !e.runs {
			delete(l.engines, id)
			go l.calls.Drop(id)
		}
	}
	l.leave()
}
