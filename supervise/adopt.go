package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// open takes the service: its locks, then its files, main before log at each
// step, `ok` last, so that where it answers the others are valid. What an
// earlier core was killed over is taken up where it was left: kept are the
// descriptors that the scanner has held meanwhile.
func (s *service) open(k kept) error {
	defer k.close()
	hasLog, logErr := s.hasLog()
	if hasLog {
		held := s.holdPipes() // before another core lets go of them
		defer held.close()
	}
	was, err := s.lock(&s.main, k)
	if err != nil {
		if errors.Is(err, unix.EACCES) {
			if err := s.dir.enter(); err != nil {
				return err
			}
		}
		return err
	}
	defer s.leaveRunning(&was)
	s.main.st.Want = WantUp
	if s.dir.has("down") {
		s.main.st.Want = WantDown
		if s.main.fresh {
			s.newRecord("")
		}
	}
	s.main.since = time.Now()
	s.looked = true
	wasLog := remains{pidfd: -1}
	defer s.leaveRunning(&wasLog)
	switch {
	case logErr != nil:
		s.warnOfLog(logErr)
	case hasLog:
		if wasLog, err = s.openLog(k); err != nil {
			return err
		}
	}
	if err := s.findPipe(k, was, wasLog); err != nil {
		return err
	}
	s.restore(&s.main, &was)
	if was.ok {
		s.restoreHooks()
	}
	if s.log != nil {
		s.restore(s.log, &wasLog)
		if s.log.st.Want == WantExit && s.main.st.Phase == Idle {
			s.main.st.Want = WantExit // it was about to be let go
		}
	}
	if err := s.control(&s.main, k.take("control")); err != nil {
		return err
	}
	if err := s.makeOK(&s.main, k.take("ok")); err != nil {
		return err
	}
	if s.log != nil {
		if err := s.control(s.log, k.take("log/control")); err != nil {
			return err
		}
		if err := s.makeOK(s.log, k.take("log/ok")); err != nil {
			return err
		}
	}
	s.opened = true
	if s.piped { // what is started from here on has it
		s.core.keep(s)
	} else {
		s.core.keepSoon(s)
	}
	return nil
}

// publish has others see the service: its status files, and then that they are
// kept. It waits for the first process, where there is to be one at once, so
// that what is started is written once and not first as down.
func (s *service) publish() {
	soon := s.main.st.Phase == Starting && !s.lanes[laneUp].busy // control/u may take its time
	if s.published || soon || s.log != nil && s.log.st.Phase == Starting {
		return
	}
	s.published = true
	units := s.units()
	for _, u := range units {
		u.write()
	}
	s.core.kept(s) // commands come from here on
	for _, u := range units {
		if err := s.openOK(u); err != nil {
			s.fatal(err)
			s.feed(&s.main, CmdExit)
		}
	}
	s.core.keepSoon(s)
}

// begin starts, once the service is open, what is to run: the log service
// first. What was adopted runs already.
func (s *service) begin() {
	if s.log != nil {
		s.resume(s.log)
	}
	s.resume(&s.main)
	s.looked = false
	for _, u := range s.units() {
		if !u.fresh {
			s.drain(u) // what was written while no core was there
		}
	}
	s.publish()
}

// close lets go of all that open took. The record goes with it, unless another
// core takes over.
func (s *service) close() {
	units := s.units()
	if s.mendTimer != nil {
		s.mendTimer.Stop()
	}
	s.core.kept(s)
	s.core.procs.disown(s)
	for _, u := range units {
		if u.rest != nil {
			u.rest.Stop()
		}
		if u.pidfd >= 0 {
			s.core.unwatch(u.pidfd)
		}
		if u.control >= 0 {
			s.core.unguard(u)
			s.core.unwatch(u.control)
		}
		if s.opened && !s.letGo {
			unix.Unlinkat(s.dir.fd, u.prefix+"supervise/proc", 0)
		}
	}
	for i := range s.lanes {
		if fd := s.lanes[i].pidfd; fd > 0 {
			s.core.unwatch(fd)
		}
	}
	s.closePipe()
	// The scanner hands the lock over. One that has gone may not be quite gone, if
	// one of its threads hangs, and has the descriptor still.
	handOver := s.letGo && !s.core.isOrphaned()
	for _, u := range slices.Backward(units) { // who gets the first lock gets all
		u.unlock(handOver)
	}
	for _, u := range units { // who has waited for the end finds the locks free
		if u.ok >= 0 {
			unix.Close(u.ok)
		}
	}
	unix.Close(s.dir.fd)
}

