package core

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
)

// role is what a process is to its service.
type role byte

const (
	isRun role = iota
	isFinish
	isHook // isHook+lane: a control script
)

// The lanes of control scripts. In a lane one script runs at a time and the
// commands behind it wait; the lanes do not wait for each other. The end of
// ./run waits for the scripts that are to end it: such a script may be about to
// send supervise/pid a KILL, which must not meet the next process. A script for
// another signal that hangs stops neither the service's end nor its restart.
const (
	laneUp     = iota // u
	laneLife          // t, d, x
	laneKill          // k
	laneSignal        // the other signals
	lanes
)

// ending says whether a control script runs that is to end ./run.
func (s *service) ending() bool { return s.lanes[laneLife].busy || s.lanes[laneKill].busy }

// evKind is what an event of a service's channel tells.
type evKind byte

const (
	evReadable   evKind = iota // supervise/control of who has bytes
	evSpawned                  // pid was made
	evUnmade                   // a process could not be made
	evUnexecuted               // it could not be executed
	evDied                     // pid has ended with ws; when that is recorded proc may go
	evRested                   // the rest of who is over
	evCommand                  // cmd, as if read from supervise/control
	evDetach                   // close everything, touch no process: another core takes over
	evRepair                   // what could not be written is to be tried again
	evGuard                    // supervise/ is to be watched for removals
	evRemoved                  // something was removed from it
	evReady                    // what was missing for a start is there
	evStash                    // the scanner has yet to get its descriptors
	evSlow                     // a process takes its time to be made
)

// event is what happens to a service.
type event struct {
	kind   evKind
	role   role
	cmd    machine.Event
	who    *unit
	pid    int
	ws     unix.WaitStatus
	err    error
	number int            // of the rest
	rec    *state.Process // the record of a control script
	proc   *process       // nil: nobody keeps it
}

// job is a command that may have to wait for a control script.
type job struct {
	hook byte
	of   int  // the process that it is about; 0: none
	last bool // it belongs to the script before it
	then func(suppressed bool)
}

// lane is the queue of control scripts that run one after the other.
type lane struct {
	busy  bool
	hook  byte
	pid   int
	pidfd int           // of a script that an earlier core has begun; else 0
	rec   state.Process // its record, of a script that is to end ./run
	left  bool          // which could not be written: the scanner has it
	then  func(suppressed bool)
	queue []job
}

// laneMax is how many commands may wait in a lane before the FIFO is left
// unread; the writers then get EAGAIN when it is full, as with runsv.
const laneMax = 1000

// unit is one supervised process with its files: a service or its log service.
// (What is small is together: there may be thousands.)
type unit struct {
	svc      *service
	prefix   string // "" or "log/"
	st       machine.Status
	fresh    bool        // there was no ./supervise before
	stashed  bool        // an earlier core was killed over it: a record that is missing was removed
	replaced bool        // the process that was adopted is of a directory that was here before
	making   bool        // an earlier core was about to make ./run, and no process came of it
	foreign  bool        // the adopted process is no child of the scanner
	unread   bool        // bytes were left in the FIFO on purpose
	more     bool        // bytes may be left in the FIFO, to be read next
	left     bool        // the record is not written, and the scanner has it; the owner of the service knows
	told     atomic.Bool // of bytes in the FIFO, and has not looked since
	ws       unix.WaitStatus
	guarded  int32 // inotify's number for supervise; 0: none
	pid      int
	since    time.Time // as supervise/status tells it
	began    time.Time // of ./run
	control  int
	ok       int
	lock     int // of supervise/lock, which is held as long as it is open
	pidfd    int // of an adopted process, else -1
	rest     *time.Timer
	rests    int // the number of the last rest

	records  sync.Mutex    // guards the following, and is held while the record is written
	rec      state.Process // the record
	recorded bool          // and it was written
	want     state.Want    // the standing order, as the record is to tell it

	unwritten bool // pid, stat or status could not be written

	written struct { // what the files say
		any    bool
		status [state.StatusSize]byte
		pid    int
		stat   string
	}
}

