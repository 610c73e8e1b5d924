package core

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// listen does what the scanner says.
func (c *Core) listen() {
	for {
		ms, err := c.link.Receive()
		if err != nil {
			c.mu.Lock()
			c.orphaned = true
			c.mu.Unlock()
			for fd, w := range c.poller.processes() {
				c.rewatch(w, int(fd))
			}
			if c.log >= 0 { // nobody else reads what services say on stderr
				go discardLog(c.log)
			}
			c.takeUpAll()
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
		case m.Lost || len(m.FDs) == 0: // there was no room for them
			sys.CloseAll(m.FDs)
			c.refuse(m.Arg, m.Name, strings.HasPrefix(m.Arg2, wire.StateExit+","))
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
				c.services.setUnwritten(m.Arg, lines)
			}
			if len(k)+len(lines) < strings.Count(tags, ",")+1 { // the scanner had no room for all
				tags = ""
			}
			c.add(m.Arg, m.Name, servicedir.Dir{FD: m.FDs[0]}, k, held, tags)
		}
	case "guards":
		for _, fd := range m.FDs {
			c.inheritGuards(fd)
		}
	case "drop":
		switch {
		case m.Arg2 != "0" && c.needs.used() && c.services.find(m.Arg) != nil:
			ms, _ := strconv.Atoi(m.Arg2)
			c.dropAll(time.Duration(ms) * time.Millisecond)
		case c.services.exit(m.Arg, exitOf(m)), c.services.exitLeft(m.Arg):
		default:
			c.procs.unreserve(m.Arg)
		}
	case "ready":
		if s := c.services.find(m.Arg); s != nil {
			s.post(event{kind: evReady})
		}
	case "died":
		pid, err1 := strconv.Atoi(m.Arg)
		status, err2 := strconv.Atoi(m.Arg2)
		if err1 == nil && err2 == nil {
			c.procs.inherited(pid, ending{unix.WaitStatus(status), proc.ParseUsage(m.Name)})
		}
	case "stop":
		if ms, err := strconv.Atoi(m.Arg); err == nil {
			go c.stopAll(time.Duration(ms) * time.Millisecond)
		}
	case "said":
		for _, fd := range m.FDs {
			c.hearOut(m.Name, fd)
		}
	case "last":
		c.report(wire.Message{Word: "last", Arg: m.Arg, Arg2: "0"})
	case "quit":
		go c.quit()
	default: // of a newer scanner
		sys.CloseAll(m.FDs)
	}
}

// add takes a service in, with what was kept of it, by its tags. What cannot be opened is told
// and gone.
func (c *Core) add(key, name string, dir servicedir.Dir, k stash, state, tags string) {
	s := newService(c, name, key, dir)
	s.kept = tags
	if name == policy.CatchAll {
		c.awaitCatch(s)
	}
	s.waits, s.exits = state == wire.StateWaits, state == wire.StateExit
	s.onlyRunning = s.exits || state == stateLeft
	switch c.services.add(s) {
	case tinyTree + 1:
		runtime.GOMAXPROCS(processors())
	case smallTree + 1:
		// Who waits for a child to become a program keeps a processor of the scheduler's
		// for a while.
		runtime.GOMAXPROCS(processors() + poolMax)
	}
	c.needs.expect(s)
	if c.loans.expected(key) {
		s.post(event{kind: evLend, who: &s.main})
	}
	c.tidyLater()
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
	c.services.tried(s.key)
	if err == nil || err == errNothing {
		c.procs.unreserve(s.key)
		c.services.opened(s.key)
	}
	c.procs.opened()
	status := "0"
	s.end = func() { c.gone(s, status) }
	switch {
	case err == nil:
		if dropped && s.catches != nil {
			s.post(event{kind: evCommand, cmd: machine.CmdExit, number: exitLast})
		} else if dropped {
			s.main.st.Want = state.WantExit
			s.recordWant(&s.main)
		}
		c.pool.runStart(func(t *worker) { c.launch(s, t) })
		return
	case err == errNothing:
	case errors.Is(err, self.ErrShortage):
		c.sayShortage(s.name)
		status = wire.NoDescriptors
	case servicedir.Transient(err):
		if c.services.refuse(s.key, err.Error()) {
			c.Say(diag.Warning, s.name, fmt.Errorf("%w; trying again.", err))
		}
		status = wire.NotNow
	default:
		c.Say(diag.Fatal, s.name, err)
		if status = "111"; s.leftRunning && !errors.Is(err, unix.EAGAIN) { // else who has the lock has it
			status = wire.NotNow
		}
	}
	s.end()
}

// gone lets a service go.
func (c *Core) gone(s *service, status string) {
	if status == wire.NotNow {
		l := s.leftAs()
		s.close()
		c.services.leave(s, l)
		c.leave(s.key)
	} else {
		s.close()
		c.services.remove(s)
	}
	c.forgetNeeds(s)
	c.tryLast()
	c.descriptors.give(s.taken)
	if !s.detached {
		c.report(wire.Message{Word: "gone", Arg: s.key, Arg2: status})
	}
	c.notice()
}

// errNothing says that a service is not opened, since nothing of it runs.
var errNothing = errors.New("nothing of it runs")

// admit opens a service that there is room for. What may run is taken in also where there is
// none: it would have no supervisor.
func (c *Core) admit(s *service, k stash) error {
	s.mayRun = s.kept != "" // before it has a record of this core's
	if !s.mayRun && (s.onlyRunning || c.descriptors.isTight()) {
		s.fresh = s.isUnknown()
		s.mayRun = !s.fresh
	}
	if s.onlyRunning && !s.mayRun {
		k.close()
		return errNothing
	}
	if !s.reserve(self.NeedMain) {
		k.close()
		return self.ErrShortage
	}
	return s.open(k)
}

// reserve takes descriptors for the service, if there are as many, or something of it may run.
func (s *service) reserve(n int) bool {
	b := &s.core.descriptors
	if !b.take(n) {
		if s.opened || !s.mayRun {
			return false
		}
		b.give(-n)
	}
	s.taken += n
	return true
}

// isUnknown says whether no core has begun with the service, or the last has let go of it, with
// all that it had started: it has left no record.
func (s *service) isUnknown() bool {
	for _, prefix := range []string{"", "log/"} {
		if _, err := s.dir.Stat(prefix + "supervise/proc"); !isAbsent(err) || s.lostRecord(prefix) {
			return false
		}
		if s.core.states == "" {
			continue
		}
		at, err := statedir.Path(s.core.states, s.dir.FD, "./"+prefix) // where it is not in the directory
		if err == nil {
			_, err = servicedir.Identify(unix.AT_FDCWD, at+"/supervise/proc", 0)
		}
		if !isAbsent(err) {
			return false
		}
	}
	return true
}

func isAbsent(err error) bool { return err != nil && sys.Unless(sys.Absent, "", err) == nil }

// refuse leaves a service whose directory did not come along with the scanner.
func (c *Core) refuse(key, name string, exits bool) {
	c.sayShortage(name)
	c.services.refuseAs(key, left{name: name, exits: exits, dir: -1})
	c.leave(key)
	c.report(wire.Message{Word: "gone", Arg: key, Arg2: wire.NotNow})
}

// sayShortage says, once, that there are too few descriptors for a service.
func (c *Core) sayShortage(name string) {
	if c.descriptors.sayOnce() {
		c.Say(diag.Warning, "", self.Shortage(name, c.descriptors.limit))
	}
}