// kept are descriptors that the scanner has held for a service, by what they
// are: lock, control, ok, the same of log/, pipe (an end for reading and writing), and
// pidfds of processes that are no children of the scanner.
type kept map[string]int

// leaveRunning lets go of a process that was not adopted, since the service
// cannot be opened now. When it is opened after all, it will have it.
func (s *service) leaveRunning(was *remains) {
	if was.pidfd >= 0 {
		unix.Close(was.pidfd)
		was.pidfd = -1
		s.core.procs.bequeath(was.life.PID, s.key)
	}
}

// pidTag is the name of a process's pidfd among what is kept.
func pidTag(u *unit, pid int) string { return u.prefix + "pid" + strconv.Itoa(pid) }

// take moves a descriptor out of what was kept; -1 if it is not there.
func (k kept) take(tag string) int {
	fd, ok := k[tag]
	if !ok {
		return -1
	}
	delete(k, tag)
	return fd
}

func (k kept) close() {
	for _, fd := range k {
		unix.Close(fd)
	}
}

// remains is what an earlier core has left of a unit.
type remains struct {
	life  Life
	ok    bool
	pidfd int    // of the process the record names, if it is still there; else -1
	told  Life   // the record as it was read
	seen  Record // supervise/status
	state []byte // the same, undecoded
	stat  string // supervise/stat
	pid   string // supervise/pid
}

// earlier looks for the traces of a core that did not let go. A process is
// held by its pidfd from here on, so that its end is not missed.
func (s *service) earlier(u *unit, k kept) (was remains) {
	prefix := u.prefix
	was.pidfd = -1
	if was.life, was.ok = readLife(s.dir.fd, prefix+"supervise/proc"); !was.ok {
		return was
	}
	was.told = was.life
	was.state, _ = s.dir.slurp(prefix+"supervise/status", StatusSize+1)
	was.seen, _ = ParseRecord(was.state)
	stat, _ := s.dir.slurp(prefix+"supervise/stat", 64)
	pid, _ := s.dir.slurp(prefix+"supervise/pid", 16)
	was.stat, was.pid = string(stat), string(pid)
	if was.life.Word == LifeMaking || was.life.Word == LifeFinishing {
		switch pid, ticks := s.orphan(prefix, was.life); {
		case pid != 0:
			was.life.PID, was.life.Ticks = pid, ticks
			fallthrough
		case was.life.PID != 0: // it was made, and has ended
			was.life.Word = map[string]string{LifeMaking: LifeRun, LifeFinishing: LifeFinish}[was.life.Word]
		}
	}
	if was.life.Word != LifeRun && was.life.Word != LifeFinish {
		return was
	}
	if fd, err := unix.PidfdOpen(was.life.PID, 0); err == nil {
		st, found := statOf(was.life.PID) // read behind the pidfd: it is of one process
		if found && st.ticks == was.life.Ticks || !found && ancestors()[parentOf(fd)] {
			was.pidfd = fd
			return was
		}
		unix.Close(fd)
	}
	was.pidfd = k.take(pidTag(u, was.life.PID)) // it has ended, and this can tell how
	return was
}