// service is a service directory with its log service. At any moment one
// goroutine owns it, and none while nothing happens to it: a stack for each
// would be a third of the memory of an idle tree.
type service struct {
	core        *Core
	name        string // as messages tell it
	key         string // device and inode, for the scanner
	dir         servicedir.Dir
	main        unit
	log         *unit
	pipe        [2]int
	piped       bool // the pipe to the log service is open
	unfed       bool // the log service was told to end by closing the pipe
	badLog      bool // ./log is no directory, and that was said
	inline      bool // what is to be made is put into orders
	looked      bool // it was just looked for ./log
	readOnly    bool // its file system is, and that was said
	takenOver   bool // another core has let go of it
	opened      bool
	published   bool // the status files are written and ok answers
	detached    bool
	deleted     bool
	waits       bool   // it has no ./run that can be executed, and is not started until it has
	ordered     int    // processes being made
	taken       int    // descriptors that are its to open
	yield       func() // has another open what waits
	orders      []order
	held        stash // pipes that are held until the service is open
	stashBatch  int   // which batch of descriptors its own are in
	lanes       [lanes]lane
	peeked      *unit         // whose next command is being obeyed, and is in its FIFO still
	repairTimer *time.Timer   // while something that could not be written waits
	repairWait  time.Duration // how long it waits
	end         func()        // is called when it is over, by who owns it then

	mail struct {
		sync.Mutex
		queue []event
		owned bool // somebody looks at the queue before he lets go of the service
		over  bool
	}
}

// units are the service and its log service.
func (s *service) units() []*unit {
	if s.log == nil {
		return []*unit{&s.main}
	}
	return []*unit{&s.main, s.log}
}

func newService(c *Core, name, key string, dir servicedir.Dir) *service {
	s := &service{core: c, name: name, key: key, dir: dir}
	s.mail.owned = true // by who opens it
	s.main.svc, s.main.control, s.main.ok, s.main.lock, s.main.pidfd = s, -1, -1, -1, -1
	return s
}

// post has an event handled, after those before it. It never waits.
func (s *service) post(ev event) {
	m := &s.mail
	m.Lock()
	defer m.Unlock()
	if m.over {
		return
	}
	m.queue = append(m.queue, ev)
	if !m.owned {
		m.owned = true
		s.core.pool.runFirst(s.work)
	}
}

// take takes the next event out of the queue. Where there is none the caller lets
// go of the service, unless he has more to do.
func (s *service) take(more bool) (ev event, ok bool) {
	m := &s.mail
	m.Lock()
	defer m.Unlock()
	if len(m.queue) > 0 {
		ev, m.queue = m.queue[0], m.queue[1:]
		return ev, true
	}
	m.queue = nil
	m.owned = more
	return ev, false
}

// work handles events until there are none, or the service is over or another's. Its
// caller owns the service.
func (s *service) work(t *worker) {
	defer s.crash()
	for !s.over() {
		more := false
		for _, u := range s.units() {
			more = more || u.more
		}
		switch ev, ok := s.take(more); {
		case ok:
			if !s.core.doInline(s, t, func() { s.handle(ev) }) {
				return
			}
		case !more:
			return
		default:
			if !s.core.doInline(s, t, s.readMore) {
				return
			}
		}
	}
	s.mail.Lock()
	s.mail.over, s.mail.queue = true, nil
	s.mail.Unlock()
	s.end()
}

// over says whether the service is let go. With a log service that takes two
// steps: the pipe is closed, and the logger ends when it has read all.
func (s *service) over() bool {
	if s.detached {
		return s.ordered == 0
	}
	if s.deleted && s.main.st.Want != state.WantExit {
		s.feed(&s.main, machine.CmdExit)
	}
	if s.main.st.Phase != machine.Idle || s.main.st.Want != state.WantExit || s.ordered > 0 || s.lanes[laneLife].busy { // control/x is the last to run
		return false
	}
	if s.log == nil {
		return true
	}
	if !s.unfed {
		if s.unread() { // it is not left to the next life, which may never come
			return false
		}
		s.unfed = true
		s.closePipe()
		s.core.stashNow(s) // nobody else holds it open for writing either
		s.feed(s.log, machine.Unfed)
	}
	return s.log.st.Phase == machine.Idle && s.ordered == 0
}

