package core

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// order is one process to be made.
type order struct {
	who              *unit
	role             role
	argv             []string
	dir              string   // working directory below the service's: "log", or ""
	stdin            int      // -1 for the process's own
	stdout           int      // the same
	stderr           int      // 0 for the process's own
	lent             int      // stdout, where it is to be closed then; 0: it is not
	session          bool     // in a session of its own
	leads            bool     // and it leads that
	newPID           bool     // as process 1 of a pid namespace
	grouped          bool     // in a cgroup
	herded           bool     // in a cgroup if there can be one, by which what it leaves behind is found
	notify, notifyAs int      // a pipe to be made that descriptor; 0: none. It is closed then
	env              []string // nil for that of all
	recordAt         int      // the directory that the following is relative to
	recordPath       string   // path of the record that is written before and after; "" for a control script
	before           state.Process
	after            string // the word of the record once the process is there
	unmade           string // and where none could be made: the next core is to look for none; "" leaves it
}

// spawn has a process made by the pool; the answer comes to its
// service as an event, and until then the descriptors of the order, and the
// service's directory, must stay open.
func (c *Core) spawn(o order) {
	if c.start != nil {
		c.start(o)
		return
	}
	c.pool.runFirst(func(t *worker) {
		defer o.who.svc.crash()
		t.whenSlow(func() { o.who.svc.post(event{kind: evSlow}) })
		ev := c.make(o, t)
		t.done()
		o.who.svc.post(ev)
		c.tell(ev)
	})
}

// onCPU says whether the child that a slot is making has a processor or waits for one. What
// does not answer would have it sleep. Without /proc it is not known.
func onCPU(h *child.Slot) bool {
	st, found, _ := proc.StatOf(h.PID())
	return found && st.State == 'R'
}

// tell is called when the service has been told of what was made: its end may
// follow.
func (c *Core) tell(ev event) {
	if ev.kind == evSpawned {
		c.procs.told(ev.proc)
	}
}

// errOver answers the orders that came too late.
var errOver = errors.New("the supervisor is about to be replaced")