// slurp reads a small file, of at most limit bytes.
func (d Dir) slurp(name string, limit int) ([]byte, error) {
	fd, err := open(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, limit)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// soon is how many clock ticks after its record a process has been made by, as
// a rule.
const soon = 100

// orphan finds the process that a killed core had made and not yet recorded
// whole. Its pid is in the record, where it could write it itself. Else it is
// looked for: one that has lost its parent, is younger than the record and,
// alive, has the service's working directory, or, dead, still has the name of its
// script. At most one process of a tree is in that state; what it has started
// itself is younger still.
func (s *service) orphan(prefix string, l Life) (pid int, ticks uint64) {
	var dir unix.Stat_t
	if err := unix.Fstatat(s.dir.fd, strings.TrimSuffix("./"+prefix, "/"), &dir, 0); err != nil {
		return 0, 0
	}
	script := "run"
	if l.Word == LifeFinishing {
		script = "finish"
	}
	parents := ancestors()
	look := func(p int) {
		st, ok := statOf(p)
		if !ok && p == l.PID {
			if fd, err := unix.PidfdOpen(p, 0); err == nil {
				st.ppid, st.ticks, ok = parentOf(fd), l.Ticks, true
				unix.Close(fd)
			}
		}
		if !ok || st.ticks < l.Ticks || !parents[st.ppid] || pid != 0 && st.ticks >= ticks {
			return
		}
		var cwd unix.Stat_t
		path := "/proc/" + strconv.Itoa(p) + "/cwd"
		switch {
		case l.PID != 0 && st.ticks <= l.Ticks+soon:
		case st.state == 'Z' || st.state == 'X':
			if st.comm != script {
				return
			}
		case unix.Stat(path, &cwd) != nil || cwd.Ino != dir.Ino || cwd.Dev != dir.Dev:
			return
		}
		pid, ticks = p, st.ticks
	}
	if l.PID != 0 {
		look(l.PID)
		return pid, ticks
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return 0, 0
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return 0, 0
	}
	for _, name := range names {
		if p, err := strconv.Atoi(name); err == nil && p != os.Getpid() {
			look(p)
		}
	}
	return pid, ticks
}

// parentOf is the parent of a process as its pidfd tells it, for those that
// /proc hides (hidepid) from a core that may not look; 0 where the kernel does
// not say (before 6.13).
func parentOf(pidfd int) int {
	info := unix.PidfdInfo{}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil {
		return 0
	}
	return int(info.Ppid)
}

// byteLetGo is what a core writes to supervise/control to have a service from
// another whose scanner is gone. Every other supervisor ignores it.
const byteLetGo Event = 0x04

// ancestors are the processes that may have inherited a killed core's child:
// process 1, or a subreaper above this process.
func ancestors() map[int]bool {
	all := map[int]bool{1: true}
	for pid := os.Getppid(); pid > 1; {
		all[pid] = true
		st, ok := statOf(pid)
		if !ok {
			break
		}
		pid = st.ppid
	}
	return all
}

// lock locks the unit and says what an earlier core has left of it. A core
// that still holds it but has lost its scanner is asked to let go.
func (s *service) lock(u *unit, k kept) (was remains, err error) {
	was.pidfd = -1
	if u.fresh, err = s.dir.superviseDir(u.prefix); err != nil {
		return was, err
	}
	if !u.fresh {
		was = s.earlier(u, k) // from here on the end of its process is not missed
	}
	l, err := s.takeLock(u.prefix, k)
	if errors.Is(err, unix.EAGAIN) && s.core.link != nil && !s.opened {
		patience := 100 * time.Millisecond // it may be letting go already
		if s.askFor(u.prefix) {
			patience = 3 * time.Second
		}
		refused := err
		u.fresh = false
		s.relieve() // others may come in meanwhile
		wait := 2 * time.Millisecond
		for deadline := time.Now().Add(patience); errors.Is(err, unix.EAGAIN) && time.Now().Before(deadline); {
			time.Sleep(wait)
			wait = min(2*wait, 50*time.Millisecond)
			l, err = s.dir.lock(u.prefix)
		}
		// What has been stopped meanwhile is not begun again for a scanner that
		// has gone; what was let go of is taken over.
		if err == nil && s.core.isOrphaned() && !s.dir.has(u.prefix+"supervise/proc") {
			unix.Close(l)
			err = refused
		}
	}
	if err != nil {
		s.leaveRunning(&was)
		return was, err
	}
	u.lock = l
	if u.fresh || !was.ok && s.newRecord(u.prefix) {
		return was, nil
	}
	// Nobody writes it any more, and what was being made has lost its parent.
	life, ok, err := readSettled(s.dir.fd, u.prefix+"supervise/proc")
	if err != nil {
		s.leaveRunning(&was)
		return was, err
	}
	making := life.Word == LifeMaking || life.Word == LifeFinishing
	if ok != was.ok || ok && (life != was.told || making) {
		now := s.earlier(u, k)
		if was.pidfd >= 0 {
			if now.pidfd < 0 && now.ok && now.life.PID == was.life.PID && now.life.Ticks == was.life.Ticks {
				now.pidfd = was.pidfd
			} else {
				unix.Close(was.pidfd)
			}
		}
		was = now
	}
	if !was.ok { // garbage, of any kind and length
		unix.Unlinkat(s.dir.fd, u.prefix+"supervise/proc", 0)
		s.newRecord(u.prefix)
	}
	return was, nil
}

// takeLock takes the unit's lock. The earlier core's is given up first, by the
// descriptor that the scanner has kept of it: that core may be killed and not quite
// gone, if one of its threads waits for a disk.
func (s *service) takeLock(prefix string, k kept) (int, error) {
	if fd := k.take(prefix + "lock"); fd >= 0 {
		unix.Flock(fd, unix.LOCK_UN)
		unix.Close(fd)
	}
	return s.dir.lock(prefix)
}

// newRecord makes the record, if there is none, before it is needed: blank, so
// that it tells nothing and has room on the disk. (In a directory that was made
// for it that is done when there is something to tell.) What the status file tells
// of an earlier life must not be taken for this one's.
func (s *service) newRecord(prefix string) bool {
	fd, err := open(s.dir.fd, prefix+"supervise/proc", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return false
	}
	unix.Write(fd, []byte(blank))
	unix.Close(fd)
	unix.Unlinkat(s.dir.fd, prefix+"supervise/status", 0)
	return true
}

// askFor asks the core that holds the lock to let go; log services go with
// their service.
func (s *service) askFor(prefix string) bool {
	fd, err := open(s.dir.fd, prefix+"supervise/control", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte{byte(byteLetGo)})
	return err == nil
}

// hasLog says whether there is a log directory. The error is a warning.
func (s *service) hasLog() (bool, error) {
	st, err := s.dir.stat("log")
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
func (s *service) openLog(k kept) (was remains, err error) {
	was.pidfd = -1
	if !s.core.take(needLog) {
		return was, errRoom
	}
	s.taken += needLog
	u := &unit{svc: s, prefix: "log/", control: -1, ok: -1, lock: -1, pidfd: -1, since: time.Now()}
	if was, err = s.lock(u, k); err != nil {
		s.core.give(needLog)
		s.taken -= needLog
		return was, err
	}
	u.st.Want = WantUp
	if s.dir.has("log/down") {
		u.st.Want = WantDown
		if u.fresh {
			s.newRecord("log/")
		}
	}
	s.log = u
	return was, nil
}

func (s *service) warnOfLog(err error) {
	if !s.badLog {
		s.badLog = true
		s.warn(err)
	}
}

// attachLog takes in a log directory that came after the service was opened;
// and a pipe, where the one there was had been closed to end the log service.
func (s *service) attachLog() {
	if s.log == nil {
		if s.looked {
			return
		}
		has, err := s.hasLog()
		if has {
			_, err = s.openLog(nil)
		}
		if err != nil {
			s.warnOfLog(err)
		}
		if s.log == nil {
			return
		}
		err = s.newPipe()
		if err == nil {
			err = s.control(s.log, -1)
		}
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
		s.core.keep(s)
		s.resume(s.log)
		return
	}
	if !s.piped {
		if err := s.newPipe(); err != nil {
			s.warn(err)
			return
		}
		s.core.keep(s)
	}
}

func (s *service) newPipe() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("unable to create log pipe: %w", err)
	}
	s.pipe, s.piped = [2]int{p[0], lasting(p[1])}, true
	return nil
}

