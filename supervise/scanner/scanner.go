// Package scanner is runsvdir: it looks at a directory of service directories, has a core
// supervise what it finds there, and holds descriptors for the next core when that is
// killed.
package scanner

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/self"
	"runitbox/supervise/threads"
	"runitbox/supervise/wire"
)

// Scanner keeps a core supervising what is in a directory of service
// directories: runsvdir. It knows which services there are and nothing of what
// they do; it holds descriptors for the core, and collects for it the children
// that a killed core has left.
type Scanner struct {
	Dir     string   // looked up anew at each look, since it may be a link
	Session bool     // -P
	Args    []string // the process's own, in the memory that ps reads
	Log     int      // which of Args is the log; 0: none
	// Say takes what there is to be said, as a Core's does; what concerns no
	// service has no name.
	Say func(level diag.Level, service string, err error)
	// StopTime is how long process 1 gives its services to stop.
	StopTime time.Duration

	voice   *diag.Queue // what Say is while it runs
	sigs    chan os.Signal
	self    string // path of the executable, looked up at start
	entries map[string]*entry
	idle    map[*entry]bool // those that the core has let go: few, so that each message costs the same in a large tree
	files   self.FileLimits
	reserve func() // makes the threads that it needs, once
	need    int    // how many
	full    bool   // and it was said that there are too few
	ring    *Ring

	core     int // pid of the core, 0 if there is none
	starting bool
	started  chan newCoreOf
	restart  *time.Timer
	deaths   backOff
	inherited
	coreWatch coreWatch
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

	stop     *ending   // of process 1: the services are being stopped
	leaving  *ending   // it is about to end
	handing  *handover // it is about to become another program
	becoming bool      // that waits for threads at a file system
	asked    time.Time // since when
}

// ending is the end of a scanner: what it returns, and when at the latest.
type ending struct {
	status   int
	deadline time.Time
}

// Run scans until a signal ends it and returns the exit status: 0 for TERM,
// which leaves the core and all services as they are, 111 for HUP, which has
// them exit. As process 1 it waits for that.
func (s *Scanner) Run() int {
	pid1 := os.Getpid() == 1
	self.AwaitThreads(func(err error) { s.Say(diag.Warning, "", err) })
	sigs := make(chan os.Signal)
	self.NotifyEach(sigs, unix.SIGTERM, unix.SIGHUP, unix.SIGALRM, unix.SIGUSR2, unix.SIGCHLD)
	s.sigs = sigs
	if pid1 {
		signal.Notify(make(chan os.Signal, 1)) // unasked, some would end it, and with it all
		self.NotifyEach(sigs, unix.SIGINT)
	} else {
		self.DefaultAction(unix.SIGUSR1, unix.SIGQUIT, unix.SIGPWR, unix.SIGVTALRM, unix.SIGPROF, unix.SIGXCPU, unix.SIGXFSZ)
	}
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
	s.outgoing.room = make(chan struct{}, 1)
	s.coreWatch.ended, s.coreWatch.lost = make(chan int), map[int]bool{}
	s.wanted = true
	again := s.resume()
	if s.ring != nil {
		go s.ring.run()
	}
	again = append(again, s.awaitThreads()...)
	s.dir = newDirectory(s.Dir)
	s.dir.threads = s.threadsFor
	for _, sig := range again { // that were not acted on before an upgrade
		unix.Kill(os.Getpid(), sig)
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
			s.obey(sig, pid1)
		case c := <-s.started:
			s.coreStarted(c)
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

// awaitThreads sees to the threads that the scanner needs, and where there may be too
// little room waits for them: what it starts takes of the same room. A signal ends
// that, and is to be acted on.
func (s *Scanner) awaitThreads() (late []unix.Signal) {
	// And what looks at directories, what makes a core or writes to standard error, and
	// the log.
	s.need = threads.Runtime + runtime.GOMAXPROCS(0) + 2
	if s.ring != nil {
		s.need++
	}
	s.reserve = sync.OnceFunc(func() { threads.Reserve(s.need) })
	if !threads.Scarce() {
		time.AfterFunc(2*startTime, s.reserve) // where the first look is not over sooner
		return nil
	}
	for said := false; !threads.Reserve(s.need); said = true {
		if !said {
			s.warn(errors.New("too few processes may be made; waiting."))
		}
		select {
		case sig := <-s.sigs:
			return []unix.Signal{sig.(unix.Signal)}
		case <-time.After(time.Second):
		}
	}
	threads.Reserve(s.need + 2) // no more are made later, and entries may hang
	return nil
}

// threadsFor sees to threads for so many who wait for an answer, and says whether there
// are. To make some takes all that there are first: so many are made at once.
func (s *Scanner) threadsFor(workers int) bool {
	n := s.need + workers
	return threads.Count() >= n || threads.More(n+workers/2) || threads.Count() >= n
}

// startTime is how long the first look waits for the core to be started.
const startTime = 50 * time.Millisecond

// obey acts on a signal. While it is about to become another program, that has
// to do it, and soon where it is about the end.
func (s *Scanner) obey(sig os.Signal, pid1 bool) {
	if s.handing != nil && sig != unix.SIGCHLD {
		s.handing.late = append(s.handing.late, sig)
		if sig != unix.SIGALRM && sig != unix.SIGUSR2 {
			s.hurry()
		}
		return
	}
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		s.end(0, pid1)
	case unix.SIGHUP:
		s.end(111, pid1)
	case unix.SIGALRM:
		s.stampDue = true
		s.look(true)
	case unix.SIGUSR2:
		if s.stop == nil && s.leaving == nil { // the end is not to be forgotten
			s.upgrade()
		}
	case unix.SIGCHLD:
		s.reap()
	}
}

// end ends the scanner: at once where the core knows what it is to do without it.
// Process 1 stops its tree first.
func (s *Scanner) end(status int, pid1 bool) {
	switch {
	case s.stop != nil:
		return
	case pid1:
		s.stop = &ending{status, time.Now().Add(s.StopTime)}
	case s.leaving != nil && s.leaving.status >= status:
		return
	default:
		s.leaving = &ending{status, time.Now().Add(leaveTime)}
	}
	if status != 0 && !pid1 {
		for _, e := range s.entries {
			if e.dropped = true; s.idle[e] {
				s.forget(e)
			} else {
				s.enqueue(e)
			}
		}
	}
	if s.core == 0 { // no pause: there is little time
		s.startCore()
	}
}

// leaveTime is how long it waits at the end until the core takes what it is told.
const leaveTime = 2 * time.Second

// IsOver says whether it is the end, and with which status.
func (s *Scanner) isOver() (status int, over bool) {
	switch {
	case s.stop != nil:
		return s.stop.status, s.core == 0 && s.restart == nil && !s.starting || !time.Now().Before(s.stop.deadline)
	case s.leaving == nil:
		return 0, false
	case !time.Now().Before(s.leaving.deadline):
		if s.leaving.status != 0 && s.core != 0 { // it does not read: so all exit when it goes on
			unix.Kill(s.core, unix.SIGTERM)
		}
		return s.leaving.status, true
	}
	known := s.scanned || s.leaving.status != 0
	return s.leaving.status, known && (len(s.entries) == 0 || s.link != nil && len(s.outgoing.queue) == 0)
}

func timerOf(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

// executable is the path by which this program was called, as far as it can be
// told, so that a new file under that name is found at an upgrade.
func executable(argv0 string) string {
	paths := []string{argv0}
	if !strings.Contains(argv0, "/") {
		paths = nil
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			paths = append(paths, filepath.Join(dir, argv0))
		}
	}
	if p, err := os.Executable(); err == nil {
		paths = append(paths, p)
	}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil && unix.Access(abs, unix.X_OK) == nil {
			return abs
		}
	}
	return selfExe
}

