package scanner

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/diag"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
)

// command is the main command: it runs once, beside the tree, and its end is the tree's.
// What it reads and its terminal are the scanner's own.
type command struct {
	pid      int
	starting bool
	started  chan commandMade
	stderr   int // the scanner's, before that was the log
	status   int // the scanner's, where it runs no more
	killed   bool
	upgrade  bool // is asked for, and waits until the command is started
}

// commandMade is a command that was started, or why it was not.
type commandMade struct {
	pid    int
	err    error
	status int // of the scanner, where err is not nil
}

// sigStop is what systemd's containers are stopped with: SIGRTMIN+3.
const sigStop = unix.Signal(37)

// listen asks for the signals that the scanner acts on.
func (s *Scanner) listen(pid1 bool) {
	self.NotifyEach(s.sigs, unix.SIGTERM, unix.SIGHUP, unix.SIGALRM, unix.SIGUSR2, unix.SIGCHLD)
	if pid1 {
		self.NotifyEach(s.sigs, unix.SIGINT, unix.SIGQUIT, unix.SIGPWR, sigStop)
		self.CatchRest() // unasked, some would end it, and with it all
	} else if len(s.Command) == 0 {
		self.DefaultAction(unix.SIGUSR1, unix.SIGQUIT, unix.SIGPWR, unix.SIGVTALRM, unix.SIGPROF, unix.SIGXCPU, unix.SIGXFSZ)
	}
	if len(s.Command) == 0 {
		return
	}
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGPWR, sigStop, unix.SIGUSR1, unix.SIGWINCH} {
		if pid1 && sig != unix.SIGUSR1 && sig != unix.SIGWINCH || self.Ignored(sig) {
			continue
		}
		self.NotifyEach(s.sigs, sig)
	}
}

// runs says whether there is a main command that has not ended.
func (c *command) runs() bool { return c.starting || c.pid != 0 }

// pass hands a signal on to the command, as the one that it understands.
func (c *command) pass(sig os.Signal) {
	if c.pid == 0 {
		return
	}
	if sig == unix.SIGPWR || sig == sigStop {
		sig = unix.SIGTERM
	}
	unix.Kill(c.pid, sig.(unix.Signal))
}

// startCommand has the command started: whose executable is on a disk that hangs is not
// waited for.
func (s *Scanner) startCommand() {
	s.command.starting = true
	go func() { s.command.started <- s.makeCommand() }()
}

// makeCommand starts the command as it would be without a tree beside it: with the limit
// of descriptors, and with the terminal, that the scanner was started with.
func (s *Scanner) makeCommand() commandMade {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && group == unix.Getpgrp() {
		attr.Foreground = true
	} else if err != nil && os.Getpid() == 1 {
		if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil { // a terminal that is nobody's yet
			attr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		}
	}
	files := s.files // the scanner goes on meanwhile
	files.Lower()
	defer files.Raise()
	made := commandMade{err: unix.ENOENT, status: 127}
	for _, path := range programs(s.Command[0]) {
		pid, err := syscall.ForkExec(path, s.Command, &syscall.ProcAttr{
			Env: os.Environ(), Files: []uintptr{0, 1, uintptr(s.command.stderr)}, Sys: attr})
		switch {
		case err == nil:
			return commandMade{pid: pid}
		case err == unix.ENOENT, err == unix.ENOTDIR:
		default:
			made = commandMade{err: err, status: 126}
		}
	}
	made.err = fmt.Errorf("unable to run %s: %w", s.Command[0], made.err)
	return made
}

// programs are the files that a program's name may mean.
func programs(name string) (paths []string) {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = "/bin:/usr/bin"
	}
	for _, dir := range strings.Split(path, ":") {
		paths = append(paths, filepath.Join("./", dir, name))
		if strings.HasPrefix(dir, "/") {
			paths[len(paths)-1] = filepath.Join(dir, name)
		}
	}
	return paths
}

// commandStarted takes the command that was started. It may have ended meanwhile.
func (s *Scanner) commandStarted(m commandMade) {
	s.command.starting, s.command.pid = false, m.pid
	switch {
	case m.err != nil:
		s.Say(diag.Fatal, "", m.err)
		s.commandEnded(m.status)
	case s.stop != nil:
		s.command.pass(unix.SIGTERM)
	}
	s.reap()
	if s.command.upgrade {
		s.command.upgrade = false
		s.upgrade()
	}
}

// commandEnded stops the tree, unless that is being done, and has the scanner exit as the
// command has.
func (s *Scanner) commandEnded(status int) {
	s.command.pid, s.command.status = 0, status
	s.end(status, true)
	s.stop.status = status
}

// collectCommand acts on the end of the command.
func (s *Scanner) collectCommand() {
	var ws unix.WaitStatus
	if s.command.pid == 0 {
		return
	}
	if pid, err := unix.Wait4(s.command.pid, &ws, unix.WNOHANG, nil); err != nil || pid != s.command.pid {
		return
	}
	s.commandEnded(proc.ExitCode(ws))
}

// The end of a tree with a main command has one budget of time: the services are stopped
// when the command has ended, or half of the time is over, and the command is killed when
// an eighth of it is left.
func (e *ending) servicesDue() time.Time  { return e.begun.Add(e.deadline.Sub(e.begun) / 2) }
func (e *ending) firstLookDue() time.Time { return e.begun.Add(firstLookTime) }
func (e *ending) killDue() time.Time      { return e.deadline.Add(-e.deadline.Sub(e.begun) / 8) }

// stopsServices says whether the services are to be stopped: once the directory was looked at,
// since what is in it may run since an earlier runsvdir, unless that takes too long.
func (s *Scanner) stopsServices() bool {
	now := time.Now()
	return s.stop != nil && (s.scanned || !now.Before(s.stop.firstLookDue())) && (!s.command.runs() || !now.Before(s.stop.servicesDue()))
}

// killLate kills the command when it is late.
func (s *Scanner) killLate() {
	c := &s.command
	if c.pid == 0 || c.killed || time.Now().Before(s.stop.killDue()) {
		return
	}
	c.killed = true
	s.stop.status = 128 + int(unix.SIGKILL)
	s.warn(fmt.Errorf("%s has not ended in time: killed.", s.Command[0]))
	unix.Kill(c.pid, unix.SIGKILL)
}

// quiet is what the core has for standard input where the command has the scanner's:
// nothing can be read from it.
func quiet() int {
	if fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		return fd
	}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return 0
	}
	unix.Close(p[1])
	return p[0]
}

// commandState is what an upgrade is told of the command, and resumeCommand reads.
func (c *command) commandState() string { return "command " + strconv.Itoa(c.pid) + "\x00\x00" }

func (c *command) resume(fields []string) {
	c.pid, _ = strconv.Atoi(fields[1])
}
