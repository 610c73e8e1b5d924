package core

import (
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/wire"
)

// isEssential says whether the tree may end with the unit.
func (u *unit) isEssential() bool { return u.policy != nil && u.policy.Essential != policy.EndsAlone }

// tellOver has the tree stopped when an essential service has ended for good. Who is told
// so twice, by a core and by the one that follows it, acts on it once.
func (s *service) tellOver(u *unit) {
	if u != &s.main || !u.isEssential() || !u.hasEnded || s.core.link == nil {
		return
	}
	if code := exitCode(u.ws); u.policy.Essential.Holds(code) {
		s.core.report(wire.Message{Word: "over", Arg: strconv.Itoa(code), Arg2: "0", Name: s.name})
	}
}

// exitCode is a wait status as a shell tells it; 111 where nobody knows the end.
func exitCode(ws unix.WaitStatus) int {
	if ws == statusUnknown {
		return 111
	}
	return proc.ExitCode(ws)
}

// restoreOver takes note of the end of an essential service that an earlier core has
// recorded, and perhaps not told.
func (u *unit) restoreOver(l state.Process) {
	u.hasEnded = l.Ticks != 0
	u.ws = l.Status
}
