// Package core supervises services in one process: those of a tree, for a scanner, or one
// service directory, for runsv. It makes their processes, takes their commands, writes
// the files under supervise/, and takes over what an earlier core has left.
package core

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
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

	voice   *diag.Queue
	procs   *processes
	pool    pool
	slots   child.Slots
	start   func(order)            // has a process made in place of the pool; nil but in tests
	env     []string               // of the children
	files   *unix.Rlimit           // their limit of descriptors; nil: the runtime's
	clock   atomic.Bool            // the start of a process can be told from the time alone
	self    int                    // pid, as records tell it; 0 for runsv
	whose   int                    // pid of the scanner; 0 for runsv
	at      atomic.Pointer[origin] // where records are written; nil until it is known
	dir     string                 // the scanner's, for the records of other services; "" for runsv
	link    *wire.Link             // to the scanner; nil for runsv
	log     int                    // the read end of the scanner's log, or -1
	epoll   int
	private []int           // descriptors that no child may hold while it is not its program
	ready   syscall.RawConn // epoll, in the runtime's poller

	mu           sync.Mutex
	services     map[string]*service
	watched      map[int32]watch
	added        int           // services, since it was tidied up
	orphaned     bool          // the scanner is gone
	stopping     bool          // when the last service is gone, so is the core
	room         int           // descriptors that services may still take
	limit        int           // of all descriptors
	saidShortage bool          // and that was said
	spare        int           // threads beside those that are needed
	changed      chan struct{} // of one: a service is gone, or the scanner
	tidyTimer    *time.Timer
	survivors    survivors
	orphans      map[[2]uint64]state.Process         // see findOrphans; nil before it was looked for them
	unwritten    map[string]map[string]state.Process // records that are nowhere but with the scanner: of a service by key, of a unit by prefix
	refusals     map[string]string                   // of services that cannot be opened at present, by key
	rescued      map[uint64]bool                     // logs of earlier scanners that are read on, by inode
	inotify      int                                 // watches the supervise directories, or -1
	guarded      map[int32]*unit                     // by inotify's number
	linked       map[*unit]linkedPath                // those whose supervise is a link
	linkDirs     map[int32]bool                      // the directories on the ways there, by inotify's number

	commands peeker
	outbox   outbox
	stashing struct {
		sync.Mutex
		batch int            // its number
		queue []wire.Message // for the scanner
		spare []wire.Message // room for the next
		timer *time.Timer
		sent  int        // the last batch that the scanner has
		sends sync.Mutex // is held while one is sent, which may take the scanner's time
	}
}

// watch is what a descriptor of the poller stands for.
type watch struct {
	unit *unit    // nil: inotify
	proc *process // an adopted one; nil: the unit's control
}

// newCore starts what all services share: the worker pool, the reaper, the poller.
func newCore(say func(diag.Level, string, error), pid int, session bool) (*Core, error) {
	c := &Core{
		voice: &diag.Queue{Say: say}, Session: session, self: pid, env: os.Environ(),
		log: -1, services: map[string]*service{}, watched: map[int32]watch{},
		changed: make(chan struct{}, 1), rescued: map[uint64]bool{}, unwritten: map[string]map[string]state.Process{},
	}
	c.Say, c.stashing.batch = c.voice.Tell, 1
	c.procs = newProcesses(pid == 0)
	c.procs.seen = c.seen
	sealInherited()
	files := self.RaiseFiles()
	c.files = files.Given
	c.limit, c.room = files.Most, files.Most-self.Reserve
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("unable to create epoll: %w", err)
	}
	_, c.ready = wire.InPoller(c.epoll, "epoll")
	c.pool.ready, c.pool.grow = poolMax+urgentMax, c.growPool
	c.slots = child.NewSlots(c.epoll, poolMax)
	c.openGuards()
	c.private = []int{c.epoll}
	c.procs.kernel.signal = self.NotifyDeaths(c.procs.deaths, c.procs.given)
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
	self.AwaitThreads(func(err error) { say(diag.Warning, "", err) })
	stop := make(chan os.Signal, 8)
	signal.Notify(stop, unix.SIGTERM)
	self.RelayPending(stop, unix.SIGTERM)
	self.Notify(stop, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	self.IgnorePipe()
	c, err := newCore(say, 0, false)
	if err != nil {
		return err
	}
	c.pool.ready = poolLeast - 1
	if threads.Scarce() {
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
	c.services[""] = s
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
			return nil
		}
	}
}

