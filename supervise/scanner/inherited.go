package scanner

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
)

// inherited is what the scanner has done about the ends of processes that an
// earlier core has left to it. The core is told of each, and each is collected
// when that has recorded it, so that no kill loses it. The kernel tells of the
// first corpse only; so that a service that is slow to record (by its disk) does
// not hide the ends of others, those behind it are looked for.
type inherited struct {
	told     map[int]bool // the core knows, and has not recorded yet
	patience *time.Timer  // until others are looked for behind the first
	behind   bool         // they are, whenever one ends
}

// reap collects children. The core's own end is acted on.
func (s *Scanner) reap() {
	if s.command.starting { // its end may be among them, by a number that is not known yet
		return
	}
	s.collectCommand()
	if s.core != 0 {
		var ws unix.WaitStatus
		if pid, err := unix.Wait4(s.core, &ws, unix.WNOHANG, nil); err == nil && pid == s.core {
			s.coreDied(ws)
		}
	}
	for {
		var use proc.Usage
		pid, ws, ok := proc.PeekDead(unix.WNOHANG, &use)
		switch {
		case !ok:
			return
		case pid == s.core:
			unix.Wait4(pid, &ws, unix.WNOHANG, nil)
			s.coreDied(ws)
		case pid == s.command.pid:
			s.collectCommand()
		case s.coreWatch.lost[pid]:
			s.collectLost(pid)
		case s.behind:
			s.lookBehind()
			return
		case s.told[pid] || !s.tellEnd(pid, ws, use):
			return
		}
	}
}

// lookBehind tells the core of all ends that it has not been told of.
func (s *Scanner) lookBehind() {
	s.behind = true
	for _, pid := range proc.Children() {
		if pid == s.core || pid == s.command.pid || s.told[pid] {
			continue
		}
		if s.coreWatch.lost[pid] {
			s.collectLost(pid)
			continue
		}
		var use proc.Usage
		if ws, ended := proc.PeekChild(pid, &use); ended && !s.tellEnd(pid, ws, use) {
			return
		}
	}
}

// tellEnd tells the core of an end, and of what the process has used, and says whether
// there is a core to be told: else the next one will want to know.
func (s *Scanner) tellEnd(pid int, ws unix.WaitStatus, use proc.Usage) bool {
	if s.link == nil || s.tell("died", strconv.Itoa(pid), strconv.Itoa(int(ws)), use.String()) != nil {
		return false
	}
	if s.told == nil {
		s.told = map[int]bool{}
	}
	s.told[pid] = true
	if s.patience == nil && !s.behind {
		s.patience = time.NewTimer(proc.GraceTime)
	}
	return true
}

// recorded collects a process whose end the core has recorded.
func (s *Scanner) recorded(pid int) {
	if !s.told[pid] {
		return
	}
	unix.Wait4(pid, nil, unix.WNOHANG, nil)
	delete(s.told, pid)
	if len(s.told) == 0 {
		s.patience, s.behind = nil, false
		s.reap()
	}
}
