package supervise

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HostAnswer is what becomes of a log service that has asked for a host.
type HostAnswer int

// It stays a process of its own, for itself or as the host of others, or it is to
// end, since another has taken all.
const (
	HostNone HostAnswer = iota
	HostBecome
	HostGone
)

// Engine is what a host is to run for a log service.
type Engine struct {
	ID   uint32
	Args []string
	Env  []string
	// Input, Dir and Stderr are what the log service has as descriptors 0 and 2, and its
	// working directory. They are the host's to close.
	Input, Dir, Stderr int
}

// HostCalls are what a host does for the core.
type HostCalls struct {
	Take func(Engine) error                  // prepares an engine; nothing is to be opened yet
	Run  func(id uint32)                     // lets one run
	Send func(id uint32, sig syscall.Signal) // does to it what a signal does to a process
	Drop func(id uint32)                     // forgets one that does not run yet
	Quit func()                              // ends the process: there is no engine, and none comes
}

// HostLink is a host's line to the core of its tree.
type HostLink struct {
	First uint32 // the number of the host's own engine
	Files uint64 // how many descriptors its processes may have open; its own limit is raised
	uid   uint32 // of the core

	mu      sync.Mutex
	quit    func()
	file    *os.File
	conn    syscall.RawConn
	fd      int                           // -1 while there is no core
	engines map[uint32]bool               // whether they run
	ended   map[uint32]syscall.WaitStatus // and no core has been told
}

// meetings are the addresses at which a core listens, in the abstract namespace:
// several, since others may take one.
func meetings(pid int) (all []string) {
	for i := range 4 {
		all = append(all, fmt.Sprintf("@runitbox/%d/%d", pid, i))
	}
	return all
}

// credOf says who is at the other end of a socket.
func credOf(fd int) (*unix.Ucred, error) {
	return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
}

// meetAt connects to an address, if believed believes who is there.
func meetAt(name string, believed func(*unix.Ucred) bool) (fd int, ok bool) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, false
	}
	if unix.Connect(fd, &unix.SockaddrUnix{Name: name}) == nil {
		if cred, err := credOf(fd); err == nil && believed(cred) {
			return fd, true
		}
	}
	unix.Close(fd)
	return -1, false
}

// meet connects to the core that a process is.
func meet(pid int) (fd int, uid uint32, ok bool) {
	if pid <= 1 {
		return -1, 0, false
	}
	for _, name := range meetings(pid) {
		if fd, ok := meetAt(name, func(c *unix.Ucred) bool {
			uid = c.Uid
			return int(c.Pid) == pid
		}); ok {
			return fd, uid, true
		}
	}
	return -1, 0, false
}

// AskHost asks the core of the tree, if it is this process's parent, whether a host
// runs the log service that this process is. It gives away descriptors 0 and 2 and
// the working directory; root is a handle of that.
func AskHost(args []string, root int) (HostAnswer, *HostLink) {
	fd, uid, ok := meet(os.Getppid())
	if !ok {
		return HostNone, nil
	}
	files, given := givenFiles() // as the kernel is to tell it
	ask := wireMessage{kind: wireAsk, args: args, env: os.Environ(), fds: []int{0, root, 2}}
	if !given || sendWire(fd, ask) != nil {
		unix.Close(fd)
		return HostNone, nil
	}
	buf := make([]byte, 256)
	unix.SetNonblock(fd, false)
	answer, err := receiveWire(fd, buf, 0)
	switch {
	case err != nil: // whether it is hosted nobody can tell: it starts anew
		unix.Close(fd)
		return HostGone, nil
	case answer.kind == wireGo:
		return HostGone, nil
	case answer.kind == wireHost:
		l := &HostLink{First: answer.engine, Files: files.Cur, uid: uid, fd: fd, engines: map[uint32]bool{answer.engine: true}, ended: map[uint32]syscall.WaitStatus{}}
		files.Cur = files.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
		return HostBecome, l
	}
	unix.Close(fd)
	return HostNone, nil
}

// Serve does what the core says, for ever. While there is none the engines go on. A core
// that follows another comes and is told of them: it knows this process by its records.
func (l *HostLink) Serve(calls HostCalls) {
	if fd := listenAt(hostMeetings(os.Getpid())); fd >= 0 {
		go l.accept(fd, calls)
	}
	l.mu.Lock()
	l.quit = calls.Quit
	l.file, l.conn = inPoller(l.fd, "core")
	l.mu.Unlock()
	go l.hear(l.file, l.conn, calls)
	select {}
}

// hostMeetings are the addresses at which a host listens.
func hostMeetings(pid int) (all []string) {
	for _, name := range meetings(pid) {
		all = append(all, name+"/host")
	}
	return all
}

