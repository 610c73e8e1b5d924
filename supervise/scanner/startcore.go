package scanner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/diag"
	"runitbox/supervise/policy"
	"runitbox/supervise/self"
	"runitbox/supervise/wire"
)

// coreArg tells the core of a tree from the runsv of one directory.
const coreArg = "--tree"

// newCoreOf is a core that was started: its pid and this end of its link.
type newCoreOf struct {
	pid  int
	link int
	err  error
}

// startCore has a core started, unless one is already: whose executable is on a
// disk that hangs is not waited for.
func (s *Scanner) startCore() {
	if s.restart != nil {
		s.restart.Stop()
		s.restart = nil
	}
	if s.starting || s.core != 0 {
		return
	}
	s.starting = true
	table := takenEach * len(s.entries)
	if table == 0 {
		n := s.dir.count(startTime)
		table = coreEach * n
		go self.GrowTable(keptOwn + keptEach*n) // this process's own
	}
	table = min(coreOwn+table, s.files.Most)
	stderr := s.ownStderr()
	go func() { s.started <- s.makeCore(table, stderr) }()
}

// NoShareLogs tells a core, as it tells runsvdir, that each log service has a process of
// its own.
const NoShareLogs = "--no-share-logs"

// For how many descriptors there is room from the start: a table that grows costs a program
// with threads up to a hundredth of a second each time. The scanner keeps four of a service,
// and eight of one with a log service. The core has one or two more of each, and where it
// takes over what runs one more of each process.
const (
	coreOwn   = 64 // beside the services'
	coreEach  = 8
	takenEach = 12
	keptOwn   = 24
	keptEach  = 4
)

// makeCore starts a core whose table of descriptors has that much room. The core's
// end of the link is closed here before anything else may wait for it.
func (s *Scanner) makeCore(table, stderr int) (made newCoreOf) {
	if stderr >= 0 {
		defer unix.Close(stderr)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return newCoreOf{err: fmt.Errorf("unable to create socketpair: %w", err)}
	}
	defer func() {
		unix.Close(pair[1])
		if made.err != nil {
			unix.Close(pair[0])
		}
	}()
	argv := []string{"runsv", coreArg}
	if s.Session {
		argv = append(argv, "-P")
	}
	if s.NoShareLogs {
		argv = append(argv, NoShareLogs)
	}
	if s.Prefix {
		argv = append(argv, "-p")
	}
	files := []int{pair[1]}
	if s.ring != nil { // the reader stays when the scanner goes
		argv = append(argv, "-l")
		files = append(files, s.ring.r)
	}
	c := child.Child{Path: s.self, Argv: append(argv, "--", s.Dir), Env: os.Environ(), Files: []int{0, 1, 2}, Table: table}
	if stderr >= 0 {
		c.Files[2] = stderr
	}
	if len(s.Command) > 0 { // which has the scanner's standard input to itself
		null := quiet()
		defer unix.Close(null)
		files = append(files, null)
	}
	for _, fd := range files { // to where none is in the way of another
		if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 16); err != nil {
			return newCoreOf{err: fmt.Errorf("unable to start runsv: %w", err)}
		}
		defer unix.Close(fd)
		c.Files = append(c.Files, fd)
	}
	if n := len(c.Files) - 1; len(s.Command) > 0 {
		c.Files[0], c.Files = c.Files[n], c.Files[:n]
	}
	pid, err := c.Start(nil, s.files.Given)
	if err != nil && s.self != selfExe {
		c.Path = selfExe
		pid, err = c.Start(nil, s.files.Given)
	}
	if err != nil {
		return newCoreOf{err: fmt.Errorf("unable to start runsv: %w", err)}
	}
	return newCoreOf{pid: pid, link: pair[0]}
}

// coreStarted offers every service to a core that was started. It may have died
// meanwhile.
func (s *Scanner) coreStarted(c newCoreOf) {
	s.starting = false
	if c.err != nil {
		s.Say(diag.Warning, "", c.err)
		s.restart = time.NewTimer(s.hasten(time.Second))
		return
	}
	s.core, s.link, s.inherited = c.pid, wire.New(c.link), inherited{}
	go wire.Listen(s.link, s.mail)
	s.coreWatch.tid, s.coreWatch.blind = 0, false
	s.outgoing.begin()
	if s.guards > 0 { // before all that it is to watch
		s.link.Send(wire.Message{Word: "guards", Arg: "0", Arg2: "0", FDs: []int{s.guards}})
	}
	s.outgoing.unheard = nil
	s.heardOut()
	s.outgoing.unheard = s.unheard
	for _, first := range []bool{true, false} { // the log service of the tree before what it is for
		for _, e := range s.entries {
			if (e.name == policy.CatchAll) != first {
				continue
			}
			if e.pending = (pending{}); !s.idle[e] || e.refused {
				s.offer(e)
			}
		}
	}
	if s.handing != nil { // it comes too late
		s.hurry()
	}
	s.send()
	s.reap()
}

// hasten shortens a pause where there is little time.
func (s *Scanner) hasten(d time.Duration) time.Duration {
	if s.stop != nil || s.leaving != nil {
		return min(d, 100*time.Millisecond)
	}
	return d
}

// coreDied has another core take over: at once, unless cores die one after the
// other.
func (s *Scanner) coreDied(ws unix.WaitStatus) {
	if s.link != nil { // what it still had to say counts
		s.link.WaitNoMore()
	}
	for s.link != nil {
		s.read(<-s.mail)
	}
	s.core, s.inherited = 0, inherited{}
	if s.leaving != nil {
		s.leaving.heard = false
	}
	if s.handing != nil {
		s.become()
		return
	}
	if s.stop != nil && ws.Exited() && ws.ExitStatus() == 0 {
		return // all is stopped
	}
	n, wait := s.deaths.next(time.Now())
	text := fmt.Sprintf("the supervisor was killed by signal %d", ws.Signal())
	if ws.Exited() {
		text = fmt.Sprintf("the supervisor exited %d", ws.ExitStatus())
	}
	if wait == 0 {
		s.Say(diag.Warning, "", errors.New(text+", starting another; the services run on."))
		s.startCore()
		return
	}
	often := "again"
	if n > 1 {
		often = fmt.Sprintf("%d times in 10 seconds", n)
	}
	wait = s.hasten(wait)
	s.Say(diag.Warning, "", fmt.Errorf("%s, %s: starting another in %v; the services run on.", text, often, wait))
	s.restart = time.NewTimer(wait)
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
