package core

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// open takes the service: its locks, then its files, main before log at each
// step, `ok` last, so that where it answers the others are valid. What an
// earlier core was killed over is taken up where it was left: kept are the
// descriptors that the scanner has held meanwhile.
func (s *service) open(k stash) error {
	defer k.close()
	has := s.readPolicy(&s.main)
	if err := s.makeRoom(&s.main); err != nil {
		return err
	}
	if err := s.locate(""); err != nil {
		return err
	}
	hasLog, logErr := s.hasLog()
	if servicedir.Transient(logErr) {
		return logErr
	}
	if hasLog {
		if err := s.locate("log/"); err != nil {
			return err
		}
	}
	if _, holds := k["pipe"]; hasLog && !holds { // before another core lets go of them
		held, err := s.holdPipes()
		defer held.close()
		if err != nil {
			return err
		}
		s.held = held
	}
	s.holdSaid(k)
	was, wasLog := priorState{pidfd: -1}, priorState{pidfd: -1}
	defer s.leaveRunning(&was)
	defer s.leaveRunning(&wasLog)
	if err := s.lockUnits(k, &was, &wasLog, has, hasLog, logErr); err != nil {
		return err
	}
	if err := s.restoreUnits(k, &was, &wasLog); err != nil {
		return err
	}
	if err := s.openCatch(); err != nil {
		return err
	}
	for _, u := range s.units() {
		s.restoreNotify(u, k)
		s.restoreTalk(u, k)
		if err := s.control(u, k.take(u.prefix+"control")); err != nil {
			return err
		}
		if err := s.makeOK(u, k.take(u.prefix+"ok")); err != nil {
			return err
		}
		s.grantAccess(u)
	}
	s.opened = true
	switch {
	case s.piped && s.renewed: // what is started from here on has it
		s.core.stashNow(s)
	case !s.isKept():
		s.core.stashSoon(s)
	}
	s.kept = ""
	return nil
}

// isKept says whether the scanner has all that it is to keep of the service, from an earlier
// core. What hands on lines is not asked: it may be another by the same tag.
func (s *service) isKept() bool {
	if s.renewed || s.relocked || s.said != nil {
		return false
	}
	tags, _ := s.toKeep()
	return strings.Join(tags, ",") == s.kept
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
		u.writeEnd()
		if u.rest != nil {
			u.rest.Stop()
		}
		u.stopDeadline()
		u.dropNotify()
		if u.talk != nil && !s.detached && s.opened {
			s.removeTalk(u)
		} else {
			s.hear(u)
		}
		u.dropTalk()
		if u.pidfd >= 0 {
			s.core.poller.close(u.pidfd)
		}
		if u.control >= 0 {
			s.core.unguard(u)
			s.core.poller.close(u.control)
		}
		if (s.opened || s.fresh && u.lock >= 0) && !s.detached {
			unix.Unlinkat(s.at(u.prefix), u.prefix+"supervise/proc", 0)
		}
	}
	for i := range s.lanes {
		if fd := s.lanes[i].pidfd; fd > 0 {
			s.core.poller.close(fd)
		}
	}
	s.closePipe()
	s.closeSaid()
	if !s.detached { // else another core does the same, and what is still here goes there, too
		s.leaveCatch()
	}
	s.closeCatch()
	// The scanner hands the lock over. One that has gone may not be quite gone, if
	// one of its threads hangs, and has the descriptor still.
	handOver := s.detached && !s.core.isOrphaned()
	for _, u := range slices.Backward(units) { // who gets the first lock gets all
		u.unlock(handOver || !s.opened && u.stashed) // what could not be opened keeps the scanner's
	}
	for _, u := range units { // who has waited for the end finds the locks free
		if u.ok >= 0 {
			unix.Close(u.ok)
		}
	}
	unix.Close(s.dir.FD)
	if s.dir.State != 0 {
		unix.Close(s.dir.State)
	}
}

// lockUnits takes the locks of the service and of its log service, and what the files
// say of their orders.
func (s *service) lockUnits(k stash, was, wasLog *priorState, has policy.Names, hasLog bool, logErr error) (err error) {
	if *was, err = s.lock(&s.main, k, has); err != nil {
		if errors.Is(err, unix.EACCES) {
			if err := s.dir.Enter(); err != nil {
				return err
			}
		}
		return err
	}
	if err := s.initial(&s.main, has); err != nil {
		return err
	}
	s.main.since = time.Now()
	s.looked = true
	switch {
	case logErr != nil:
		s.warnOfLog(logErr)
	case hasLog:
		*wasLog, err = s.openLog(k)
	}
	return err
}

// restoreUnits takes up what an earlier core has left of the service and of its log
// service.
func (s *service) restoreUnits(k stash, was, wasLog *priorState) error {
	if err := s.judge(was, wasLog); err != nil {
		return err
	}
	if kept, ok := k["pipe"]; ok && was.record.Pipe != 0 {
		was.keptPipe = inode(true, kept) == was.record.Pipe
	}
	if err := s.findSaid(k, was); err != nil {
		return err
	}
	if err := s.findPipe(k, *was, *wasLog); err != nil {
		return err
	}
	for _, r := range []*priorState{was, wasLog} {
		if err := s.core.rescueLog(r, s.said); err != nil {
			return err
		}
	}
	var hooks []leftHook
	if was.ok {
		var err error
		if hooks, err = s.leftHooks(); err != nil {
			return err
		}
	}
	s.restore(&s.main, was)
	s.restoreHooks(hooks)
	if s.log != nil {
		s.restore(s.log, wasLog)
		if s.log.st.Want == state.WantExit && s.main.st.Want != state.WantExit { // it stays after all
			s.log.st.Want = state.WantUp
		}
	}
	return nil
}

// publish has others see the service: its status files, and then that they are
// kept. It waits for the first process, where there is to be one at once, so
// that what is started is written once and not first as down.
func (s *service) publish() {
	soon := s.main.st.Phase == machine.Starting && !s.lanes[laneUp].busy // control/u may take its time
	soon = soon || s.main.st.Phase == machine.Waiting
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

// showWaiting has others see a service that waits for others, or did.
func (s *service) showWaiting() {
	if !s.published {
		s.show()
	}
}

// show is what publish has done.
func (s *service) show() {
	s.published = true
	units := s.units()
	for _, u := range units {
		u.write()
	}
	if !s.renewed { // the scanner has had all but the locks, which go to it soon
		return
	}
	s.core.awaitStash(s) // commands come from here on
	for _, u := range units {
		switch err := s.openOK(u); {
		case err == nil:
		case servicedir.Transient(err): // what runs is not ended for that
			s.warn(fmt.Errorf("%w; trying again.", err))
			s.repairLater()
		default:
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

// initial gives a unit the standing order that the files give, before any record.
func (s *service) initial(u *unit, has policy.Names) error {
	u.st.Want = state.WantUp
	if has.Known && !has.Down {
		u.want = u.st.Want
		return nil
	}
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
		s.renewed = true
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
	if err := s.core.poller.watch(u.control, watch{unit: u}, unix.EPOLLIN|unix.EPOLLET); err != nil {
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
	s.renewed = true
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