// accept takes connections of cores: of those who may be one, by their user.
func (l *HostLink) accept(listener int, calls HostCalls) {
	_, conn := keepInPoller(listener, "cores")
	for {
		fd := -1
		var err error
		if e := conn.Read(func(at uintptr) bool {
			fd, _, err = unix.Accept4(int(at), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return err != unix.EAGAIN
		}); e != nil {
			return
		}
		if err != nil {
			time.Sleep(strangerRest)
			continue
		}
		if cred, err := credOf(fd); err != nil || cred.Uid != l.uid || !l.follow(fd, calls) {
			unix.Close(fd)
			time.Sleep(strangerRest)
		}
	}
}

// follow has another core in place of the one before, of which there may be something
// left that hangs.
func (l *HostLink) follow(fd int, calls HostCalls) bool {
	l.lost(calls)
	if !l.introduce(fd) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fd = fd
	l.file, l.conn = inPoller(fd, "core")
	go l.hear(l.file, l.conn, calls)
	return true
}

// hear does what one core says, until it says no more.
func (l *HostLink) hear(file *os.File, conn syscall.RawConn, calls HostCalls) {
	buf := make([]byte, wireMax)
	for {
		var m wireMessage
		var err error
		if e := conn.Read(func(fd uintptr) bool {
			m, err = receiveWire(int(fd), buf, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		}); e != nil {
			err = e
		}
		if err != nil && err != errWire {
			break
		}
		if err == nil {
			l.obey(m, calls)
		}
	}
	l.mu.Lock()
	current := l.file == file
	l.mu.Unlock()
	if current {
		l.lost(calls)
	}
}

// obey does what one message says.
func (l *HostLink) obey(m wireMessage, calls HostCalls) {
	switch m.kind {
	case wireTake:
		if len(m.fds) != 3 || !isPipe(m.fds[0]) || !isDir(m.fds[1]) {
			closeAll(m.fds)
			l.Ended(m.engine, 111<<8)
			return
		}
		l.mu.Lock()
		l.engines[m.engine] = false
		l.mu.Unlock()
		err := calls.Take(Engine{ID: m.engine, Args: m.args, Env: m.env, Input: m.fds[0], Dir: m.fds[1], Stderr: m.fds[2]})
		if err != nil {
			l.Ended(m.engine, 111<<8)
			return
		}
		l.tell(wireMessage{kind: wireTaken, engine: m.engine})
		return
	case wireRun:
		l.mu.Lock()
		runs, there := l.engines[m.engine]
		if there {
			l.engines[m.engine] = true
		}
		l.mu.Unlock()
		if there && !runs {
			calls.Run(m.engine)
		}
	case wireSend:
		l.mu.Lock()
		runs, there := l.engines[m.engine]
		l.mu.Unlock()
		if there && !runs && m.number == uint32(unix.SIGKILL) {
			calls.Drop(m.engine)
			l.Ended(m.engine, syscall.WaitStatus(m.number))
			return
		}
		calls.Send(m.engine, syscall.Signal(m.number))
	case wireQuit:
		calls.Quit()
	}
	closeAll(m.fds)
}

func modeOf(fd int) uint32 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Mode & unix.S_IFMT
}

func isPipe(fd int) bool { return modeOf(fd) == unix.S_IFIFO }
func isDir(fd int) bool  { return modeOf(fd) == unix.S_IFDIR }

// Ended tells the core, this one or the next, that an engine has ended.
func (l *HostLink) Ended(id uint32, ws syscall.WaitStatus) {
	l.mu.Lock()
	delete(l.engines, id)
	l.ended[id] = ws
	l.mu.Unlock()
	if l.tell(wireMessage{kind: wireEnd, engine: id, number: uint32(ws)}) {
		l.mu.Lock()
		delete(l.ended, id)
		l.mu.Unlock()
	}
	l.mu.Lock()
	needless := l.fd < 0 && len(l.engines) == 0 && l.quit != nil
	l.mu.Unlock()
	if needless {
		l.quit()
	}
}

// tell sends the core a message. There is little of it: the socket has room unless the
// core hangs, and then it is given up.
func (l *HostLink) tell(m wireMessage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return false
	}
	for range 1000 {
		err := sendWire(l.fd, m)
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

// lost gives up the core. What it has not let run is not known to be here: it is
// forgotten. Without an engine there is nothing to wait for.
func (l *HostLink) lost(calls HostCalls) {
	l.mu.Lock()
	if l.file != nil {
		l.file.Close()
	}
	l.fd, l.file, l.conn = -1, nil, nil
	var waiting []uint32
	for id, runs := range l.engines {
		if !runs {
			waiting = append(waiting, id)
			delete(l.engines, id)
		}
	}
	needless := len(l.engines) == 0
	l.mu.Unlock()
	for _, id := range waiting {
		calls.Drop(id)
	}
	if needless {
		calls.Quit()
	}
}

// introduce tells another core which engines there are, and waits for its yes.
func (l *HostLink) introduce(fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.engines {
		if !l.say(fd, wireMessage{kind: wireHas, engine: id}) {
			return false
		}
	}
	for id, ws := range l.ended {
		if !l.say(fd, wireMessage{kind: wireEnd, engine: id, number: uint32(ws)}) {
			return false
		}
	}
	if !l.say(fd, wireMessage{kind: wireAll}) {
		return false
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	unix.SetNonblock(fd, false)
	answer, err := receiveWire(fd, make([]byte, 256), 0)
	if err != nil || answer.kind != wireHost {
		return false
	}
	clear(l.ended)
	return true
}

// say sends one message and waits for room.
func (l *HostLink) say(fd int, m wireMessage) bool {
	for range 1000 {
		err := sendWire(fd, m)
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