// Tree is what the core of a tree is started with.
type Tree struct {
	Link    int    // descriptor of the socket to the scanner
	Log     int    // the read end of the scanner's log, or -1
	Session bool   // each process in a session of its own
	Dir     string // the scanner's
	Say     func(diag.Level, string, error)
}

// Run supervises what the scanner names, and lives on without it until every
// service has been told to exit.
func (t Tree) Run() error {
	self.AwaitThreads(func(err error) { t.Say(diag.Warning, "", err) })
	sigs := make(chan os.Signal, 8) // the others are for the scanner, which may share the terminal
	signal.Notify(sigs, unix.SIGTERM)
	self.RelayPending(sigs, unix.SIGTERM)
	self.Notify(sigs, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	self.IgnorePipe()
	debug.SetGCPercent(400)
	scanner := os.Getppid()
	c, err := newCore(t.Say, os.Getpid(), t.Session)
	if err != nil {
		return err
	}
	c.whose, c.dir = scanner, t.Dir
	defer c.voice.Finish(diag.FinishTime)
	// Above what children have until they are programs: one that is held up there
	// shall not seem to be this process.
	for _, fd := range []*int{&t.Link, &t.Log} {
		if *fd < 0 {
			continue
		}
		if high, err := unix.FcntlInt(uintptr(*fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			unix.Dup3(c.epoll, *fd, unix.O_CLOEXEC) // nothing else shall be so low
			*fd = high
		}
		c.private = append(c.private, *fd)
	}
	runtime.GOMAXPROCS(processors())
	c.link, c.log = wire.New(t.Link), t.Log
	c.mu.Lock()
	c.tidyLater()
	c.mu.Unlock()
	c.awaitThreads()
	return self.OnThread(func(tid int) error {
		c.report(wire.Message{Word: "thread", Arg: strconv.Itoa(tid), Arg2: "0"})
		go c.listen()
		c.serve(sigs)
		return nil
	})
}

// awaitThreads waits, where there may be too little room, for the threads that a core
// cannot do without: what it starts takes of the same room. It has what it can get of
// those that it would make later otherwise.
func (c *Core) awaitThreads() {
	if !threads.Scarce() {
		return
	}
	c.mu.Lock()
	c.spare = spareThreads
	c.mu.Unlock()
	need := c.needThreads()
	for said := false; !threads.Reserve(need + poolLeast); said = true {
		if !said {
			c.Say(diag.Warning, "", errors.New("too few processes may be made for a supervisor; waiting."))
		}
		time.Sleep(time.Second)
	}
	for c.pool.ready = poolLeast; c.pool.ready < poolMax && threads.Reserve(need+c.pool.ready+1); {
		c.pool.ready++
	}
}

// spareThreads are for calls of the kernel that never wait: where the machine is busy
// they take long enough for the runtime to use another thread meanwhile.
const spareThreads = 2

// growPool sees to threads for n jobs at once and says whether there are.
func (c *Core) growPool(n int) bool { return threads.More(c.needThreads() + n + 1) }

// serve acts on signals until all is over.
func (c *Core) serve(sigs <-chan os.Signal) {
	for {
		select {
		case sig := <-sigs:
			if sig == unix.SIGTERM { // as if each runsv of the tree got it
				c.everyone(event{kind: evCommand, cmd: machine.CmdExit})
			}
		case <-c.changed:
			c.mu.Lock()
			over := (c.orphaned || c.stopping) && len(c.services) == 0
			c.mu.Unlock()
			if over {
				return
			}
		}
	}
}

// discardLog reads a log that no scanner reads any more, so that its writers are
// neither held up nor killed. It waits without a thread, for which there may be no
// room.
func discardLog(fd int) {
	file, conn := wire.InPoller(fd, "log")
	defer file.Close()
	buf := make([]byte, 4096)
	conn.Read(func(fd uintptr) bool {
		n, err := 1, error(nil)
		for n > 0 || err == unix.EINTR {
			n, err = unix.Read(int(fd), buf)
		}
		return err != unix.EAGAIN
	})
}

// drainLog is the same for one whose lines go on to out.
func drainLog(fd, out int) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			unix.Close(fd)
			return
		}
		unix.Write(out, buf[:n])
	}
}

