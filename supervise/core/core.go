// Package core supervises services in one process: those of a tree, for a scanner, or one
// service directory, for runsv. It makes their processes, takes their commands, writes
// the files under supervise/, and takes over what an earlier core has left.
package core

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/diag"
	"runitbox/supervise/loghost"
	"runitbox/supervise/machine"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/statedir"
	"runitbox/supervise/threads"
	"runitbox/supervise/wire"
)

// Core supervises services: one for runsv, all of a tree below runsvdir.
type Core struct {
	// Say takes what there is to be said of a service, by its name. It may be
	// called by several goroutines at once.
	Say func(level diag.Level, service string, err error)
	// Session gives each process a session of its own.
	Session bool

	voice       *diag.Queue
	services    registry
	descriptors budget
	poller      poller
	procs       *processes
	oom         oomCounter
	monotonic   monotonic
	pool        pool
	slots       child.Slots
	start       func(order)            // has a process made in place of the pool; nil but in tests
	env         []string               // of the children
	files       *unix.Rlimit           // their limit of descriptors; nil: the runtime's
	clock       atomic.Bool            // the start of a process can be told from the time alone
	self        int                    // pid, as records tell it; 0 for runsv
	whose       int                    // pid of the scanner; 0 for runsv
	at          atomic.Pointer[origin] // where records are written; nil until it is known
	states      string                 // below which the supervise directories are of services that cannot be written; "": nowhere
	dir         string                 // the scanner's, for the records of other services; "" for runsv
	link        *wire.Link             // to the scanner; nil for runsv
	prefix      bool                   // services without a log service have their lines handed on
	log         int                    // the read end of the scanner's log, or -1
	private     []int                  // descriptors that no child may hold while it is not its program

	mu        sync.Mutex
	linesTo   int           // where what services say goes
	lines     *prefixer     // hands on what services say; nil where none is to
	orphaned  bool          // the scanner is gone
	dropping  bool          // all services were told to exit
	stopping  bool          // when the last service is gone, so is the core
	spare     int           // threads beside those that are needed
	changed   chan struct{} // of one: a service is gone, or the scanner
	tidyTimer *time.Timer
	survivors survivors
	orphans   orphans
	rescued   map[uint64]bool      // logs of earlier scanners that are read on, by inode
	inotify   int                  // watches the supervise directories, or -1
	guarded   map[int32]*unit      // by inotify's number
	linked    map[*unit]linkedPath // those whose supervise is a link
	linkDirs  map[int32]bool       // the directories on the ways there, by inotify's number
	guardKept bool                 // the scanner has a copy of inotify
	unguarded map[int32]bool       // where something was removed that is watched since an earlier core, by inotify's number; nil when all are known

	hosting  hosting
	commands peeker
	outbox   outbox
	stashes  stashes
	needs    needs
	groups   sync.Mutex // is held by who gives a controller to the cgroups of services
	loans    loans
	catch    catchAll
}

// newCore starts what all services share: the worker pool, the reaper, the poller.
func newCore(say func(diag.Level, string, error), pid int, session bool) (*Core, error) {
	c := &Core{
		voice: &diag.Queue{Say: say}, Session: session, self: pid, env: os.Environ(),
		log: -1, states: statedir.Root(), services: newRegistry(), changed: make(chan struct{}, 1), rescued: map[uint64]bool{},
	}
	c.Say, c.stashes.batch = c.voice.Tell, 1
	c.procs = newProcesses(pid == 0)
	c.procs.seen = c.seen
	sealInherited()
	files := self.RaiseFiles()
	c.files = files.Given
	c.descriptors.limit, c.descriptors.room, c.descriptors.unlimited = files.Most, files.Most-self.Reserve, pid == 0
	if err := c.poller.open(); err != nil {
		return nil, err
	}
	c.pool.ready, c.pool.grow = poolMax+urgentMax, c.growPool
	// What is urgent beyond these does without: each takes six of the descriptors of
	// self.Reserve, which a core that may open few needs to take services over.
	c.slots = child.NewSlots(c.poller.epoll, poolMax)
	c.pool.onSlow, c.pool.onCPU, c.procs.held = c.procs.heldUp, onCPU, c.pool.hangs
	c.openGuards()
	c.private = []int{c.poller.epoll}
	c.procs.kernel.signal = self.NotifyDeaths(c.procs.deaths, c.procs.given)
	c.oom.open()
	c.monotonic.start()
	go c.procs.reap()
	go c.poll()
	return c, nil
}