// unread says whether lines wait in the pipe for a log service that rests, and
// if so ends the rest.
func (s *service) unread() bool {
	l := s.log
	if s.piped && l.st.Phase == machine.Resting {
		if n, err := unix.IoctlGetInt(s.pipe[0], unix.TIOCINQ); err == nil && n > 0 {
			s.feed(l, machine.CmdUp)
		}
	}
	return l.st.Phase == machine.Starting
}

// handle acts on one event.
func (s *service) handle(ev event) {
	switch ev.kind {
	case evReadable:
		ev.who.more = s.read(ev.who, readAtOnce)
	case evCommand:
		s.drain(&s.main) // what was written before it counts before it, as with runit
		s.command(&s.main, ev.cmd)
	case evDetach:
		s.detached = true
	case evRepair:
		s.repair()
	case evGuard:
		s.guard()
	case evRemoved:
		s.repairLater() // what empties it shall be done before
	case evReady:
		s.waits = false
		s.feed(&s.main, machine.Begin)
	case evStash:
		s.core.stashNow(s)
	case evSlow:
		s.showStarting()
	case evSpawned, evUnmade, evUnexecuted:
		s.ordered--
		s.answered(ev)
		s.publish()
	case evDied:
		s.died(ev)
	case evRested:
		if ev.who.rest != nil && ev.number == ev.who.rests { // else it was stopped a moment ago
			ev.who.rest = nil
			s.feed(ev.who, machine.Rested)
		}
	}
}

// command obeys one command; a byte that is none does nothing. A log service
// knows no exit: it ends when its pipe does.
func (s *service) command(u *unit, cmd machine.Event) {
	switch cmd {
	case machine.CmdUp, machine.CmdOnce:
		if u != &s.main && s.unfed { // its service goes, and its pipe has gone
			return
		}
		if s.unfed { // it stays after all
			s.unfed = false
			s.feed(s.log, machine.CmdUp)
		}
	case byteDetach:
		s.detached = s.detached || s.core.isOrphaned()
		return
	case machine.CmdDown, machine.CmdExit, machine.CmdTerm, machine.CmdKill, machine.CmdPause, machine.CmdCont, machine.CmdHup, machine.CmdAlarm, machine.CmdInt, machine.CmdQuit, machine.CmdUsr1, machine.CmdUsr2:
	default:
		return
	}
	s.feed(u, cmd)
}

// feed gives the machine an event and does what it says.
func (s *service) feed(u *unit, ev machine.Event) {
	before := u.st
	st, row := machine.Step(u.st, ev)
	u.st = st
	if before.Phase != st.Phase {
		if u.rest != nil {
			u.rest.Stop()
			u.rest = nil
		}
		switch {
		case st.Phase == machine.Running:
			u.since = time.Now()
		case st.Phase.State() == state.Down && before.Phase.State() != state.Down:
			u.since = time.Now()
		}
	}
	if before.Want != st.Want || row.Record && st.Want == state.WantOnce {
		s.recordWant(u)
	}
	s.takeOut()
	s.do(u, row.Do) // first: that down is wanted is written together with the TERM
	if !row.Later {
		u.write()
	}
}

// sends are the effects that send a signal, and the script that may suppress
// it. Like all tables here it is an array or a function, since each start of an
// applet would have to fill a map.
var sends = [...]struct {
	hook byte
	sig  unix.Signal
	lane int
	then machine.Event // what the machine is told then
}{
	machine.SendKill:  {'k', unix.SIGKILL, laneKill, 0},
	machine.SendStop:  {'p', unix.SIGSTOP, laneSignal, machine.StopSent},
	machine.SendCont:  {'c', unix.SIGCONT, laneSignal, machine.ContSent},
	machine.SendHup:   {'h', unix.SIGHUP, laneSignal, 0},
	machine.SendAlarm: {'a', unix.SIGALRM, laneSignal, 0},
	machine.SendInt:   {'i', unix.SIGINT, laneSignal, 0},
	machine.SendQuit:  {'q', unix.SIGQUIT, laneSignal, 0},
	machine.SendUsr1:  {'1', unix.SIGUSR1, laneSignal, 0},
	machine.SendUsr2:  {'2', unix.SIGUSR2, laneSignal, 0},
}

