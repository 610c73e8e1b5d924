package core

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
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

// unit is one supervised process with its files: a service or its log service.
// (What is small is together: there may be thousands.)
type unit struct {
	svc        *service
	prefix     string // "" or "log/"
	st         machine.Status
	fresh      bool        // there was no ./supervise before
	stashed    bool        // an earlier core was killed over it: a record that is missing was removed
	replaced   bool        // the process that was adopted is of a directory that was here before
	making     bool        // an earlier core was about to make ./run, and no process came of it
	foreign    bool        // the adopted process is no child of the scanner
	unread     bool        // bytes were left in the FIFO on purpose
	more       bool        // bytes may be left in the FIFO, to be read next
	left       bool        // the record is not written, and the scanner has it; the owner of the service knows
	settling   atomic.Bool // what rsvlog would do is being done for it
	told       atomic.Bool // of bytes in the FIFO, and has not looked since
	ws         unix.WaitStatus
	room       int8  // how many descriptors are reserved for its readiness
	granted    bool  // others were let use it
	guarded    int32 // inotify's number for supervise; 0: none
	pid        int
	since      time.Time // as supervise/status tells it
	began      time.Time // of ./run
	control    int
	ok         int
	lock       int // of supervise/lock, which is held as long as it is open
	pidfd      int // of an adopted process, else -1
	rest       *time.Timer
	rests      int            // the number of the last rest
	policy     *policy.Policy // what the directory says beyond runit; nil: nothing
	deaths     machine.Deaths
	ended      *state.Ended  // of ./run, to be written into supervise/history
	processes  int32         // how many are known that are its; processes guards it
	ends       int16         // behind 1: which line of supervise/history is next; 0: not known yet
	grouped    bool          // ./run is to be in a cgroup of its own
	groupKills int32         // how many the kernel had killed there for lack of memory before ./run began
	oomKnown   bool          // whether it has killed ./run is known of ended
	hasEnded   bool          // ./run has run, and ended
	wasTold    bool          // and it had been told to, by an order
	tooLate    bool          // ./run is stopped since it was not ready in time
	readied    time.Duration // after which time ./run was ready; 0: it has not said so
	deadline   *time.Timer   // of what runs, once it is to end
	notify     int           // the end for reading of the pipe by which ./run says that it is ready; 0: none
	late       *time.Timer   // until it has to
	talk       *talk         // what ./run says of itself, where it has a socket for it; else nil
	lodging    *lodging      // of a log service that runs in a host, or asks for one; else nil

	records  sync.Mutex      // guards the following, and is held while the record is written
	rec      state.Process   // the record
	recorded bool            // and it was written
	ready    state.Readiness // of ./run, as the record is to tell it
	want     state.Want      // the standing order, as the record is to tell it

	unwritten bool // pid, stat or status could not be written
	stale     bool // they are to be written soon, unless that is done for another reason before

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
	placeDir    uint32 // the name of that in records; 0: not known yet
	main        unit
	log         *unit
	pipe        [2]int
	piped       bool         // the pipe to the log service is open
	unfed       bool         // the log service was told to end by closing the pipe
	badLog      bool         // ./log is no directory, and that was said
	inline      bool         // what is to be made is put into orders
	putsOff     bool         // status files are not written at once
	looked      bool         // its directory was just read
	names       policy.Names // what is in it, as it was read last
	needs       bool         // it needs others
	needed      bool         // others need it
	lends       bool         // others write to its log service
	loan        *loan        // of another's pipe, where that one's log service has the lines; or nil
	said        *source      // what it says is handed on from there; or nil
	catches     *[2]int      // it is the log service of the tree: the ends of the FIFO that it reads; else nil
	unfeeds     bool         // that one is to end
	last        bool         // that one is told to end last
	badSaid     bool         // its FIFO could not be made, and that was said
	readOnly    bool         // its file system is, and that was said
	takenOver   bool         // another core has let go of it
	renewed     bool         // it has descriptors that the scanner had not kept of an earlier core, beside its locks
	relocked    bool         // it has locks that the scanner had not kept
	kept        string       // the tags of what the scanner had kept; "" when it is open
	opened      bool
	published   bool // the status files are written and ok answers
	exits       bool // it is opened only to exit
	onlyRunning bool // it is opened only if something of it runs
	fresh       bool // no core had begun with it, or the last has let go of it
	mayRun      bool // something of it may run since an earlier core
	leftRunning bool // something of it runs, though it could not be opened
	detached    bool
	deleted     bool
	waits       bool   // it has no ./run that can be executed, and is not started until it has
	ordered     int    // processes being made
	taken       int    // descriptors that are its to open
	yield       func() // has another open what waits
	orders      []order
	held        stash         // pipes that are held until the service is open
	stashBatch  int           // which batch of descriptors its own are in
	lanes       *[lanes]lane  // of control scripts; idle where none has run yet
	peeked      *unit         // whose next command is being obeyed, and is in its FIFO still
	strays      bool          // ./run has ended, and what it has left behind has not
	repairTimer *time.Timer   // while something that could not be written waits
	repairWait  time.Duration // how long it waits
	end         func()        // is called when it is over, by who owns it then

	inbox inbox
}

