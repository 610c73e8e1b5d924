package loghost

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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

// Link is a host's line to the core of its tree.
type Link struct {
	First uint32 // the number of the host's own engine
	Files uint64 // how many descriptors its processors may have open; its own limit is raised

	core  uint32 // the user that the core runs as
	calls Calls

	mu      sync.Mutex
	fd      int // -1 while there is no core
	file    *os.File
	engines map[uint32]bool            // whether they run
	ended   map[uint32]unix.WaitStatus // and that is recorded nowhere yet
}

// Serve does what the core says, for ever. While there is none the engines go on. A core
// that follows another comes and is told of them: it knows this process by its records.
func (l *Link) Serve(calls Calls) {
	l.calls = calls
	if fd := Listen(AtHost); fd >= 0 {
		go l.accept(fd)
	}
	l.mu.Lock()
	l.follow(l.fd)
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
			fd, _, err = unix.Accept4(int(l), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
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

// accept takes the connections of cores: of those who may be one, by their user.
func (l *Link) accept(listener int) {
	Accept(listener, func(fd int, peer *unix.Ucred) bool {
		if peer.Uid != l.core && peer.Uid != 0 {
			return false
		}
		l.lose(nil)
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.introduce(fd) {
			l.leave()
			return false
		}
		l.follow(fd)
		return true
	})
}

// follow has this core's words obeyed. The caller has locked.
func (l *Link) follow(fd int) {
	file, conn := wire.InPoller(fd, "core")
	l.fd, l.file = fd, file
	go l.hear(file, conn)
}

// hear does what one core says, until it says no more.
func (l *Link) hear(file *os.File, conn syscall.RawConn) {
	for {
		m, err := Receive(conn)
		if err != nil && err != errMessage {
			break
		}
		if err == nil {
			l.obey(m)
		}
	}
	l.lose(file)
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
func (l *Link) obey(m Message) {
	switch m.Kind {
	case Take:
		l.take(m)
		return
	case Run:
		if runs, there := l.has(m.Engine, true); there && !runs {
			l.calls.Run(m.Engine)
		}
	case Send:
		sig := unix.Signal(m.Number)
		if runs, there := l.has(m.Engine, false); there && !runs && sig == unix.SIGKILL {
			l.calls.Drop(m.Engine)
			l.Ended(m.Engine, unix.WaitStatus(sig))
		} else if there {
			l.calls.Send(m.Engine, sig)
		}
	case Known:
		l.mu.Lock()
		delete(l.ended, m.Engine)
		l.mu.Unlock()
	case Quit:
		l.calls.Quit()
	}
	CloseAll(m.FDs)
}

// has says whether an engine is there, and has run; from here on it does, if it is to.
func (l *Link) has(id uint32, toRun bool) (runs, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if runs, there = l.engines[id]; there && toRun {
		l.engines[id] = true
	}
	return runs, there
}

// take takes an engine in, if it can.
func (l *Link) take(m Message) {
	l.mu.Lock()
	l.engines[m.Engine] = false
	l.mu.Unlock()
	if len(m.FDs) < descriptors {
		l.calls.Room()
	}
	if !Fits(m.FDs) {
		CloseAll(m.FDs)
		l.Ended(m.Engine, 111<<8)
		return
	}
	e := Engine{ID: m.Engine, Options: m.Options, Env: m.Env, Input: m.FDs[0], Dir: m.FDs[1], Stderr: m.FDs[2]}
	if l.calls.Take(e) != nil {
		l.Ended(m.Engine, 111<<8)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(Message{Kind: Taken, Engine: m.Engine})
}

// Ended tells the core, this one or the next, that an engine has ended.
func (l *Link) Ended(id uint32, ws unix.WaitStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.engines, id)
	l.ended[id] = ws
	l.tell(Message{Kind: End, Engine: id, Number: uint32(ws)})
	l.leave()
}

// leave ends the process where there is neither an engine nor a core. The caller has locked.
func (l *Link) leave() {
	if l.fd < 0 && len(l.engines) == 0 && l.calls.Quit != nil {
		l.calls.Quit()
	}
}

// tell sends the core a message. There is little of it: the socket has room unless the
// core hangs, and then that is given up. The caller has locked.
func (l *Link) tell(m Message) bool {
	return l.fd >= 0 && say(l.fd, m)
}

// say sends one message and waits for room.
func say(fd int, m Message) bool {
	for range 1000 {
		err := Write(fd, m)
		if err == nil {
			return true
		}
		if err != unix.EAGAIN {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// lose gives up a core, if it still is the one; nil is whichever there is. What it has not
// let run is not known to be here: it is forgotten.
func (l *Link) lose(file *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if file != nil && l.file != file {
		return
	}
	if l.file != nil {
		l.file.Close()
	}
	l.fd, l.file = -1, nil
	for id, runs := range l.engines {
		if !runs {
			delete(l.engines, id)
			go l.calls.Drop(id)
		}
	}
	if file != nil {
		l.leave()
	}
}

// introduce tells another core which engines there are, and waits for its yes. The caller
// has locked.
func (l *Link) introduce(fd int) bool {
	for id := range l.engines {
		if !say(fd, Message{Kind: Has, Engine: id}) {
			return false
		}
	}
	for id, ws := range l.ended {
		if !say(fd, Message{Kind: End, Engine: id, Number: uint32(ws)}) {
			return false
		}
	}
	if !say(fd, Message{Kind: All}) {
		return false
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	unix.SetNonblock(fd, false)
	answer, err := Read(fd)
	return err == nil && answer.Kind == Host
}