// do has one effect happen.
func (s *service) do(u *unit, e machine.Effect) {
	switch e {
	case machine.Nothing:
	case machine.Start:
		if u == &s.main {
			s.attachLog()
		}
		s.hook(u, laneUp, job{hook: 'u', then: func(bool) { s.feed(u, machine.Ready) }})
	case machine.Spawn:
		s.spawn(u, isRun)
	case machine.SpawnFinish:
		s.spawn(u, isFinish)
	case machine.Stop:
		s.stop(u)
	case machine.Rest:
		u.restFor(time.Second)
	case machine.RestLong:
		u.restFor(5 * time.Second)
	case machine.RestOn:
		u.restFor(time.Second - time.Since(u.began))
	case machine.TellUnready:
		if err := s.dir.Executable("run", false); err != nil { // of one that is being written there is nothing to say
			s.fatal(fmt.Errorf("unable to start ./run: %w", err))
		}
	case machine.Await:
		u.restFor(10 * time.Second)
	case machine.TellHeld:
		s.tellHeld()
	default:
		if send := sends[e]; send.sig != 0 {
			s.hook(u, send.lane, job{hook: send.hook, of: u.pid, then: s.sent(u, u.pid, e)})
		}
	}
}

// sent is what a signal's control script is followed by: the signal.
func (s *service) sent(u *unit, pid int, e machine.Effect) func(suppressed bool) {
	return func(suppressed bool) {
		if !suppressed {
			u.signal(pid, sends[e].sig)
		}
		if then := sends[e].then; then != 0 && u.pid == pid {
			s.feed(u, then)
		}
	}
}

// tellHeld warns of the control scripts that the end of ./run waits for.
func (s *service) tellHeld() {
	for _, l := range []int{laneLife, laneKill} {
		if lane := &s.lanes[l]; lane.busy {
			s.warn(fmt.Errorf("control/%c (pid %d) still runs: what comes after the end of ./run waits for it", lane.hook, lane.pid))
		}
	}
}

// restFor has the machine told in d that the rest is over, unless that is stopped.
func (u *unit) restFor(d time.Duration) {
	u.rests++
	number := u.rests
	u.rest = time.AfterFunc(d, func() { u.svc.post(event{kind: evRested, who: u, number: number}) })
}

// stop asks the process to end: control/t or TERM, and where it is to stay
// down CONT, so that a stopped process hears of it, and control/d or control/x.
func (s *service) stop(u *unit) {
	s.hook(u, laneLife, job{hook: 't', of: u.pid, then: s.stopped(u, u.pid)})
}

// stopped is what control/t is followed by.
func (s *service) stopped(u *unit, pid int) func(suppressed bool) {
	return func(suppressed bool) {
		if !suppressed && u.signal(pid, unix.SIGTERM) {
			s.feed(u, machine.TermSent)
		}
		var last byte
		switch u.st.Want {
		case state.WantDown:
			last = 'd'
		case state.WantExit:
			last = 'x'
		default:
			return
		}
		if u.signal(pid, unix.SIGCONT) {
			s.feed(u, machine.ContSent)
		}
		s.hookNext(u, laneLife, job{hook: last, of: pid, last: true, then: func(bool) {}})
	}
}

// signal sends sig to ./run if pid still is it.
func (u *unit) signal(pid int, sig unix.Signal) bool {
	if pid == 0 || u.pid != pid || u.st.Phase != machine.Running {
		return false
	}
	return proc.SendSignal(pid, u.pidfd, sig) == nil
}

// hook runs a control script and then goes on, told whether the script suppressed
// the signal: by exit 0. Where there is no such script it goes on at once.
func (s *service) hook(u *unit, l int, j job) {
	if u != &s.main { // a log service has no control scripts
		j.then(false)
		return
	}
	if s.lanes[l].busy {
		s.lanes[l].queue = append(s.lanes[l].queue, j)
		return
	}
	s.runHook(l, j)
}

// hookNext is hook for the script that belongs to the one just over: it comes
// before what waits.
func (s *service) hookNext(u *unit, l int, j job) {
	if u == &s.main && s.lanes[l].busy {
		s.lanes[l].queue = append([]job{j}, s.lanes[l].queue...)
		return
	}
	s.hook(u, l, j)
}