// units are the service and its log service.
func (s *service) units() []*unit {
	if s.log == nil {
		return []*unit{&s.main}
	}
	return []*unit{&s.main, s.log}
}

func newService(c *Core, name, key string, dir servicedir.Dir) *service {
	s := &service{core: c, name: name, key: key, dir: dir, lanes: &idle}
	s.inbox.owned = true // by who opens it
	s.main.svc, s.main.control, s.main.ok, s.main.lock, s.main.pidfd = s, -1, -1, -1, -1
	return s
}

// over says whether the service is let go. With a log service that takes two
// steps: the pipe is closed, and the logger ends when it has read all.
func (s *service) over() bool {
	if s.detached {
		return s.ordered == 0
	}
	if s.deleted && s.main.st.Want != state.WantExit {
		if s.unfeeds = s.catches != nil; !s.unfeeds {
			s.feed(&s.main, machine.CmdExit)
		}
	}
	if s.catches != nil && !s.endCatch() {
		return false
	}
	if s.main.st.Phase != machine.Idle || s.main.st.Want != state.WantExit || s.ordered > 0 || s.lanes[laneLife].busy { // control/x is the last to run
		return false
	}
	if s.log == nil {
		return true
	}
	if !s.unfed {
		if s.piped && unread(s.pipe[1], s.log) { // it is not left to the next life, which may never come
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
func unread(pipe int, l *unit) bool {
	if l.st.Phase == machine.Resting {
		if n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ); err == nil && n > 0 {
			l.svc.feed(l, machine.CmdUp)
		}
	}
	return l.st.Phase == machine.Starting
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
		s.detached = s.detached || s.core.isOrphaned() && !s.inbox.hasExit()
		return
	case machine.CmdDown, machine.CmdExit, machine.CmdTerm, machine.CmdKill, machine.CmdPause, machine.CmdCont, machine.CmdHup, machine.CmdAlarm, machine.CmdInt, machine.CmdQuit, machine.CmdUsr1, machine.CmdUsr2, machine.CmdReload:
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
	if before.Phase == machine.Waiting && st.Phase != before.Phase && row.Do != machine.Start {
		s.core.needs.leave(s)
		s.showWaiting()
	}
	if before.Want != st.Want || row.Record && st.Want == state.WantOnce {
		s.recordWant(u)
	}
	s.takeOut()
	s.do(u, row.Do, ev) // first: that down is wanted is written together with the TERM
	switch {
	case row.Later:
	case s.putsOff:
		u.stale = true
	default:
		u.write()
	}
	if u == &s.main {
		s.tellStanding()
	}
}

// do has one effect of an event happen.
func (s *service) do(u *unit, e machine.Effect, ev machine.Event) {
	switch e {
	case machine.Nothing:
	case machine.Start:
		if !s.looked {
			s.readPolicy(u)
			s.grantAccess(u)
		}
		if u == &s.main {
			s.attachLog()
			if s.lacksAny() {
				s.feed(u, machine.Lacking)
				return
			}
		}
		s.hook(u, laneUp, job{hook: 'u', then: func(bool) { s.feed(u, machine.Prepared) }})
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
		u.restFor(u.deaths.Rest() - time.Since(u.began))
	case machine.RestBackoff:
		u.restFor(u.deaths.Pause)
	case machine.TellUnready:
		if err := s.dir.Executable("run", false); err != nil { // of one that is being written there is nothing to say
			s.fatal(fmt.Errorf("unable to start ./run: %w", err))
		}
	case machine.Abort:
		s.abort(u, ev)
	case machine.Watch:
		s.startWatchdog(u)
	case machine.WatchAnew:
		u.talk.worked = time.Now()
		s.startWatchdog(u)
	case machine.LimitReady:
		s.limitReady(u)
	case machine.TellReady:
		s.tellReady(u)
	case machine.StopLate:
		s.warn(fmt.Errorf("%s./run (pid %d) is not ready within %s: it is stopped", u.prefix, u.pid, policy.TimeoutReady))
		u.tooLate = true
		s.stop(u)
	case machine.LimitHung:
		s.limitHung(u)
	case machine.Await:
		u.restFor(10 * time.Second)
	case machine.EndStrays:
		u.restFor(10 * time.Second)
		s.endStrays(u, unix.SIGTERM, s.killTime(u))
	case machine.KillStrays:
		s.endStrays(u, unix.SIGKILL, 0)
	case machine.Release:
		s.strays = false
		s.release()
	case machine.TellHeld:
		s.tellHeld()
	case machine.AwaitNeeds:
		u.restFor(needsBrief)
		s.tellNeeds(false)
	case machine.LookNeeds:
		s.lookNeeds()
	case machine.TellNeeds:
		s.waitsOn()
	case machine.LimitStop:
		s.forgetExtension(u)
		s.limit(u, policy.TimeoutKill, time.Now())
	case machine.LimitFinish:
		s.limit(u, policy.TimeoutFinish, time.Now())
	case machine.ResumeStop:
		s.resumeLimit(u, policy.TimeoutKill)
	case machine.ResumeFinish:
		s.resumeLimit(u, policy.TimeoutFinish)
	case machine.KillRun:
		s.kill(u, "./run", policy.TimeoutKill, u.policy != nil && u.policy.KillGroup)
	case machine.KillFinish:
		s.kill(u, "./finish", policy.TimeoutFinish, false)
	case machine.Over:
		s.tellOver(u)
	case machine.GiveUp:
		s.giveUp(u, ev)
	default:
		s.hook(u, sends[e].lane, job{hook: sends[e].hook, of: u.pid, then: s.sent(u, u.pid, e)})
	}
}

// restFor has the machine told in d that the rest is over, unless that is stopped.
func (u *unit) restFor(d time.Duration) {
	u.rests++
	number := u.rests
	u.rest = time.AfterFunc(d, func() { u.svc.post(event{kind: evRested, who: u, number: number}) })
}

// ended tells the machine that ./run or ./finish is over, and whether there is a ./finish
// that follows.
func (s *service) ended(u *unit, r role, ws unix.WaitStatus, finish bool) {
	u.hasEnded = true
	u.dropGroup()
	end := machine.End{Finish: finish}
	if r == isRun {
		u.ws = ws
	} else {
		end.Refuses = ws.Exited() && ws.ExitStatus() == exitRefused
	}
	end.At, end.Told = time.Now(), u.wasTold
	end.Lived = end.At.Sub(u.began)
	s.feed(u, u.deaths.After(u.st, end, u.rules()))
}

// hasFinish says whether the end of a process is followed by ./finish.
func (s *service) hasFinish(u *unit, r role) bool {
	return r == isRun && u == &s.main && s.dir.Readable("finish")
}

// isLast says whether nothing follows the end of a unit's process, with or without a ./finish,
// since its service exits.
func (s *service) isLast(u *unit, finish bool) bool {
	return u.st.Want == state.WantExit && !finish && u.policy == nil && u.lodging == nil && (u != &s.main || s.log == nil && !s.ending())
}

func (s *service) warn(err error)  { s.core.Say(diag.Warning, s.name, err) }
func (s *service) fatal(err error) { s.core.Say(diag.Fatal, s.name, err) }