// rescueLog reads on, for a process that is about to be adopted, the log that
// its stderr leads to, if that is of a scanner that was killed: without a
// reader the process would be killed by SIGPIPE when it has something to say.
func (c *Core) rescueLog(was *priorState) error {
	if c.log < 0 || !was.there {
		return nil
	}
	if ours, err := proc.IsOwn(); !ours { // there another process has its number
		return err
	}
	r, err := sys.ReopenPipe("/proc/"+strconv.Itoa(was.record.PID)+"/fd/2", unix.O_RDONLY)
	if r < 0 {
		return err
	}
	var its, own unix.Stat_t
	unix.Fstat(r, &its)
	unix.Fstat(c.log, &own)
	c.mu.Lock()
	known := its.Ino == own.Ino || c.rescued[its.Ino]
	c.rescued[its.Ino] = true
	c.mu.Unlock()
	if known {
		unix.Close(r)
		return nil
	}
	go func() {
		threads.Reserve(threads.Count() + 1)
		drainLog(r, 2)
	}()
	return nil
}

func (c *Core) isOrphaned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orphaned
}

// everyone sends an event to every service.
func (c *Core) everyone(ev event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.services {
		ev.who = &s.main
		s.post(ev)
	}
}

// quit ends the process without touching a service. What is on its way is
// brought to its end; beyond that, what a kill leaves is good enough.
func (c *Core) quit() {
	c.procs.leave()
	c.everyone(event{kind: evDetach})
	for deadline := time.Now().Add(detachTime); time.Now().Before(deadline); {
		c.mu.Lock()
		n := len(c.services)
		c.mu.Unlock()
		n += c.procs.making() // no process is half made
		if n == 0 {
			break
		}
		select {
		case <-c.changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	c.voice.Finish(100 * time.Millisecond)
	os.Exit(0)
}

// detachTime is how long the end of the process waits for services that are held up.
const detachTime = 300 * time.Millisecond

// listen does what the scanner says.
func (c *Core) listen() {
	for {
		ms, err := c.link.Receive()
		if err != nil {
			c.mu.Lock()
			c.orphaned = true
			pending := map[int32]watch{}
			for fd, w := range c.watched {
				if w.proc != nil {
					pending[fd] = w
				}
			}
			c.mu.Unlock()
			for fd, w := range pending {
				c.rewatch(w, int(fd))
			}
			if c.log >= 0 { // nobody else reads what services say on stderr
				go discardLog(c.log)
			}
			c.notice()
			return
		}
		for _, m := range ms {
			c.handle(m)
		}
	}
}

// handle does what one message says.
func (c *Core) handle(m wire.Message) {
	switch m.Word {
	case "add":
		switch {
		case len(m.FDs) == 0: // there was no room for them
			c.refuse(m.Arg, m.Name)
		default:
			held, tags, _ := strings.Cut(m.Arg2, ",")
			k := stash{}
			lines := map[string]state.Process{}
			for i, tag := range strings.Split(tags, ",") {
				if i+1 < len(m.FDs) {
					k[tag] = m.FDs[i+1]
				} else if prefix, l, ok := state.ParseTag(tag); ok {
					lines[prefix] = l
				}
			}
			if len(lines) > 0 {
				c.mu.Lock()
				c.unwritten[m.Arg] = lines
				c.mu.Unlock()
			}
			c.add(m.Arg, m.Name, servicedir.Dir{FD: m.FDs[0]}, k, held)
		}
	case "drop":
		c.mu.Lock()
		s := c.services[m.Arg]
		c.mu.Unlock()
		if s != nil {
			s.post(event{kind: evCommand, cmd: machine.CmdExit})
		} else {
			c.procs.unreserve(m.Arg)
		}
	case "ready":
		c.mu.Lock()
		s := c.services[m.Arg]
		c.mu.Unlock()
		if s != nil {
			s.post(event{kind: evReady})
		}
	case "died":
		pid, err1 := strconv.Atoi(m.Arg)
		status, err2 := strconv.Atoi(m.Arg2)
		if err1 == nil && err2 == nil {
			c.procs.inherited(pid, unix.WaitStatus(status))
		}
	case "stop":
		if ms, err := strconv.Atoi(m.Arg); err == nil {
			go c.stopAll(time.Duration(ms) * time.Millisecond)
		}
	case "quit":
		go c.quit()
	}
}

// add takes a service in. What cannot be opened is told and gone.
func (c *Core) add(key, name string, dir servicedir.Dir, k stash, state string) {
	s := newService(c, name, key, dir)
	s.waits = state == wire.StateWaits
	c.mu.Lock()
	c.services[key] = s
	if c.added++; c.added == smallTree+1 {
		// Who waits for a child to become a program keeps a processor of the scheduler's
		// for a while.
		runtime.GOMAXPROCS(processors() + poolMax)
	}
	c.tidyLater()
	c.mu.Unlock()
	c.procs.opening()
	c.pool.runOpen(func(t *worker) {
		s.yield = t.yield
		c.enter(s, k, state == wire.StateExit)
	})
}

// enter opens a service.
func (c *Core) enter(s *service, k stash, dropped bool) {
	defer s.crash()
	err := c.admit(s, k)
	if err == nil {
		c.procs.unreserve(s.key)
		c.refusal(s.key, "")
		c.mu.Lock()
		delete(c.unwritten, s.key)
		c.mu.Unlock()
	}
	c.procs.opened()
	status := "0"
	s.end = func() { c.gone(s, status) }
	switch {
	case err == nil:
		if dropped {
			s.main.st.Want = state.WantExit
			s.recordWant(&s.main)
		}
		c.pool.runStart(func(t *worker) { c.launch(s, t) })
		return
	case errors.Is(err, self.ErrShortage):
		c.sayShortage(s.name)
		status = wire.NoDescriptors
	case servicedir.Transient(err):
		if c.refusal(s.key, err.Error()) {
			c.Say(diag.Warning, s.name, fmt.Errorf("%w; trying again.", err))
		}
		status = wire.NotNow
	default:
		c.Say(diag.Fatal, s.name, err)
		status = "111"
	}
	s.end()
}

// refusal notes why a service cannot be opened now, "" where it was, and says
// whether that is new.
func (c *Core) refusal(key, why string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why == "" {
		delete(c.refusals, key)
		return false
	}
	if c.refusals == nil {
		c.refusals = map[string]string{}
	}
	before := c.refusals[key]
	c.refusals[key] = why
	return before != why
}

// launch makes the first processes of a service here and now, and looks at what
// has happened to it since it was opened.
func (c *Core) launch(s *service, t *worker) {
	defer s.crash()
	if c.doInline(s, t, s.begin) {
		s.work(t)
	}
}

// doInline has something done to a service, and makes the processes that it asks for
// here and now: for another worker to make them it would take a thread more, and
// that woken. It says whether the service still is the caller's. Without a worker the
// pool makes them.
func (c *Core) doInline(s *service, t *worker, do func()) bool {
	if t == nil || c.start != nil {
		do()
		return true
	}
	s.orders, s.inline = t.orders[:0], true
	do()
	for i := 0; i < len(s.orders); i++ { // handling one may bring another
		o, next := s.orders[i], i+1 // from here on the service may be another's
		t.whenSlow(func() { c.handOver(s, next) })
		ev := c.make(o)
		if !t.done() {
			s.post(ev)
			c.tell(ev)
			t.orders = nil
			return false
		}
		s.handle(ev)
		c.tell(ev)
	}
	clear(s.orders)
	t.orders, s.orders, s.inline = s.orders, nil, false
	return true
}

// handOver gives a service to another owner, since a process of
// it takes its time to be made: others of it, and commands, do not wait for that. The
// orders from next on are not begun.
func (c *Core) handOver(s *service, next int) {
	c.pool.runFirst(func(t *worker) {
		defer s.crash()
		rest := s.orders[next:]
		s.orders, s.inline = nil, false
		for _, o := range rest {
			c.spawn(o)
		}
		s.showStarting()
		s.work(t)
	})
}

// gone lets a service go.
func (c *Core) gone(s *service, status string) {
	s.close()
	c.mu.Lock()
	delete(c.services, s.key)
	c.mu.Unlock()
	c.give(s.taken)
	if !s.detached {
		c.report(wire.Message{Word: "gone", Arg: s.key, Arg2: status})
	}
	c.notice()
}

// processors is how many processors the core uses: there is a thread for each.
func processors() int { return min(runtime.NumCPU(), poolMax) }

// needThreads is how many threads the core needs beside those of its worker pool: the
// runtime's, one for each processor, and one for what waits in the kernel: the reaper,
// and logs that are read on to standard error.
func (c *Core) needThreads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := threads.Runtime + runtime.GOMAXPROCS(0) + 1 + len(c.rescued) + c.spare
	if c.link != nil { // the scanner watches the main goroutine's
		n++
	}
	return n
}

// smallTree is how many services are started with one of the
// scheduler's processors for each of the machine's. More than that have them up a twentieth sooner, and take
// 100 KiB of memory each.
const smallTree = 128

// tidyLater gives back, when no service has been added for a while, what adding them
// took. c.mu is locked.
func (c *Core) tidyLater() {
	if c.tidyTimer == nil {
		c.tidyTimer = time.AfterFunc(tidyTime, c.tidyUp)
	} else {
		c.tidyTimer.Reset(tidyTime)
	}
}

const tidyTime = 3 * time.Second

// tidyUp is what tidy has done.
func (c *Core) tidyUp() { c.guardAll(c.tidyNow) }

// tidyNow is what there is to be done when all are guarded.
func (c *Core) tidyNow() {
	c.pool.shrink()
	need := c.needThreads() + poolLeast
	for range min(poolMax, max(0, threads.Count()-need)) { // each of them ends with the thread that it is on
		go runtime.LockOSThread()
	}
	threads.Reserve(need)
	debug.SetGCPercent(50)
	c.mu.Lock()
	large := c.added > smallTree
	c.added = 0
	c.mu.Unlock()
	if large { // else the first collection takes more memory than there is to give back
		debug.FreeOSMemory()
	}
}

// admit opens a service that there is room for.
func (c *Core) admit(s *service, k stash) error {
	if !c.take(self.NeedMain) {
		k.close()
		return self.ErrShortage
	}
	s.taken = self.NeedMain
	return s.open(k)
}

// take reserves descriptors for a service of a tree, if there are as many.
func (c *Core) take(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return true
	}
	if c.room < n {
		return false
	}
	c.room -= n
	return true
}

