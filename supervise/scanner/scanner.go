// Package scanner is runsvdir: it looks at a directory of service directories, has a core
// supervise what it finds there, and holds descriptors for the next core when that is
// killed.
package scanner

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/self"
	"runitbox/supervise/wire"
)

// Scanner keeps a core supervising what is in a directory of service
// directories: runsvdir. It knows which services there are and nothing of what
// they do; it holds descriptors for the core, and collects for it the children
// that a killed core has left.
type Scanner struct {
	Dir         string   // looked up anew at each look, since it may be a link
	Session     bool     // -P
	NoShareLogs bool     // each log service has a process of its own
	Prefix      bool     // lines of services without a log service have their names before them
	Args        []string // the process's own, in the memory that ps reads
	Log         int      // which of Args is the log; 0: none
	// Say takes what there is to be said, as a Core's does; what concerns no
	// service has no name.
	Say func(level diag.Level, service string, err error)
	// StopTime is how long process 1 gives its services to stop, and any other process
	// with StopOnTerm.
	StopTime time.Duration
	// StopOnTerm has TERM and HUP stop the services also where it is not process 1.
	StopOnTerm bool
	// Command is the main command, with its arguments; none in most trees.
	Command []string

	voice   *diag.Queue // what Say is while it runs
	sigs    chan os.Signal
	self    string // path of the executable, looked up at start
	entries map[string]*entry
	unheard []unheard       // what the core has let go, and was to hand on lines from
	idle    map[*entry]bool // those that the core has let go: few, so that each message costs the same in a large tree
	files   self.FileLimits
	reserve func() // makes the threads that it needs, once
	need    int    // how many
	stderr  int    // what standard error was before it led to the log service of the tree; 0: it does not
	full    bool   // and it was said that there are too few
	ring    *Ring

	core     int // pid of the core, 0 if there is none
	starting bool
	started  chan newCoreOf
	restart  *time.Timer
	deaths   backOff
	inherited
	coreWatch coreWatch
	guards    int // what the core watches supervise directories with; 0: it has left none
	link      *wire.Link
	mail      chan wire.Received
	outgoing  outgoing

	dir       *directory
	found     chan finding
	looking   bool      // there is a look
	looked    time.Time // when it began, or the last has
	slow      bool      // and it was said that it takes its time
	applied   bool      // it has found something
	lookAgain bool      // another is to follow it
	lookForce bool
	scanned   bool                   // one has succeeded
	wanted    bool                   // the next look is due soon
	again     bool                   // something may change unseen
	held      map[string]*incomplete // new directories that are not begun yet, by key
	stampDue  bool                   // when the look is over: who hangs at that file keeps others out of the directory
	stamping  atomic.Bool

	command  command
	stop     *ending   // of process 1: the services are being stopped
	leaving  *ending   // it is about to end
	handing  *handover // it is about to become another program
	becoming bool      // that waits for threads at a file system
	asked    time.Time // since when
}

// Run scans until a signal ends it and returns the exit status: 0 for TERM,
// which leaves the core and all services as they are, 111 for HUP, which has
// them exit. As process 1 it waits for that.
func (s *Scanner) Run() int {
	pid1 := os.Getpid() == 1
	scarce := self.AwaitThreads(func(err error) { s.Say(diag.Warning, "", err) })
	sigs := make(chan os.Signal)
	s.sigs = sigs
	s.listen(pid1)
	self.IgnorePipe()
	s.files = self.RaiseFiles()
	s.voice = &diag.Queue{Say: s.Say}
	s.Say = s.voice.Tell
	defer s.voice.Finish(diag.FinishTime)
	defer func() { // at once, though a thread of this process may hang in a look
		if s.link != nil {
			s.link.Close()
		}
	}()
	// A core's children come to the scanner when the core is killed.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	s.self = executable(s.Args[0])
	s.entries, s.idle, s.held = map[string]*entry{}, map[*entry]bool{}, map[string]*incomplete{}
	s.mail, s.started, s.found = make(chan wire.Received, 16), make(chan newCoreOf, 1), make(chan finding)
	s.outgoing.room, s.command.started = make(chan struct{}, 1), make(chan commandMade, 1)
	if s.command.stderr = 2; len(s.Command) > 0 { // which may become a log
		if fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			s.command.stderr = fd
		}
	}
	s.coreWatch.ended, s.coreWatch.lost = make(chan int), map[int]bool{}
	s.wanted = true
	again := s.resume()
	if s.ring != nil {
		go s.ring.run()
	}
	again = append(again, s.awaitThreads(scarce)...)
	s.dir = newDirectory(s.Dir)
	s.dir.threads = s.threadsFor
	for _, sig := range again { // that were not acted on before an upgrade
		unix.Kill(os.Getpid(), sig)
	}
	if len(s.Command) > 0 && s.command.pid == 0 {
		s.startCommand()
	}
	s.startCore()
	select { // who starts first has its own processor while this looks
	case c := <-s.started:
		s.coreStarted(c)
	case <-time.After(startTime):
	}
	s.look(false)
	timer := newAlarm()
	for {
		s.send()
		if status, over := s.isOver(); over {
			return status
		}
		timer.set(s.pause())
		select {
		case sig := <-sigs:
			s.obey(sig, pid1 || s.StopOnTerm || len(s.Command) > 0)
		case c := <-s.started:
			s.coreStarted(c)
		case c := <-s.command.started:
			s.commandStarted(c)
		case l := <-s.mail:
			s.read(l)
		case <-s.outgoing.room:
			s.outgoing.waits = false
			s.send()
			s.reap()
		case f := <-s.found:
			s.take(f)
		case <-s.dir.watcher.seen:
			s.look(false)
		case <-s.dir.watcher.changed: // the pause is another
		case <-s.dir.free:
			if s.becoming && s.stop == nil && s.leaving == nil {
				s.upgrade()
			}
		case <-timerOf(s.restart):
			s.restart = nil
			s.startCore()
		case <-timerOf(s.patience):
			s.patience = nil
			s.lookBehind()
		case tid := <-s.coreWatch.ended:
			s.coreThreadEnded(tid)
		case <-timerOf(s.coreWatch.grace):
			s.giveUp()
		case <-timer.rings:
			s.tick()
		}
	}
}

// startTime is how long the first look waits for the core to be started.
const startTime = 50 * time.Millisecond

// obey acts on a signal. While it is about to become another program, that has
// to do it, and soon where it is about the end.
func (s *Scanner) obey(sig os.Signal, stops bool) {
	if s.handing != nil && sig != unix.SIGCHLD {
		s.handing.late = append(s.handing.late, sig)
		if sig != unix.SIGALRM && sig != unix.SIGUSR2 {
			s.hurry()
		}
		return
	}
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGPWR, sigStop:
		s.command.pass(sig)
		s.end(0, stops)
	case unix.SIGUSR1, unix.SIGWINCH:
		s.command.pass(sig)
	case unix.SIGHUP:
		if len(s.Command) > 0 {
			s.command.pass(sig)
			return
		}
		s.end(111, stops)
	case unix.SIGALRM:
		s.stampDue = true
		s.look(true)
	case unix.SIGUSR2:
		if s.command.starting {
			s.command.upgrade = true
		} else if s.stop == nil && s.leaving == nil { // the end is not to be forgotten
			s.upgrade()
		}
	case unix.SIGCHLD:
		s.reap()
	}
}

func timerOf(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

// warn says what is wrong with the directory itself.
func (s *Scanner) warn(err error) { s.Say(diag.Warning, "", err) }