// selfExe leads to the running executable even when its file is gone.
const selfExe = "/proc/self/exe"

// read acts on what came from the core.
func (s *Scanner) read(l wire.Received) {
	if l.Err != nil {
		s.link.Close()
		s.link = nil
		return
	}
	for _, m := range l.Messages {
		s.handle(m)
	}
}

// handle acts on one message.
func (s *Scanner) handle(m wire.Message) {
	switch m.Word {
	case "thread":
		if tid, err := strconv.Atoi(m.Arg); err == nil {
			s.watch(tid)
		}
	case "keep":
		s.keep(m.Arg, m.Arg2, m.FDs)
	case "gone":
		e := s.entries[m.Arg]
		if e == nil {
			return
		}
		if m.Arg2 != wire.NotNow { // else it is offered again with what is kept
			for _, fd := range e.fds[1:] {
				unix.Close(fd)
			}
			e.fds, e.tags = e.fds[:1], ""
		}
		e.lacking = m.Arg2 == wire.NoDescriptors
		s.idle[e] = true
		e.pending = pending{queued: e.pending.queued}
		e.offered = time.Now() // runit's sv looks every 0.42 s for the end of an exit
		switch {
		case e.dropped && m.Arg2 != wire.NotNow: // its name may be waited for
			s.forget(e)
			s.look(false)
		case !e.lacking && !e.dropped: // its directory may be another
			s.wanted = true
		}
		if e.lacking { // for a moment perhaps, perhaps until another goes
			e.wait = min(max(2*e.wait, time.Second), time.Minute)
		} else {
			e.wait = 0
			s.offerLacking()
		}
	case "seen":
		if pid, err := strconv.Atoi(m.Arg); err == nil && s.handing == nil { // else the next core is told again
			s.recorded(pid)
		}
	}
}

// keep takes descriptors for the next core.
func (s *Scanner) keep(key, tags string, fds []int) {
	e := s.entries[key]
	if e == nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return
	}
	for _, fd := range e.fds[1:] {
		unix.Close(fd)
	}
	e.fds, e.tags = append(e.fds[:1], fds...), tags
	if e.wait > 0 {
		e.wait = 0
		s.offerLacking()
	}
}

// warn says what is wrong with the directory itself.
func (s *Scanner) warn(err error) { s.Say(diag.Warning, "", err) }