// give takes back what take has reserved.
func (c *Core) give(n int) {
	c.mu.Lock()
	c.room += n
	c.mu.Unlock()
}

// refuse leaves a service that there is no room for with the scanner.
func (c *Core) refuse(key, name string) {
	c.sayShortage(name)
	c.report(wire.Message{Word: "gone", Arg: key, Arg2: wire.NoDescriptors})
}

// sayShortage says, once, that there are too few descriptors for a service.
func (c *Core) sayShortage(name string) {
	c.mu.Lock()
	said := c.saidShortage
	c.saidShortage = true
	c.mu.Unlock()
	if !said {
		c.Say(diag.Warning, "", self.Shortage(name, c.limit))
	}
}

func (c *Core) notice() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// stopAll has every service exit. At the deadline what still runs is killed,
// services first, then log services, so that these can read what is left.
func (c *Core) stopAll(limit time.Duration) {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	c.everyone(event{kind: evCommand, cmd: machine.CmdExit})
	c.notice()
	time.Sleep(limit - limit/8)
	c.procs.kill(false)
	time.Sleep(limit / 8)
	c.procs.kill(true)
}

// crash says what a service's goroutine panicked about, and ends the process:
// the next core takes over.
func (s *service) crash() {
	if r := recover(); r != nil {
		s.fatal(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		s.core.voice.Finish(diag.FinishTime)
		os.Exit(2)
	}
}

// poll waits for command bytes and for the ends of adopted processes.
func (c *Core) poll() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		var err error
		if e := c.ready.Read(func(fd uintptr) bool {
			// Raw, since it never waits: the runtime needs no thread in its place.
			r, _, no := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
			if n, err = int(r), nil; no != 0 {
				n, err = -1, no
			}
			return n != 0
		}); e != nil {
			err = e
		}
		if err != nil && err != unix.EINTR {
			panic(err)
		}
		for _, ev := range events[:max(n, 0)] {
			c.mu.Lock()
			w, ok := c.watched[ev.Fd]
			c.mu.Unlock()
			switch {
			case !ok:
			case w.unit == nil:
				c.removals()
			case w.proc == nil:
				if w.unit.told.CompareAndSwap(false, true) {
					w.unit.svc.post(event{kind: evReadable, who: w.unit})
				}
			default:
				c.ending(w, int(ev.Fd))
			}
		}
	}
}