// runHook runs the script of a job whose turn it is. A process that has ended
// meanwhile, or is about to be followed by another, needs none any more.
func (s *service) runHook(l int, j job) {
	if j.of != 0 && j.of != s.main.pid {
		j.then(false)
		return
	}
	path := "control/" + string(j.hook)
	st, err := s.dir.Stat(path)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		s.warn(fmt.Errorf("unable to stat %s: %w", path, err))
	}
	if err != nil || st.Mode&unix.S_IXUSR == 0 {
		j.then(false)
		return
	}
	s.lanes[l].busy, s.lanes[l].hook, s.lanes[l].then = true, j.hook, j.then
	s.main.write() // what was put off: the script may take its time
	s.order(&s.main, isHook+role(l), []string{path})
}

// hookOver goes on after a control script, and then with what waited for it.
func (s *service) hookOver(l int, suppressed bool) {
	lane := &s.lanes[l]
	s.forgetHook(l)
	then := lane.then
	lane.pid, lane.then = 0, nil
	then(suppressed) // the lane is still busy: what this asks for waits its turn
	lane.busy = false
	for !lane.busy && len(lane.queue) > 0 {
		j := lane.queue[0]
		if !j.last {
			s.release()
		}
		lane.queue = lane.queue[1:]
		s.runHook(l, j)
	}
	if len(lane.queue) == 0 {
		lane.queue = nil
	}
	s.release()
	if s.main.unread {
		s.drain(&s.main)
	}
}

// spawn has ./run or ./finish made.
func (s *service) spawn(u *unit, r role) {
	argv := []string{"./run"}
	if r == isFinish {
		code, sig := strconv.Itoa(int(u.ws>>8)), strconv.Itoa(int(u.ws&0xff))
		if u.ws&0x7f != 0 || u.ws == statusUnknown {
			code = "-1"
		}
		if u.ws == statusUnknown {
			sig = "0"
		}
		argv = []string{"./finish", code, sig}
	} else {
		u.began = time.Now()
	}
	s.order(u, r, argv)
}

// statusUnknown stands for the wait status of a process whose end nobody was
// told; no real status has its value.
const statusUnknown unix.WaitStatus = 0xffff0000

// order has a process made for u. Where there is to be a pipe and none can be had it is
// as if the process could not be made: what would be in its place is somebody else's.
func (s *service) order(u *unit, r role, argv []string) {
	if s.log != nil && !s.piped && r == isRun {
		if err := s.newPipe(); err != nil {
			s.ordered++
			s.post(event{kind: evUnmade, who: u, role: r, err: err})
			return
		}
		s.core.stashNow(s)
	}
	o := order{who: u, role: r, argv: argv, stdin: -1, stdout: -1, session: s.core.Session && r < isHook}
	switch {
	case u != &s.main:
		o.dir, o.stdin = "log", s.pipe[0]
	case s.piped:
		o.stdout = s.pipe[1]
	}
	switch r {
	case isRun:
		o.recordPath, o.before, o.after = u.prefix+"supervise/proc", state.Process{Word: state.ProcMaking, Pipe: inode(s.piped, s.pipe[1])}, state.ProcRun
		if u.st.Want != state.WantOnce { // else it stays due
			o.unmade = state.ProcDown
		}
	case isFinish:
		o.recordPath, o.before, o.after = u.prefix+"supervise/proc", state.Process{Word: state.ProcFinishing, Status: u.ws}, state.ProcFinish
		if o.unmade = state.ProcEnded; u != &s.main {
			o.unmade = state.ProcDown
		}
	case isHook + laneLife, isHook + laneKill:
		o.recordPath, o.before, o.after = hookRecord(argv[0][len("control/")]), state.Process{Word: state.ProcMaking}, state.ProcRun
	}
	s.ordered++
	if s.inline {
		s.orders = append(s.orders, o)
	} else {
		s.core.spawn(o)
	}
}