// lasting makes the write end of a pipe one that can be read as well. A process
// that has it is never killed by SIGPIPE, even if the supervisor and the reader
// are killed at once, and what it writes waits for the next reader. The end of
// the pipe still comes when nobody has it any more.
func lasting(w int) int {
	if rw := reopenPipe("/proc/self/fd/"+strconv.Itoa(w), unix.O_RDWR); rw >= 0 {
		unix.Close(w)
		return rw
	}
	return w
}

func (s *service) closePipe() {
	if s.piped {
		s.core.kept(s)
		unix.Close(s.pipe[1])
		unix.Close(s.pipe[0])
		s.piped = false
	}
}

// holdPipes holds the pipes of the service and of its log service open, as far
// as an earlier core's processes have them: a log service that saw the end of
// its pipe would end.
func (s *service) holdPipes() kept {
	k := kept{}
	hold := func(prefix, path string) {
		if l, ok := readLife(s.dir.fd, prefix+"supervise/proc"); ok && l.PID > 0 {
			if fd := reopenPipe("/proc/"+strconv.Itoa(l.PID)+path, unix.O_RDWR); fd >= 0 {
				k[prefix] = fd
			}
		}
	}
	if s.dir.has("log/supervise/proc") {
		hold("log/", "/fd/0")
		hold("", "/fd/1")
	}
	return k
}