// watchControl has the unit told when bytes come; edge-triggered, so that one
// who writes and writes wakes the service no more often than it reads.
func (c *Core) watchFD(fd int, w watch, events uint32) error {
	c.mu.Lock()
	c.watched[int32(fd)] = w
	c.mu.Unlock()
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// unwatch forgets a descriptor and closes it.
func (c *Core) unwatch(fd int) {
	c.mu.Lock()
	delete(c.watched, int32(fd))
	c.mu.Unlock()
	unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	unix.Close(fd)
}

// stashNow leaves copies of the service's descriptors with the scanner: bytes in
// the FIFOs, lines in the pipe and the ends of processes that the scanner will
// not see outlive this process there.
func (c *Core) stashNow(s *service) {
	c.stashSoon(s)
	c.awaitStash(s)
}

// stashSoon is keep at the latest in stashDelay, or when it is asked for by kept,
// together with what others have to keep by then. Until then no descriptor of
// the service may be closed.
func (c *Core) stashSoon(s *service) {
	if c.link == nil {
		return
	}
	var tags []string
	var fds []int
	add := func(tag string, fd int) {
		if fd >= 0 {
			tags, fds = append(tags, tag), append(fds, fd)
		}
	}
	for _, u := range s.units() {
		add(u.prefix+"lock", u.lock)
		add(u.prefix+"control", u.control)
		add(u.prefix+"ok", u.ok)
		if u.foreign {
			add(pidTag(u, u.pid), u.pidfd)
		}
	}
	if s.piped {
		add("pipe", s.pipe[1])
	}
	for _, u := range s.units() {
		if u.left {
			u.records.Lock()
			tags = append(tags, u.rec.Tag(u.prefix))
			u.records.Unlock()
		}
	}
	for i := range s.lanes {
		if l := &s.lanes[i]; l.left {
			tags = append(tags, l.rec.Tag(hookTag(l.hook)))
		}
	}
	k := &c.stashing
	k.Lock()
	k.queue = append(k.queue, wire.Message{Word: "keep", Arg: s.key, Arg2: strings.Join(tags, ","), FDs: fds})
	s.stashBatch = k.batch
	n := len(k.queue)
	switch {
	case n == wire.BatchMax:
	case k.timer == nil:
		k.timer = time.AfterFunc(stashDelay, c.sendStash)
	case n == 1:
		k.timer.Reset(stashDelay)
	}
	k.Unlock()
	if n == wire.BatchMax {
		c.sendStash()
	}
}

// stashDelay is how long what is to be kept waits for company.
const stashDelay = 5 * time.Millisecond

// awaitStash sees to it that the scanner has what it is to keep of the service.
func (c *Core) awaitStash(s *service) {
	if c.link == nil {
		return
	}
	k := &c.stashing
	k.Lock()
	waits, isSent := s.stashBatch == k.batch, s.stashBatch <= k.sent
	k.Unlock()
	switch {
	case waits:
		c.sendStash()
	case !isSent: // another is about to
		k.sends.Lock()
		k.sends.Unlock()
	}
}

// sendStash sends what is to be kept. Who has nothing in it does not wait for it.
func (c *Core) sendStash() {
	k := &c.stashing
	k.sends.Lock()
	defer k.sends.Unlock()
	k.Lock()
	queue, batch := k.queue, k.batch
	k.queue, k.spare = k.spare[:0], nil
	k.batch++
	k.Unlock()
	if sent, err := c.link.Send(queue...); err != nil {
		c.stashLater(queue[sent:], err)
	}
	clear(queue)
	k.Lock()
	k.spare, k.sent = queue, batch
	k.Unlock()
}