// inode is the inode of fd, 0 where it is not open.
func inode(open bool, fd int) uint64 {
	var st unix.Stat_t
	if !open || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// answered takes what was made of an order.
func (s *service) answered(ev event) {
	u := ev.who
	if ev.role >= isHook {
		l := int(ev.role - isHook)
		switch ev.kind {
		case evSpawned:
			s.lanes[l].pid = ev.pid
			s.noteHook(l, ev)
		case evUnmade:
			s.warn(fmt.Errorf("unable to fork for control/%c: %w", s.lanes[l].hook, cause(ev.err)))
			s.hookOver(l, false)
		case evUnexecuted:
			s.fatal(fmt.Errorf("unable to run control/?: %w", cause(ev.err)))
			s.hookOver(l, false)
		}
		return
	}
	switch ev.kind {
	case evSpawned:
		s.noteRecord(u, ev.err)
		u.pid = ev.pid
		if ev.role == isRun {
			u.began = time.Now()
		}
		s.feed(u, machine.Spawned)
	case evUnmade:
		if !errors.Is(ev.err, errOver) {
			s.warn(ev.err)
		}
		s.feed(u, machine.Unmade)
	case evUnexecuted:
		s.fatal(unexecuted(u, ev))
		if ev.role == isRun {
			u.since = time.Now()
		}
		s.ended(u, ev.role, 111<<8)
	}
}

// cause is the errno at the end of err.
func cause(err error) error {
	if no, ok := errors.AsType[unix.Errno](err); ok {
		return no
	}
	return err
}

// unexecuted tells in runsv's words why a process could not be executed.
func unexecuted(u *unit, ev event) error {
	no, ok := errors.AsType[unix.Errno](ev.err)
	if !ok || error(no) != ev.err { // it did not get as far as exec
		return ev.err
	}
	switch {
	case ev.role == isFinish:
		return fmt.Errorf("unable to start ./finish: %w", no)
	case u.prefix != "":
		return fmt.Errorf("unable to start log/./run: %w", no)
	}
	return fmt.Errorf("unable to start ./run: %w", no)
}

// died takes the death of a process. It is recorded before the process is
// reaped: a core that is killed between leaves the corpse or the record.
func (s *service) died(ev event) {
	u := ev.who
	if ev.role < isHook && ev.pid == u.pid {
		s.recordEnd(u, ev.role, ev.ws)
	}
	s.core.procs.recorded(ev.proc)
	if ev.role >= isHook {
		l := int(ev.role - isHook)
		if s.lanes[l].pid == ev.pid {
			s.hookOver(l, ev.ws == 0)
		}
		return
	}
	if ev.pid != u.pid {
		return
	}
	if u.pidfd >= 0 {
		s.core.awaitStash(s)
		s.core.unwatch(u.pidfd)
		u.pidfd = -1
		if u.foreign {
			u.foreign = false
			s.core.stashNow(s)
		}
	}
	if ev.role == isRun && u == &s.main && s.ending() {
		u.ws = ev.ws
		s.feed(u, machine.Held)
		return
	}
	u.pid = 0
	s.ended(u, ev.role, ev.ws)
}

// recordEnd records the end of ./run or ./finish.
func (s *service) recordEnd(u *unit, r role, ws unix.WaitStatus) {
	l := state.Process{Word: state.ProcDown, Status: ws}
	if r == isRun && u == &s.main {
		l.Word = state.ProcEnded
	}
	s.record(u, l)
}

// recordEnds records, for the core that takes over, the ends that this one has yet to
// act on. Where their parent has collected the processes nobody else can know of them.
func (s *service) recordEnds() {
	for _, u := range s.units() {
		if u.pidfd < 0 {
			continue
		}
		if ws, known, _ := exitStatus(u.pidfd); known {
			r := isRun
			if u.st.Phase == machine.Finishing {
				r = isFinish
			}
			s.recordEnd(u, r, ws)
		}
	}
}

// sign puts into a record where and by whom it is written, and the standing order.
// The unit's records are locked.
func (c *Core) sign(u *unit, l state.Process) state.Process {
	at, _ := c.here() // which is known since the service was opened
	l.World, l.Place, l.Tree, l.Core, l.Want, l.Former = at.world, u.rec.Place, at.tree, c.self, u.want, false
	return l
}

// record writes a record of the unit.
func (s *service) record(u *unit, l state.Process) {
	u.records.Lock()
	u.want = u.st.Want
	u.rec = s.core.sign(u, l)
	err := proc.Write(s.dir.FD, u.prefix+"supervise/proc", u.rec)
	u.recorded = err == nil
	u.records.Unlock()
	s.noteRecord(u, err)
}

// recordWant writes a new standing order into the record, before it is acted on.
func (s *service) recordWant(u *unit) {
	u.records.Lock()
	u.want = u.st.Want
	making := s.ordered > 0 && !u.recorded // who makes the process writes it
	if s.deleted || making || u.rec.Place == (state.Place{}) {
		u.records.Unlock()
		return
	}
	switch {
	case s.ordered == 0 && u.want == state.WantOnce && u.st.Phase == machine.Starting: // it is due until a process was made
		u.rec, u.recorded = state.Process{Word: state.ProcMaking, Ticks: proc.TicksNow(), Place: u.rec.Place}, false
	case u.rec.Word == "":
		u.rec.Word, u.recorded = state.ProcDown, false
	}
	u.rec = s.core.sign(u, u.rec)
	var err error
	if path := u.prefix + "supervise/proc"; u.recorded {
		err = proc.WriteWant(s.dir.FD, path, u.want)
	} else {
		err = proc.Write(s.dir.FD, path, u.rec)
	}
	u.recorded = err == nil
	u.records.Unlock()
	s.noteRecord(u, err)
}

// noteRecord takes note of whether a record could be written. One that could not is
// left with the scanner, for the next core.
func (s *service) noteRecord(u *unit, err error) {
	if err != nil {
		s.warnOnDeleted(err)
		s.repairLater()
	}
	if err != nil || u.left {
		u.left = err != nil
		s.core.stashNow(s)
	}
}

// release goes on from the end of ./run, when nothing holds that up any more.
func (s *service) release() {
	if u := &s.main; u.st.Phase == machine.Ending && !s.ending() {
		u.pid = 0
		s.ended(u, isRun, u.ws)
	}
}

// ended tells the machine that ./run or ./finish is over.
func (s *service) ended(u *unit, r role, ws unix.WaitStatus) {
	if r == isRun {
		u.ws = ws
		if u == &s.main && s.dir.Readable("finish") {
			s.feed(u, machine.Died)
			return
		}
	}
	if time.Since(u.began) < time.Second {
		s.feed(u, machine.GoneSoon)
	} else {
		s.feed(u, machine.Gone)
	}
}

// write brings pid, stat and status up to date, later where that fails now.
func (u *unit) write() {
	if !u.svc.published {
		return
	}
	err := u.update()
	if u.unwritten = err != nil; u.unwritten {
		u.svc.warnOnDeleted(err)
		u.svc.repairLater()
	}
}

// update is one try of write. What has not changed is not written, and a failure
// of one leaves out those after it, as with runsv.
func (u *unit) update() error {
	r := state.Record{Since: u.since, PID: u.pid, Paused: u.st.Paused, Want: u.st.Want, Termed: u.st.Termed, State: u.st.Phase.State()}
	w := &u.written
	d := u.svc.dir
	if !w.any || w.pid != r.PID {
		content := ""
		if r.PID != 0 {
			content = strconv.Itoa(r.PID) + "\n"
		}
		if _, err := d.Replace(u.prefix, "pid", []byte(content), w.any); err != nil {
			return err
		}
		w.pid = r.PID
	}
	var failed error
	if text := r.Text(); !w.any || w.stat != text {
		opened, err := d.Replace(u.prefix, "stat", []byte(text), w.any)
		if err != nil && !opened {
			return err
		}
		if failed = err; err == nil {
			w.stat = text
		}
	}
	if b := [state.StatusSize]byte(r.Bytes()); !w.any || w.status != b {
		if _, err := d.Replace(u.prefix, "status", b[:], w.any); err != nil {
			return err
		}
		w.status = b
	}
	w.any = true
	return failed
}

// warnOnDeleted warns, and takes note where the reason is that the service
// directory itself was removed: there is nothing left to supervise then.
func (s *service) warnOnDeleted(err error) {
	if readOnly := errors.Is(err, unix.EROFS); !readOnly || !s.readOnly { // that is said once
		s.warn(err)
		s.readOnly = s.readOnly || readOnly
	}
	if errors.Is(err, unix.ENOENT) && s.dir.Deleted() {
		s.deleted = true
	}
}

func (s *service) warn(err error)  { s.core.Say(diag.Warning, s.name, err) }
func (s *service) fatal(err error) { s.core.Say(diag.Fatal, s.name, err) }