// make makes one process. The record of it is written here too: what is to be
// made before that is done, its pid by the process itself, and its start when it
// is there. So even where that fails, only what is being made at that moment is
// not recorded.
func (c *Core) make(o order, t *worker) event {
	if o.notify != 0 {
		defer unix.Close(o.notify)
	}
	if o.lent != 0 {
		defer unix.Close(o.lent)
	}
	fail := func(kind evKind, err error) event { return event{kind: kind, who: o.who, role: o.role, err: err} }
	c.voice.Settle()
	place, ok := c.procs.expect()
	if !ok {
		return fail(evUnmade, errOver)
	}
	defer place.close()
	var recordErr error
	dir := o.who.svc.dir.FD
	record := proc.Making{FD: -1}
	life := o.before
	if o.recordPath != "" {
		o.who.records.Lock()
		life = c.sign(o.who, life)
		life.Ticks = proc.TicksNow()
		record, recordErr = proc.WriteMaking(o.recordAt, o.recordPath, life)
		if o.role < isHook {
			o.who.rec, o.who.recorded = life, recordErr == nil
		}
		o.who.records.Unlock()
		if recordErr == proc.ErrBeingMade {
			return fail(evUnmade, recordErr)
		}
		defer record.Close()
	}
	where := "unable to change directory"
	if o.dir != "" {
		var err error
		where += " to ./" + o.dir
		if dir, err = sys.Open(dir, o.dir, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			return fail(evUnexecuted, fmt.Errorf("%s: %w", where, err))
		}
		defer unix.Close(dir)
	}
	group := 0
	if o.grouped || o.herded {
		fd, err := c.openGroup(o.who, dir, o.grouped)
		if err != nil && o.grouped {
			return fail(evUnexecuted, fmt.Errorf("unable to start %s./run in a cgroup: %w", o.who.prefix, err))
		}
		if err == nil {
			group = fd
			defer unix.Close(group)
		}
	}
	var bornAt unix.Timespec
	env := o.env
	if env == nil {
		env = c.env
	}
	ch := child.Child{
		Path: o.argv[0], Argv: o.argv, Env: env, Files: []int{0, 1, 2}, Dir: dir,
		Notify: o.notify, NotifyAs: o.notifyAs, Session: o.leads, NewPID: o.newPID, Group: group, Private: c.private, Born: &bornAt,
	}
	if recordErr == nil {
		ch.Record = max(record.FD, 0)
	} else {
		ch.Lock = max(record.FD, 0)
	}
	if o.stdin >= 0 {
		ch.Files[0] = o.stdin
	}
	if o.stdout >= 0 {
		ch.Files[1] = o.stdout
	}
	if o.stderr != 0 {
		ch.Files[2] = o.stderr
	}
	start := ch.Start
	if o.session && !o.leads {
		start = ch.StartInSession
	}
	begun := life.Ticks
	h := c.slots.Take()
	t.makes(h)
	pid, err := start(h, c.files)
	if err == unix.EAGAIN { // the one before it may be what was too much
		c.procs.collectNow()
		pid, err = start(h, c.files)
	}
	if _, refused := err.(child.GroupError); refused && !o.grouped {
		ch.Group = 0
		pid, err = ch.Start(h, c.files)
	}
	t.made()
	c.slots.Put(h)
	var made *process
	switch err {
	case nil:
		made = place.holds(pid, o.who, o.role)
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		if o.unmade != "" && recordErr == nil {
			o.who.records.Lock()
			life.Word, life.Want, life.Ready = o.unmade, o.who.want, o.who.ready
			recordErr = record.Write(o.recordPath, life)
			o.who.rec, o.who.recorded = life, recordErr == nil
			o.who.records.Unlock()
		}
		return fail(evUnmade, fmt.Errorf("unable to fork, sleeping: %w", err))
	default:
		if d, ok := err.(child.DirError); ok {
			err = fmt.Errorf("%s: %w", where, d.Err)
		} else if d, ok := err.(child.GroupError); ok {
			err = fmt.Errorf("unable to start %s./run in a cgroup: %w", o.who.prefix, d.Err)
		} else if d, ok := err.(child.SpaceError); ok {
			err = fmt.Errorf("unable to start %s./run in a pid namespace, as flag-newpidns says: %w", o.who.prefix, d.Err)
		}
		return fail(evUnexecuted, err)
	}
	if o.recordPath != "" {
		life.Word, life.PID, life.Ticks = o.after, pid, begun
		born := proc.TicksOf(bornAt)
		if bornAt == (unix.Timespec{}) { // the child could not say it
			born = proc.TicksNow()
		}
		if born != begun || !c.clock.Load() {
			st, ok, _ := proc.StatOf(pid) // not in a way that matters: it is between the two
			if !ok {
				st.Ticks = begun
			}
			life.Ticks = st.Ticks
			c.clock.Store(ok && begun <= st.Ticks && st.Ticks <= born)
		}
		o.who.records.Lock()
		life.Want, life.Ready = o.who.want, o.who.ready // it may have said so already
		if recordErr == nil {
			recordErr = record.Write(o.recordPath, life)
		}
		if o.role < isHook {
			o.who.rec, o.who.recorded = life, recordErr == nil
		}
		o.who.records.Unlock()
	}
	ev := event{kind: evSpawned, who: o.who, role: o.role, pid: pid, proc: made, err: recordErr}
	if o.recordPath != "" && o.role >= isHook {
		ev.rec = &life
	}
	return ev
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
// told.
const statusUnknown = state.StatusUnknown

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
	if u != &s.main {
		if err := s.openReader(); err != nil {
			s.ordered++
			s.post(event{kind: evUnmade, who: u, role: r, err: err})
			return
		}
	}
	if r == isRun && (u == &s.main || s.said == nil) {
		if err := s.settleSaid(); err != nil {
			s.ordered++
			s.post(event{kind: evUnmade, who: u, role: r, err: err})
			return
		}
	}
	o := order{who: u, role: r, argv: argv, recordAt: s.at(u.prefix), stdin: -1, stdout: -1, session: s.core.Session && r < isHook,
		leads:   r == isRun && u.policy != nil && (u.policy.KillGroup || u.policy.KillStrays),
		grouped: r == isRun && u.grouped, herded: r == isRun && u.endsStrays(),
		newPID: r == isRun && u.policy != nil && u.policy.NewPID}
	if s.said != nil && (u == &s.main || s.hasSaid()) {
		o.stderr = s.said.w
	}
	switch {
	case s.catches != nil:
		if o.stderr = int(s.core.catch.stderr.Load()); r == isRun {
			o.stdin = s.catches[0]
		}
	case u != &s.main:
		o.dir, o.stdin = "log", s.pipe[0]
	case s.piped:
		o.stdout = s.pipe[1]
	case s.loan != nil:
		if fd := s.core.loans.borrow(s.loan); fd >= 0 {
			o.stdout, o.lent = fd, fd
		}
	case s.said != nil:
		o.stdout = s.said.w
	}
	switch r {
	case isRun:
		if err := s.openReadiness(u, &o); err != nil {
			s.ordered++
			s.post(event{kind: evUnmade, who: u, role: r, err: err})
			return
		}
		o.recordPath, o.before, o.after = u.prefix+"supervise/proc", state.Process{Word: state.ProcMaking, Pipe: s.pipeNumber()}, state.ProcRun
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
		if u.talk != nil { // before that it was not known who may send
			s.hear(u)
		}
	case evUnmade:
		u.closeNotify()
		u.closeTalk()
		switch {
		case errors.Is(ev.err, self.ErrShortage):
			s.core.sayShortage(s.name)
		case !errors.Is(ev.err, errOver):
			s.warn(ev.err)
		}
		s.feed(u, machine.Unmade)
	case evUnexecuted:
		u.closeNotify()
		u.closeTalk()
		s.fatal(unexecuted(u, ev))
		if ev.role == isRun {
			u.since = time.Now()
			s.noteEnd(u, 111<<8, nil)
		}
		s.ended(u, ev.role, 111<<8, s.hasFinish(u, ev.role))
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