// sealInherited keeps descriptors that whoever started this process has left
// open from the services.
func sealInherited() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	dir, err := os.Open("/proc/self/fd") // a kernel before 5.11
	if err != nil {
		return
	}
	defer dir.Close()
	fds, _ := dir.Readdirnames(-1)
	for _, name := range fds {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// RunDir supervises one service directory until it is told to exit: runsv. The
// error is what kept it from starting.
func RunDir(name string, say func(diag.Level, string, error)) error {
	scarce := self.AwaitThreads(func(err error) { say(diag.Warning, "", err) })
	stop := make(chan os.Signal, 8)
	self.Catch(stop, unix.SIGTERM)
	self.Notify(stop, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	self.IgnorePipe()
	c, err := newCore(say, 0, false)
	if err != nil {
		return err
	}
	c.pool.ready = poolLeast - 1
	if scarce {
		c.awaitThreads()
	} else {
		go threads.Reserve(c.needThreads() + poolLeast)
	}
	defer c.voice.Finish(diag.FinishTime)
	dir, err := servicedir.Open(name)
	if err != nil {
		return err
	}
	s := newService(c, name, "", dir)
	if err := s.open(nil); err != nil {
		return err
	}
	c.services.add(s)
	over := make(chan struct{})
	s.end = func() {
		s.close()
		close(over)
	}
	c.pool.runFirst(func(t *worker) {
		defer s.crash()
		s.begin()
		s.guard()
		s.work(t)
	})
	for {
		select {
		case <-stop:
			s.post(event{kind: evCommand, cmd: machine.CmdExit})
		case <-over:
			c.procs.collectNow() // who waits for this process finds none of its children
			return nil
		}
	}
}

// Tree is what the core of a tree is started with.
type Tree struct {
	Link    int    // descriptor of the socket to the scanner
	Log     int    // the read end of the scanner's log, or -1
	Session bool   // each process in a session of its own
	Share   bool   // log services that may do the same share a process
	Settle  Settle // what of such a log service is settled for it
	Prefix  bool   // the lines of services without a log service have their names before them
	Dir     string // the scanner's
	// Say says something on a descriptor, as a Core's does.
	Say func(fd int, level diag.Level, service string, err error)
}

// Run supervises what the scanner names, and lives on without it until every
// service has been told to exit.
func (t Tree) Run() error {
	scarce := self.AwaitThreads(func(err error) { t.Say(2, diag.Warning, "", err) })
	sigs := make(chan os.Signal, 8) // the others are for the scanner, which may share the terminal
	self.Catch(sigs, unix.SIGTERM)
	self.Notify(sigs, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	self.IgnorePipe()
	debug.SetGCPercent(400)
	scanner := os.Getppid()
	c, err := newCore(nil, os.Getpid(), t.Session)
	if err != nil {
		return err
	}
	c.voice.Say, c.linesTo = c.sayAside(t.Say), toStdout
	c.whose, c.dir, c.prefix = scanner, t.Dir, t.Prefix
	defer c.voice.Finish(diag.FinishTime)
	// Above what children have until they are programs: one that is held up there
	// shall not seem to be this process.
	for _, fd := range []*int{&t.Link, &t.Log} {
		if *fd < 0 {
			continue
		}
		if high, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			unix.Dup3(c.poller.epoll, *fd, unix.O_CLOEXEC) // nothing else shall be so low
			*fd = high
		}
		c.private = append(c.private, *fd)
	}
	c.link, c.log = wire.New(t.Link), t.Log
	c.tidyLater()
	c.hosting.shares, c.hosting.settle = t.Share && loghost.Built, t.Settle
	if scarce {
		c.awaitThreads()
	}
	if t.Share && loghost.Built {
		c.shareLogs()
	}
	return self.OnThread(func(tid int) error {
		c.report(wire.Message{Word: "thread", Arg: strconv.Itoa(tid), Arg2: "0"})
		go c.listen()
		c.serve(sigs)
		c.finishLines()
		return nil
	})
}

// exitTime is how long the order in which services need each other counts when all are to
// exit, where nobody says it.
const exitTime = 8 * time.Second

// serve acts on signals until all is over.
func (c *Core) serve(sigs <-chan os.Signal) {
	for {
		select {
		case sig := <-sigs:
			if sig == unix.SIGTERM { // as if each runsv of the tree got it
				go c.exitAll(exitTime)
			}
		case <-c.changed:
			c.mu.Lock()
			ends := c.orphaned || c.stopping
			c.mu.Unlock()
			if ends && c.services.isEmpty() {
				return
			}
		}
	}
}
