package core

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// open takes the service: its locks, then its files, main before log at each
// step, `ok` last, so that where it answers the others are valid. What an
// earlier core was killed over is taken up where it was left: kept are the
// descriptors that the scanner has held meanwhile.
func (s *service) open(k stash) error {
	defer k.close()
	hasLog, logErr := s.hasLog()
	if servicedir.Transient(logErr) {
		return logErr
	}
	if _, holds := k["pipe"]; hasLog && !holds { // before another core lets go of them
		held, err := s.holdPipes()
		defer held.close()
		if err != nil {
			return err
		}
		s.held = held
	}
	was, err := s.lock(&s.main, k)
	if err != nil {
		if errors.Is(err, unix.EACCES) {
			if err := s.dir.Enter(); err != nil {
				return err
			}
		}
		return err
	}
	defer s.leaveRunning(&was)
	if err := s.initial(&s.main); err != nil {
		return err
	}
	s.main.since = time.Now()
	s.looked = true
	wasLog := priorState{pidfd: -1}
	defer s.leaveRunning(&wasLog)
	switch {
	case logErr != nil:
		s.warnOfLog(logErr)
	case hasLog:
		if wasLog, err = s.openLog(k); err != nil {
			return err
		}
	}
	if err := s.judge(&was, &wasLog); err != nil {
		return err
	}
	if err := s.findPipe(k, was, wasLog); err != nil {
		return err
	}
	for _, r := range []*priorState{&was, &wasLog} {
		if err := s.core.rescueLog(r); err != nil {
			return err
		}
	}
	var hooks []leftHook
	if was.ok {
		if hooks, err = s.leftHooks(); err != nil {
			return err
		}
	}
	s.restore(&s.main, &was)
	s.restoreHooks(hooks)
	if s.log != nil {
		s.restore(s.log, &wasLog)
		if s.log.st.Want == state.WantExit && s.main.st.Want != state.WantExit { // it stays after all
			s.log.st.Want = state.WantUp
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
		s.core.stashNow(s)
	} else {
		s.core.stashSoon(s)
	}
	return nil
}

// publish has others see the service: its status files, and then that they are
// kept. It waits for the first process, where there is to be one at once, so
// that what is started is written once and not first as down.
func (s *service) publish() {
	soon := s.main.st.Phase == machine.Starting && !s.lanes[laneUp].busy // control/u may take its time
	if s.published || soon || s.log != nil && s.log.st.Phase == machine.Starting {
		return
	}
	s.show()
}

// showStarting has others see the service as it is while a process takes its time to be
// made: what ran before runs no more.
func (s *service) showStarting() {
	if !s.published {
		s.show()
		return
	}
	for _, u := range s.units() {
		if u.st.Phase == machine.Starting {
			u.write()
		}
	}
}

// show is what publish has done.
func (s *service) show() {
	s.published = true
	units := s.units()
	for _, u := range units {
		u.write()
	}
	s.core.awaitStash(s) // commands come from here on
	for _, u := range units {
		if err := s.openOK(u); err != nil {
			s.fatal(err)
			s.feed(&s.main, machine.CmdExit)
		}
	}
	s.core.stashSoon(s)
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
	if s.repairTimer != nil {
		s.repairTimer.Stop()
	}
	s.core.awaitStash(s)
	if s.detached && s.opened {
		s.recordEnds()
	}
	s.core.procs.forget(s)
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
		if s.opened && !s.detached {
			unix.Unlinkat(s.dir.FD, u.prefix+"supervise/proc", 0)
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
	handOver := s.detached && !s.core.isOrphaned()
	for _, u := range slices.Backward(units) { // who gets the first lock gets all
		u.unlock(handOver)
	}
	for _, u := range units { // who has waited for the end finds the locks free
		if u.ok >= 0 {
			unix.Close(u.ok)
		}
	}
	unix.Close(s.dir.FD)
}

// stash are descriptors that the scanner has held for a service, by what they
// are: lock, control, ok, the same of log/, pipe (an end for reading and writing), and
// pidfds of processes that are no children of the scanner.
type stash map[string]int

// leaveRunning lets go of a process that was not adopted, since the service
// cannot be opened now. When it is opened after all, it will have it.
func (s *service) leaveRunning(was *priorState) {
	if was.there {
		s.core.procs.reserve(was.record.PID, s.key)
	}
	was.close()
}

// pidTag is the name of a process's pidfd among what is kept.
func pidTag(u *unit, pid int) string { return u.prefix + "pid" + strconv.Itoa(pid) }

// take moves a descriptor out of what was kept; -1 if it is not there.
func (k stash) take(tag string) int {
	fd, ok := k[tag]
	if !ok {
		return -1
	}
	delete(k, tag)
	return fd
}

func (k stash) close() {
	for tag, fd := range k {
		unix.Close(fd)
		delete(k, tag)
	}
}

// priorState is what an earlier core has left of a unit.
type priorState struct {
	record    state.Process
	ok        bool          // there is a record, and it counts
	trust     trust         // of the record
	verdict   verdict       // on it
	unwritten bool          // it could not be written, and the scanner has kept it
	there     bool          // the process that it names is there, alive or dead
	runs      bool          // and alive
	ppid      int           // its parent
	pidfd     int           // of the process, or of one that has ended and can tell how; else -1
	told      state.Process // the record as it was read
	seen      state.Record  // supervise/status
	state     []byte        // the same, undecoded
	stat      string        // supervise/stat
	pid       string        // supervise/pid
}

func (was *priorState) close() {
	if was.pidfd >= 0 {
		unix.Close(was.pidfd)
	}
	was.pidfd, was.there, was.runs = -1, false, false
}

// earlier looks for the traces of a core that did not let go. A process is
// held by its pidfd from here on, so that its end is not missed. What cannot be
// read at present is an error: it does not count as absent.
func (s *service) earlier(u *unit, k stash) (was priorState, err error) {
	prefix := u.prefix
	was.pidfd = -1
	at, err := s.core.here()
	if err != nil {
		return was, err
	}
	place, err := s.place(prefix)
	if err != nil {
		return was, err
	}
	life, found, err := proc.Read(s.dir.FD, prefix+"supervise/proc")
	s.core.mu.Lock()
	if l, ok := s.core.unwritten[s.key][prefix]; ok { // it is newer
		life, found, was.unwritten = l, true, true
	}
	s.core.mu.Unlock()
	if err != nil || !found {
		return was, err
	}
	was.told, was.record = life, life
	if was.trust = trustOf(life, at.world, place); was.trust == untrusted {
		return was, nil
	}
	was.ok = true
	for _, f := range []struct {
		name  string
		limit int
		to    func([]byte)
	}{
		{"status", state.StatusSize + 1, func(b []byte) { was.state = b; was.seen, _ = state.ParseRecord(b) }},
		{"stat", 64, func(b []byte) { was.stat = string(b) }},
		{"pid", 16, func(b []byte) { was.pid = string(b) }},
	} {
		b, err := sys.Slurp(s.dir.FD, prefix+"supervise/"+f.name, f.limit)
		if err != nil {
			if err = sys.Unless(sys.Absent, "supervise/"+f.name, err); err != nil {
				return was, err
			}
			continue
		}
		f.to(b)
	}
	if life.Former {
		was.record.Want = was.seen.Want
		switch {
		case was.seen.Want == state.WantUnknown:
			was.record.Want = state.WantExit // the files decide
		case strings.Contains(was.stat, "want exit"):
			was.record.Want = state.WantExit
		case was.seen.Want == state.WantDown && (was.seen.PID != 0 && !was.seen.Termed || life.Word == state.ProcMaking):
			was.record.Want = state.WantOnce
		}
	}
	if was.record.Word == state.ProcMaking || was.record.Word == state.ProcFinishing {
		pid, ticks, err := s.findMade(prefix, was.record)
		if err != nil {
			return was, err
		}
		if pid != 0 {
			was.record.PID, was.record.Ticks = pid, ticks
		}
		if was.record.PID != 0 { // else none was made; it may have ended by now
			was.record.Word = map[string]string{state.ProcMaking: state.ProcRun, state.ProcFinishing: state.ProcFinish}[was.record.Word]
		}
	}
	if was.record.Word != state.ProcRun && was.record.Word != state.ProcFinish {
		return was, nil
	}
	sight, err := proc.See(was.record)
	if err != nil {
		return was, err
	}
	was.there, was.runs, was.ppid, was.pidfd = sight.Found, sight.Found && !sight.Dead, sight.PPID, sight.PidFD
	if !was.there {
		was.pidfd = k.take(pidTag(u, was.record.PID)) // it has ended, and this can tell how
	}
	return was, nil
}

// judge says what the records of the service and its log service mean.
func (s *service) judge(all ...*priorState) error {
	at, err := s.core.here()
	if err != nil {
		return err
	}
	alive := s.takenOver
	for _, was := range all {
		if was.runs && was.trust == trustAll {
			alive = true
			s.core.lives(was.record.Tree)
		}
	}
	for i, was := range all {
		if !was.ok {
			continue
		}
		mine := was.record.Tree == at.tree && at.tree != 0 && !was.record.Former
		if !mine && !alive && was.trust == trustAll {
			if alive, err = s.core.survives(was.record.Tree); err != nil {
				return err
			}
		}
		if was.verdict = judge(was.record, was.trust, was.runs, mine, alive); !was.verdict.counts {
			was.close()
			was.ok = false
			s.clearRecord(s.units()[i].prefix)
		}
	}
	return nil
}

// initial gives a unit the standing order that the files give, before any record.
func (s *service) initial(u *unit) error {
	u.st.Want = state.WantUp
	_, err := s.dir.Stat(u.prefix + "down")
	switch {
	case err == nil:
		u.st.Want = state.WantDown
		if u.fresh {
			s.newRecord(u.prefix)
		}
	case sys.Passing(err) || errors.Is(err, unix.EIO): // who is to stay down is not begun
		return fmt.Errorf("unable to stat %sdown: %w", u.prefix, err)
	}
	u.want = u.st.Want
	return nil
}

// soon is how many clock ticks after its record a process has been made by, as
// a rule.
const soon = 100

// findMade finds the process that a killed core had made and not yet recorded
// whole. Its pid is in the record, where it could write it itself. Else it is
// looked for: one that has lost its parent, is younger than the record and,
// alive, has the service's working directory, or, dead, still has the name of its
// script. At most one process of a tree is in that state; what it has started
// itself is younger still.
func (s *service) findMade(prefix string, l state.Process) (pid int, ticks uint64, err error) {
	var dir unix.Stat_t
	if err := unix.Fstatat(s.dir.FD, strings.TrimSuffix("./"+prefix, "/"), &dir, 0); err != nil {
		return 0, 0, sys.Unless(sys.Absent, prefix, err)
	}
	script := "run"
	if l.Word == state.ProcFinishing {
		script = "finish"
	}
	parents, err := proc.Ancestors()
	if err != nil {
		return 0, 0, err
	}
	look := func(p int) error {
		st, ok, err := proc.StatOf(p)
		if err != nil {
			return err
		}
		if !ok && p == l.PID { // it wrote its pid itself, and is hidden or gone
			s, err := proc.See(l)
			if s.PidFD >= 0 {
				unix.Close(s.PidFD)
			}
			if s.Found {
				pid, ticks = p, l.Ticks
			}
			return err
		}
		if !ok || st.Ticks < l.Ticks || !parents[st.PPID] || pid != 0 && st.Ticks >= ticks {
			return nil
		}
		var cwd unix.Stat_t
		path := "/proc/" + strconv.Itoa(p) + "/cwd"
		switch {
		case l.PID != 0 && st.Ticks <= l.Ticks+soon:
		case st.State == 'Z' || st.State == 'X':
			if st.Comm != script {
				return nil
			}
		default:
			if err := unix.Stat(path, &cwd); err != nil {
				return sys.Unless(sys.Hides, path, err)
			}
			if cwd.Ino != dir.Ino || cwd.Dev != dir.Dev {
				return nil
			}
		}
		pid, ticks = p, st.Ticks
		return nil
	}
	if l.PID != 0 {
		err := look(l.PID)
		return pid, ticks, err
	}
	if ours, err := proc.IsOwn(); !ours {
		return 0, 0, err
	}
	err = eachProcess(look)
	return pid, ticks, err
}

// byteDetach is what a core writes to supervise/control to have a service from
// another whose scanner is gone. Every other supervisor ignores it.
const byteDetach machine.Event = 0x04

// lock locks the unit and says what an earlier core has left of it. A core
// that still holds it but has lost its scanner is asked to let go.
func (s *service) lock(u *unit, k stash) (was priorState, err error) {
	was.pidfd = -1
	if u.fresh, err = s.dir.MakeSupervise(u.prefix); err != nil {
		return was, err
	}
	if !u.fresh { // from here on the end of its process is not missed
		if was, err = s.earlier(u, k); err != nil {
			was.close()
			return was, err
		}
	}
	_, u.stashed = k[u.prefix+"lock"]
	l, err := s.takeLock(u.prefix, k)
	if errors.Is(err, unix.EAGAIN) && s.core.link != nil && !s.opened {
		l, err = s.waitForLock(u, err)
	}
	if err != nil {
		s.leaveRunning(&was)
		return was, err
	}
	u.lock = l
	u.rec.Place, err = s.place(u.prefix)
	if err == nil {
		_, err = s.core.here()
	}
	if err == nil && (!u.fresh || u.stashed) {
		err = s.settled(u, k, &was)
	}
	if err != nil {
		s.leaveRunning(&was)
		u.unlock(false)
		u.lock = -1
	}
	return was, err
}

// settled brings what was seen of a unit before its lock was taken up to date:
// nobody writes the record any more, and what was being made has lost its parent.
func (s *service) settled(u *unit, k stash, was *priorState) error {
	life, found, err := proc.ReadSettled(s.dir.FD, u.prefix+"supervise/proc")
	if err != nil {
		return err
	}
	making := life.Word == state.ProcMaking || life.Word == state.ProcFinishing
	if life != was.told || making {
		now, err := s.earlier(u, k)
		if err != nil {
			now.close()
			return err
		}
		if now.pidfd < 0 && now.ok && now.record.PID == was.record.PID && now.record.Ticks == was.record.Ticks {
			now.pidfd, was.pidfd = was.pidfd, -1
		}
		was.close()
		*was = now
	}
	if was.ok {
		return nil
	}
	lost := !found && (u.stashed || s.lostRecord(u.prefix))
	s.clearRecord(u.prefix)
	if lost {
		if was.record, was.ok, err = s.orphanOf(u.prefix); err != nil || !was.ok {
			return err
		}
		sight, err := proc.See(was.record)
		if was.ok = sight.Found; err != nil {
			return err
		}
		was.trust = trustAll
		was.there, was.runs, was.ppid, was.pidfd = sight.Found, sight.Found && !sight.Dead, sight.PPID, sight.PidFD
	}
	return nil
}

// lostRecord says whether an earlier core may have been unable to write a record: it
// has come as far as to make the FIFOs, and has written nothing, as where the disk was
// full from the first start.
func (s *service) lostRecord(prefix string) bool {
	if st, err := s.dir.Stat(prefix + "supervise/status"); err == nil && st.Size == state.StatusSize {
		return false
	}
	st, err := s.dir.Stat(prefix + "supervise/proc")
	return (err != nil || st.Size < state.ProcSize) && s.dir.Has(prefix+"supervise/ok")
}

// orphanOf looks for the process of a unit whose record was lost: among those that have
// lost their parent the eldest with the unit's working directory.
func (s *service) orphanOf(prefix string) (l state.Process, ok bool, err error) {
	st, err := s.dir.Stat(strings.TrimSuffix("./"+prefix, "/"))
	if err != nil {
		return l, false, sys.Unless(sys.Absent, "./"+prefix, err)
	}
	all, err := s.core.findOrphans()
	if err != nil {
		return l, false, err
	}
	l, ok = all[[2]uint64{uint64(st.Dev), st.Ino}]
	l.Want = state.WantExit // its order is not known: the files decide
	return l, ok, nil
}

// findOrphans are the processes, by their working directories, that may be an earlier
// core's children. It looks once in the life of a core, when there is reason.
func (c *Core) findOrphans() (map[[2]uint64]state.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.orphans != nil {
		return c.orphans, nil
	}
	all := map[[2]uint64]state.Process{}
	parents, err := proc.Ancestors()
	if err != nil {
		return nil, err
	}
	if ours, err := proc.IsOwn(); !ours {
		return all, err
	}
	err = eachProcess(func(pid int) error {
		st, found, err := proc.StatOf(pid)
		if err != nil || !found || !parents[st.PPID] || st.State == 'Z' {
			return err
		}
		var cwd unix.Stat_t
		path := "/proc/" + strconv.Itoa(pid) + "/cwd"
		if err := unix.Stat(path, &cwd); err != nil {
			return sys.Unless(sys.Hides, path, err)
		}
		at := [2]uint64{uint64(cwd.Dev), cwd.Ino}
		if known, ok := all[at]; !ok || st.Ticks < known.Ticks {
			all[at] = state.Process{Word: state.ProcRun, PID: pid, Ticks: st.Ticks}
		}
		return nil
	})
	if err == nil {
		c.orphans = all
	}
	return all, err
}

// eachProcess calls look for each process that /proc shows, but for this one.
func eachProcess(look func(pid int) error) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return sys.Unless(sys.Hides, "/proc", err)
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() {
			if err := look(pid); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitForLock asks the core that holds a lock to let go, and waits a while.
func (s *service) waitForLock(u *unit, refused error) (l int, err error) {
	begun := time.Now()
	patience := 100 * time.Millisecond // it may be letting go already
	if s.askFor(u.prefix) {
		patience = 3 * time.Second
	}
	u.fresh = false
	s.yield() // others may come in meanwhile
	wait, ask := 2*time.Millisecond, 4*time.Millisecond
	l, err = -1, refused
	for deadline := begun.Add(patience); errors.Is(err, unix.EAGAIN) && time.Now().Before(deadline); {
		if time.Since(begun) > ask && !s.core.isOrphaned() { // it may not have known yet that its scanner is gone
			s.askFor(u.prefix)
			ask *= 2
		}
		// A log service that is told to end by the end of its pipe shall see it.
		if life, ok, err := proc.Read(s.dir.FD, u.prefix+"supervise/proc"); ok && err == nil && life.Want == state.WantExit {
			s.held.close()
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
		l, err = s.dir.Lock(u.prefix)
	}
	if err != nil {
		return -1, err
	}
	// What has been stopped meanwhile is not begun again for a scanner that
	// has gone; what was let go of is taken over.
	left := s.dir.Has(u.prefix + "supervise/proc")
	if s.core.isOrphaned() && !left {
		unix.Close(l)
		return -1, refused
	}
	s.takenOver = s.takenOver || left
	return l, nil
}

// takeLock takes the unit's lock. The earlier core's is given up first, by the
// descriptor that the scanner has kept of it: that core may be killed and not quite
// gone, if one of its threads waits for a disk.
func (s *service) takeLock(prefix string, k stash) (int, error) {
	if fd := k.take(prefix + "lock"); fd >= 0 {
		unix.Flock(fd, unix.LOCK_UN)
		unix.Close(fd)
	}
	return s.dir.Lock(prefix)
}

// clearRecord makes a record that tells nothing in place of what is there.
func (s *service) clearRecord(prefix string) {
	if !s.newRecord(prefix) {
		unix.Unlinkat(s.dir.FD, prefix+"supervise/proc", 0)
		s.newRecord(prefix)
	}
}

// newRecord makes the record, if there is none, before it is needed: blank, so
// that it tells nothing and has room on the disk. (In a directory that was made
// for it that is done when there is something to tell.) What the status file tells
// of an earlier life must not be taken for this one's.
func (s *service) newRecord(prefix string) bool {
	fd, err := sys.Open(s.dir.FD, prefix+"supervise/proc", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return false
	}
	unix.Write(fd, []byte(state.Blank))
	unix.Close(fd)
	unix.Unlinkat(s.dir.FD, prefix+"supervise/status", 0)
	return true
}

// askFor asks the core that holds the lock to let go; log services go with
// their service.
func (s *service) askFor(prefix string) bool {
	fd, err := sys.Open(s.dir.FD, prefix+"supervise/control", unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte{byte(byteDetach)})
	return err == nil
}

// hasLog says whether there is a log directory. The error is a warning.
func (s *service) hasLog() (bool, error) {
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
	if !s.core.take(self.NeedLog) {
		return was, self.ErrShortage
	}
	s.taken += self.NeedLog
	u := &unit{svc: s, prefix: "log/", control: -1, ok: -1, lock: -1, pidfd: -1, since: time.Now(), st: machine.Status{Log: true}}
	if was, err = s.lock(u, k); err != nil {
		s.core.give(self.NeedLog)
		s.taken -= self.NeedLog
		return was, err
	}
	s.log = u
	return was, s.initial(u)
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
		was, err = s.openLog(nil)
		was.close()
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
	s.resume(s.log)
}

func (s *service) newPipe() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("unable to create log pipe: %w", err)
	}
	s.pipe, s.piped = [2]int{p[0], sys.Lasting(p[1])}, true
	return nil
}

func (s *service) closePipe() {
	if s.piped {
		s.core.awaitStash(s)
		unix.Close(s.pipe[1])
		unix.Close(s.pipe[0])
		s.piped = false
	}
}

// holdPipes holds the pipes of the service and of its log service open, as far
// as an earlier core's processes have them: a log service that saw the end of
// its pipe would end.
func (s *service) holdPipes() (stash, error) {
	k := stash{}
	hold := func(prefix, fd string) error {
		l, ok, err := proc.Read(s.dir.FD, prefix+"supervise/proc")
		if err != nil || !ok || l.PID == 0 || l.Want == state.WantExit { // that one is to see it
			return err
		}
		w, err := openPipe(l, fd)
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
func openPipe(l state.Process, fd string) (int, error) {
	if ours, err := proc.IsOwn(); !ours {
		return -1, err
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
	if was.there && was.record.Pipe != 0 { // else, or where it is another, ./run has turned elsewhere
		w, err = openPipe(was.record, "1")
	}
	if w < 0 && err == nil {
		w = k.take("pipe")
	}
	if w < 0 && err == nil && wasLog.there {
		w, err = openPipe(wasLog.record, "0")
	}
	if err != nil {
		return err
	}
	if w >= 0 {
		r, err := sys.ReopenPipe("/proc/self/fd/"+strconv.Itoa(w), unix.O_RDONLY)
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

// sameFile says whether a kept descriptor is still what the name leads to.
func (s *service) sameFile(fd int, name string) (bool, error) {
	if fd < 0 {
		return false, nil
	}
	var a unix.Stat_t
	err := unix.Fstat(fd, &a)
	if err != nil {
		return false, fmt.Errorf("unable to stat %s: %w", name, err)
	}
	b, err := s.dir.Stat(name)
	if err != nil {
		return false, sys.Unless(sys.Absent, name, err)
	}
	return a.Ino == b.Ino && a.Dev == b.Dev, nil
}

// control opens the unit's command FIFO, or takes the kept one, in which
// commands may wait.
func (s *service) control(u *unit, kept int) error {
	name := u.prefix + "supervise/control"
	same, err := s.sameFile(kept, name)
	if err != nil {
		unix.Close(kept)
		return err
	}
	if same {
		u.control = kept
	} else {
		if kept >= 0 {
			unix.Close(kept)
		}
		if err := s.dir.MakeFIFO(name); err != nil {
			return err
		}
		fd, err := s.dir.OpenFIFO(name, unix.O_RDWR, "open")
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
	same, err := s.sameFile(kept, name)
	if same {
		u.ok = kept
		return nil
	}
	if err != nil {
		unix.Close(kept)
		return err
	}
	if kept >= 0 {
		unix.Close(kept)
	}
	return s.dir.MakeFIFO(name)
}

// openOK has the FIFO answer: from here on the files beside it are valid.
func (s *service) openOK(u *unit) (err error) {
	if u.ok < 0 {
		u.ok, err = s.dir.OpenFIFO(u.prefix+"supervise/ok", unix.O_RDONLY, "read")
		if err == nil { // nothing is ever written to it: the room for 16 pages is given back
			unix.FcntlInt(uintptr(u.ok), unix.F_SETPIPE_SZ, os.Getpagesize())
		}
	}
	return err
}

// restore gives the unit the standing order, the times and the process that an
// earlier core has left.
func (s *service) restore(u *unit, was *priorState) {
	if !was.ok {
		return
	}
	if !was.seen.Since.IsZero() {
		w := &u.written // and only what is not right any more is written again
		if w.pid, _ = strconv.Atoi(strings.TrimSpace(was.pid)); w.pid == was.seen.PID {
			w.stat, w.status, w.any = was.stat, [state.StatusSize]byte(was.state), true
		}
		u.since = was.seen.Since
	}
	if was.verdict.order { // an order counts beyond a kill
		u.st.Want = was.record.Want
	}
	u.want = u.st.Want
	now := s.core.sign(u, was.record)
	now.Core = was.told.Core
	if u.rec, u.recorded = now, now == was.told && !was.unwritten; !u.recorded { // it was another tree's, or was found while it was being made
		s.record(u, now)
	}
	u.began = time.Now().Add(-max(0, time.Since(u.since)))
	u.ws = was.record.Status
	switch was.record.Word {
	case state.ProcMaking: // no process came of it
		u.began = time.Time{} // it has rested
		u.making = true
		return
	case state.ProcDown:
		return
	case state.ProcEnded, state.ProcFinishing:
		u.st, _ = machine.Step(u.st, machine.FoundRun) // its end is told in resume
		return
	}
	r, ev := isRun, machine.FoundRun
	if was.record.Word == state.ProcFinish {
		r, ev = isFinish, machine.FoundFinish
	}
	if !was.there && was.pidfd < 0 {
		u.st, _ = machine.Step(u.st, ev)
		u.ws = statusUnknown
		if r == isFinish {
			u.ws = was.record.Status
		}
		return
	}
	p := s.core.procs.adopt(was.record.PID, was.pidfd, u, r)
	if p == nil { // it is another's
		return
	}
	u.st, _ = machine.Step(u.st, ev)
	u.pid, u.pidfd = p.pid, p.pidfd
	was.pidfd, was.there = -1, false
	u.replaced = was.verdict.stop
	u.foreign = was.ppid != os.Getppid()
	if was.seen.PID == u.pid {
		u.st.Paused, u.st.Termed = was.seen.Paused, was.seen.Termed
	} else {
		u.since, u.began = time.Now(), time.Now()
	}
	if u.pidfd < 0 || s.core.watchFD(u.pidfd, watch{unit: u, proc: p}, unix.EPOLLIN|unix.EPOLLET) != nil {
		s.core.lookAfter(p, was.record)
	}
}

// lookAfter looks once a second after an adopted process that no pidfd tells the end
// of, as long as nobody else does.
func (c *Core) lookAfter(p *process, l state.Process) {
	time.AfterFunc(lookTime, func() {
		if !c.procs.awaited(p) {
			return
		}
		sight, err := proc.See(l)
		if sight.PidFD >= 0 {
			unix.Close(sight.PidFD)
		}
		// A corpse is left for a while to the scanner or whoever knows how it has ended.
		if err == nil && !sight.Found {
			c.procs.ended(p, statusUnknown)
			return
		}
		c.lookAfter(p, l)
	})
}

// lookTime is how often that is.
const lookTime = time.Second

// resume goes on with a unit as restore has left it.
func (s *service) resume(u *unit) {
	if u.pid == 0 && u.st.Phase != machine.Idle { // its end is told
		switch {
		case u.st.Phase == machine.Finishing:
			s.ended(u, isFinish, u.ws)
		case !u.st.Log && s.ending():
			u.pid = u.written.pid
			s.feed(u, machine.Held)
		default:
			s.ended(u, isRun, u.ws)
		}
		return
	}
	s.feed(u, s.found(u))
}

// found is the event that tells what restore has left of a unit.
func (s *service) found(u *unit) machine.Event {
	switch {
	case u.st.Phase != machine.Idle && u.replaced:
		return machine.FoundOther
	case u.st.Phase != machine.Idle && !u.st.Log && s.ending():
		return machine.Scripted
	case u.st.Phase != machine.Idle:
		return machine.Resumed
	case !u.st.Log && s.waits:
		return machine.BeginUnready
	case u.making:
		return machine.FoundMaking
	case !u.began.IsZero() && time.Since(u.began) < time.Second:
		return machine.BeginSoon // the rest is still due
	}
	return machine.Begin
}

// seen tells the scanner that it may collect a process that it has inherited.
func (c *Core) seen(pid int) {
	if c.link != nil {
		c.report(wire.Message{Word: "seen", Arg: strconv.Itoa(pid), Arg2: "0"})
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
			st, there, serr := proc.StatOf(w.proc.pid)
			switch {
			case known: // its parent has collected it
				c.procs.ended(w.proc, ws)
				return
			case serr != nil:
			case there && c.scannerHas(st):
				pause = min(2*pause, 5*time.Second)
			case there && st.State == 'Z' && (st.Status != 0 || os.Geteuid() == 0): // who may not know it is told 0
				c.procs.ended(w.proc, st.Status)
				return
			case err != nil && (there || c.link == nil || c.isOrphaned()), time.Since(begin) > time.Second:
				// A kernel before 6.15, where the scanner, if it may be the parent without our
				// seeing that, has a moment; or a parent that does not care.
				c.procs.ended(w.proc, statusUnknown)
				return
			}
		}
	}()
}

// scannerHas says whether a process is a child of the scanner, which will tell
// how it has ended.
func (c *Core) scannerHas(st proc.Stat) bool {
	return c.link != nil && st.PPID == os.Getppid() && !c.isOrphaned()
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

// unlock gives the unit's lock up, where it has it. One that another core is to take
// over from the scanner is only closed.
func (u *unit) unlock(handOver bool) {
	if u.lock >= 0 {
		if !handOver {
			unix.Flock(u.lock, unix.LOCK_UN)
		}
		unix.Close(u.lock)
		u.lock = -1
	}
}