// findPipe finds the pipe between the service and its log service again: the
// one that ./run writes to, or the one that the scanner has kept, or the one
// that the log service reads; else it makes one.
func (s *service) findPipe(k kept, was, wasLog remains) error {
	if s.log == nil {
		return nil
	}
	w := -1
	if was.pidfd >= 0 && was.life.Pipe != 0 {
		w = reopenPipe("/proc/"+strconv.Itoa(was.life.PID)+"/fd/1", unix.O_RDWR)
		if w >= 0 && inode(true, w) != was.life.Pipe { // ./run has turned elsewhere
			unix.Close(w)
			w = -1
		}
	}
	if w < 0 {
		w = k.take("pipe")
	}
	if w < 0 && wasLog.pidfd >= 0 {
		w = reopenPipe("/proc/"+strconv.Itoa(wasLog.life.PID)+"/fd/0", unix.O_RDWR)
	}
	if w >= 0 {
		if r := reopenPipe("/proc/self/fd/"+strconv.Itoa(w), unix.O_RDONLY); r >= 0 {
			s.pipe, s.piped = [2]int{r, w}, true
			return nil
		}
		unix.Close(w)
	}
	return s.newPipe()
}

// reopenPipe opens an end of the pipe behind path, a magic link of /proc; -1
// where it is none. The descriptor blocks, as children expect.
func reopenPipe(path string, flags int) int {
	fd, err := open(unix.AT_FDCWD, path, flags|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return -1
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil {
		unix.Close(fd)
		return -1
	}
	return fd
}

// sameFile says whether a kept descriptor is still what the name leads to.
func (s *service) sameFile(fd int, name string) bool {
	var a unix.Stat_t
	if fd < 0 || unix.Fstat(fd, &a) != nil {
		return false
	}
	b, err := s.dir.stat(name)
	return err == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

// control opens the unit's command FIFO, or takes the kept one, in which
// commands may wait.
func (s *service) control(u *unit, kept int) error {
	name := u.prefix + "supervise/control"
	if s.sameFile(kept, name) {
		u.control = kept
	} else {
		if kept >= 0 {
			unix.Close(kept)
		}
		if err := s.dir.makeFIFO(name); err != nil {
			return err
		}
		fd, err := s.dir.openFIFO(name, unix.O_RDWR, "open")
		if err != nil {
			return err
		}
		u.control = fd
	}
	if err := s.core.watchFD(u.control, watch{unit: u}, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("unable to poll %s: %w", name, err)
	}
	return nil
}

// makeOK makes the FIFO by which others see that the unit is supervised, or
// takes the kept one.
func (s *service) makeOK(u *unit, kept int) error {
	name := u.prefix + "supervise/ok"
	if s.sameFile(kept, name) {
		u.ok = kept
		return nil
	}
	if kept >= 0 {
		unix.Close(kept)
	}
	return s.dir.makeFIFO(name)
}

// openOK has the FIFO answer: from here on the files beside it are valid.
func (s *service) openOK(u *unit) (err error) {
	if u.ok < 0 {
		u.ok, err = s.dir.openFIFO(u.prefix+"supervise/ok", unix.O_RDONLY, "read")
		if err == nil { // nothing is ever written to it: the room for 16 pages is given back
			unix.FcntlInt(uintptr(u.ok), unix.F_SETPIPE_SZ, os.Getpagesize())
		}
	}
	return err
}

// restore gives the unit the standing order, the times and the process that an
// earlier core has left.
func (s *service) restore(u *unit, was *remains) {
	if !was.ok {
		return
	}
	// An order counts beyond a kill: it is read from the files that tell it.
	if !was.seen.Since.IsZero() {
		w := &u.written // and only what is not right any more is written again
		if w.pid, _ = strconv.Atoi(strings.TrimSpace(was.pid)); w.pid == was.seen.PID {
			w.stat, w.status, w.any = was.stat, [StatusSize]byte(was.state), true
		}
		u.since = was.seen.Since
		if was.seen.Want != WantUnknown {
			u.st.Want = was.seen.Want
		}
		if strings.Contains(was.stat, "want exit") {
			u.st.Want = WantExit
		}
	}
	u.began = time.Now().Add(-max(0, time.Since(u.since)))
	u.ws = was.life.Status
	switch was.life.Word {
	case LifeMaking: // no process came of it; one wanted down was wanted once
		u.began = time.Time{} // it has rested
		if u.st.Want == WantDown {
			u.st.Want = WantOnce
		}
		return
	case LifeDown:
		return
	case LifeEnded, LifeFinishing:
		u.st.Phase = Running // its end is told in resume
		return
	}
	u.st.Phase = Running
	r := isRun
	if was.life.Word == LifeFinish {
		u.st.Phase, r = Finishing, isFinish
	}
	if was.pidfd < 0 {
		u.ws = statusUnknown
		if r == isFinish {
			u.ws = was.life.Status
		}
		return
	}
	p := s.core.procs.adopt(was.life.PID, was.pidfd, u, r)
	if p == nil { // it is another's
		u.st.Phase = Idle
		return
	}
	u.pid, u.pidfd = p.pid, p.pidfd
	was.pidfd = -1
	s.core.rescueLog(u.pid)
	if was.life != was.told { // it was found while it was being made
		s.record(u, was.life)
	}
	st, alive := statOf(u.pid)
	u.foreign = !alive || st.ppid != os.Getppid()
	if was.seen.PID == u.pid {
		u.st.Paused, u.st.Termed = was.seen.Paused, was.seen.Termed
	} else {
		u.since, u.began = time.Now(), time.Now()
	}
	s.core.watchFD(u.pidfd, watch{unit: u, proc: p}, unix.EPOLLIN|unix.EPOLLET)
}

// resume goes on with a unit as restore has left it.
func (s *service) resume(u *unit) {
	switch {
	case u.st.Phase == Idle && u == &s.main && s.waits && (u.st.Want == WantUp || u.st.Want == WantOnce): // for what is missing
		if err := s.dir.executable("run", false); err != nil { // of one that is being written there is nothing to say
			s.fatal(fmt.Errorf("unable to start ./run: %w", err))
		}
	case u.st.Phase == Idle && u.st.Want == WantUp:
		if age := time.Since(u.began); !u.began.IsZero() && age < time.Second {
			u.st.Phase = Resting // it had just ended: the rest is still due
			u.restFor(time.Second - age)
			return
		}
		s.feed(u, CmdUp)
	case u.st.Phase == Idle && u.st.Want == WantOnce:
		s.feed(u, CmdOnce)
	case u.st.Phase == Running && u.pid == 0 && u == &s.main && s.ending():
		u.pid = u.written.pid
		s.feed(u, Held)
	case u.st.Phase == Running && u.pid == 0:
		s.ended(u, isRun, u.ws)
	case u.st.Phase == Finishing && u.pid == 0:
		s.ended(u, isFinish, u.ws)
	case u.st.Phase == Running && u == &s.main && !u.st.Termed && u.st.Want == WantExit && !s.ending():
		s.do(u, Stop) // the order was cut off before the signal; down without it is once
	}
}

// seen tells the scanner that it may collect a process that it has inherited.
func (c *Core) seen(pid int) {
	if c.link != nil {
		c.report(message{word: "seen", a: strconv.Itoa(pid), b: "0"})
	}
}

// ending acts on the end of an adopted process as its pidfd tells it. A child
// of the scanner is left to that, which knows the status.
func (c *Core) ending(w watch, pidfd int) {
	c.mu.Lock()
	watched, fd := c.watched[int32(pidfd)] == w, -1
	if watched { // else it is closed, and may be another by now
		fd, _ = unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 0)
	}
	c.mu.Unlock()
	switch {
	case !watched:
		return
	case fd < 0: // there are too few at the moment
		time.AfterFunc(time.Second, func() { c.ending(w, pidfd) })
		return
	}
	go func() {
		defer unix.Close(fd)
		pause := 10 * time.Millisecond
		for begin := time.Now(); c.procs.awaited(w.proc); time.Sleep(pause) {
			ws, known, err := exitStatus(fd)
			st, there := statOf(w.proc.pid)
			switch {
			case known: // its parent has collected it
				c.procs.ended(w.proc, ws)
				return
			case there && c.scannerHas(st):
				pause = min(2*pause, 5*time.Second)
			case there && st.state == 'Z' && (st.ws != 0 || os.Geteuid() == 0): // who may not know it is told 0
				c.procs.ended(w.proc, st.ws)
				return
			case err != nil || time.Since(begin) > time.Second: // a kernel before 6.15, or a parent that does not care
				c.procs.ended(w.proc, statusUnknown)
				return
			}
		}
	}()
}

// scannerHas says whether a process is a child of the scanner, which will tell
// how it has ended.
func (c *Core) scannerHas(st procStat) bool {
	return c.link != nil && st.ppid == os.Getppid() && !c.isOrphaned()
}

// exitStatus is how a process has ended, as its pidfd tells it when its parent
// has reaped it; until then it is not known.
func exitStatus(pidfd int) (ws unix.WaitStatus, known bool, err error) {
	for range 2 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if err = unix.IoctlPidfdInfo(pidfd, &info); err == nil {
			return unix.WaitStatus(info.Exit_code), info.Mask&unix.PIDFD_INFO_EXIT != 0, nil
		}
		// One that is reaped while the kernel looks at it is not there any more;
		// asked again, it tells how it has ended.
		if err != unix.ESRCH {
			break
		}
	}
	return 0, false, err
}

// rewatch looks again at an adopted process whose parent was the scanner, when
// that is gone.
func (c *Core) rewatch(w watch, pidfd int) {
	p := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, 0); err == nil && n > 0 {
		c.ending(w, pidfd)
	}
}
