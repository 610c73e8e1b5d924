package core

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// hasLog says whether there is a log directory. The error is a warning.
func (s *service) hasLog() (bool, error) {
	if s.loan = nil; s.catches != nil {
		return false, nil
	}
	if s.names.Known && !s.names.Log || s.names.LogDir {
		return s.names.LogDir, nil
	}
	if s.borrowLog() {
		return false, nil
	}
	st, err := s.dir.Stat("log")
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("unable to stat() ./log: : %w", err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, errors.New("./log: not a directory.")
	}
	return true, nil
}

// openLog makes the unit of the log service.
func (s *service) openLog(k stash) (was priorState, err error) {
	was.pidfd = -1
	if !s.reserve(self.NeedLog) {
		return was, self.ErrShortage
	}
	u := &unit{svc: s, prefix: "log/", control: -1, ok: -1, lock: -1, pidfd: -1, since: time.Now(), st: machine.Status{Log: true}}
	has := s.readPolicy(u)
	if was, err = s.lock(u, k, has); err != nil {
		s.core.descriptors.give(self.NeedLog)
		s.taken -= self.NeedLog
		return was, err
	}
	s.log = u
	return was, s.initial(u, has)
}

func (s *service) warnOfLog(err error) {
	if !s.badLog {
		s.badLog = true
		s.warn(err)
	}
}

// attachLog takes in a log directory that came after the service was opened.
func (s *service) attachLog() {
	if s.log != nil || s.looked {
		return
	}
	has, err := s.hasLog()
	if has {
		var was priorState
		if err = s.locate("log/"); err == nil {
			was, err = s.openLog(nil)
			was.close()
		}
	}
	if err != nil {
		s.warnOfLog(err)
	}
	if s.log == nil {
		return
	}
	err = s.control(s.log, -1)
	if err == nil {
		err = s.makeOK(s.log, -1)
	}
	if err == nil && s.published {
		s.log.write()
		err = s.openOK(s.log)
	}
	if err != nil {
		s.warnOfLog(err)
	}
	s.core.stashNow(s)
	s.core.guard(s.log)
	s.resume(s.log)
}

func (s *service) newPipe() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("unable to create log pipe: %w", err)
	}
	s.pipe, s.piped = [2]int{p[0], sys.Lasting(p[1])}, true
	s.lendLog()
	return nil
}

// openReader opens the end of the pipe that the log service is to read, if it is not open:
// who takes over a log service that runs needs none before that is started again.
func (s *service) openReader() (err error) {
	if !s.piped || s.pipe[0] >= 0 {
		return nil
	}
	if s.pipe[0], err = sys.ReopenEnd(s.pipe[1], unix.O_RDONLY); s.pipe[0] >= 0 || err != nil {
		return err
	}
	s.closePipe() // there is no way to it
	if err = s.newPipe(); err == nil {
		s.core.stashNow(s)
	}
	return err
}

func (s *service) closePipe() {
	if s.piped {
		if s.lends {
			s.core.loans.lend(s.key, -1)
		}
		s.core.awaitStash(s)
		unix.Close(s.pipe[1])
		if s.pipe[0] >= 0 {
			unix.Close(s.pipe[0])
		}
		s.piped = false
	}
}

// holdPipes holds the pipes of the service and of its log service open, as far
// as an earlier core's processes have them: a log service that saw the end of
// its pipe would end.
func (s *service) holdPipes() (stash, error) {
	k := stash{}
	hold := func(prefix, fd string) error {
		l, ok, err := proc.Read(s.at(prefix), prefix+"supervise/proc")
		if err != nil || !ok || l.PID == 0 || l.Want == state.WantExit { // that one is to see it
			return err
		}
		w, err := s.core.openPipe(l, fd)
		if w >= 0 {
			k[prefix] = w
		}
		return err
	}
	if !s.dir.Has("log/supervise/proc") {
		return k, nil
	}
	if err := hold("log/", "0"); err != nil {
		return k, err
	}
	return k, hold("", "1")
}

// openPipe opens the pipe that the record's process has as that descriptor; -1 where
// it has none, or another than the record tells of. In a container that sees the /proc
// of others another process has its number there.
func (c *Core) openPipe(l state.Process, fd string) (int, error) {
	if ours, err := proc.IsOwn(); !ours {
		return -1, err
	}
	if l.Word == state.ProcHosted {
		if fd = c.hosting.inputOf(l); fd == "" {
			return -1, nil
		}
	}
	w, err := sys.ReopenPipe("/proc/"+strconv.Itoa(l.PID)+"/fd/"+fd, unix.O_RDWR)
	if w >= 0 && l.Pipe != 0 && inode(true, w) != l.Pipe {
		unix.Close(w)
		w = -1
	}
	return w, err
}

// findPipe finds the pipe between the service and its log service again: the
// one that ./run writes to, or the one that the scanner has kept, or the one
// that the log service reads; else it makes one.
func (s *service) findPipe(k stash, was, wasLog priorState) error {
	if s.log == nil {
		return nil
	}
	w, err := -1, error(nil)
	if was.keptPipe {
		// It is the one that ./run has, unless that has turned elsewhere.
		w = k.take("pipe")
		if mode, err := unix.FcntlInt(uintptr(w), unix.F_GETFL, 0); err == nil && mode&unix.O_ACCMODE == unix.O_RDWR {
			s.pipe, s.piped = [2]int{-1, w}, true
			return nil
		}
	}
	s.renewed = true
	if w < 0 && was.there && was.record.Pipe != 0 && !s.saysTo(was.record.Pipe) { // else, or where it is another, ./run has turned elsewhere
		w, err = s.core.openPipe(was.record, "1")
	}
	if w < 0 && err == nil {
		w = k.take("pipe")
	}
	if w < 0 && err == nil && wasLog.there {
		w, err = s.core.openPipe(wasLog.record, "0")
	}
	if err != nil {
		return err
	}
	if w >= 0 {
		r, err := sys.ReopenEnd(w, unix.O_RDONLY)
		if r >= 0 {
			s.pipe, s.piped = [2]int{r, w}, true
			return nil
		}
		unix.Close(w)
		if err != nil {
			return err
		}
	}
	return s.newPipe()
}

// pipeNumber is the inode of the pipe that ./run is to write to; 0 for none.
func (s *service) pipeNumber() uint64 {
	if !s.piped && s.said != nil {
		return s.said.pipe[1]
	}
	return inode(s.piped, s.pipe[1])
}

// inode is the inode of fd, 0 where it is not open.
func inode(open bool, fd int) uint64 {
	var st unix.Stat_t
	if !open || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}
