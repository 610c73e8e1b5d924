package core

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// noteEnd takes note of the end of ./run, for who asks what has happened. It is written
// before the status that follows it, which is when the next process has been made where
// there is one at once; and at once where it says whether the service is given up.
func (s *service) noteEnd(u *unit, ws unix.WaitStatus) {
	u.writeEnd()
	now := time.Now()
	u.ended = &state.Ended{At: now, Lived: max(0, now.Sub(u.began)), Status: ws}
	if u.policy != nil && u.policy.GiveUpAfter > 0 {
		u.writeEnd()
	}
}

// writeEnd writes what noteEnd has taken note of into supervise/history. Where it cannot
// be written nothing is lost but that.
func (u *unit) writeEnd() {
	if u.ended == nil {
		return
	}
	line := u.ended.Bytes()
	u.ended = nil
	fd, err := sys.Open(u.svc.dir.FD, u.prefix+"supervise/history", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if u.ends == 0 {
		b := make([]byte, state.EndedMost*state.EndedSize)
		n, _ := unix.Pread(fd, b, 0)
		u.ends = int8(1 + state.NextEnded(b[:max(n, 0)]))
	}
	if n, _ := unix.Pwrite(fd, line[:], int64(u.ends-1)*state.EndedSize); n == len(line) {
		u.ends = u.ends%state.EndedMost + 1
	}
}

// restoreDeaths has the ends count that an earlier core has noted, where the service says
// that some number of them is too many. One that is not acted on yet, as the word of the
// record tells, will be counted then.
func (s *service) restoreDeaths(u *unit, word string) {
	if u.policy == nil || u.policy.GiveUpAfter == 0 {
		return
	}
	b, err := sys.Slurp(s.dir.FD, u.prefix+"supervise/history", state.EndedMost*state.EndedSize)
	if err != nil {
		return
	}
	for _, e := range state.ParseHistory(b) {
		if time.Since(e.At) <= u.policy.GiveUpWithin {
			u.deaths.times = append(u.deaths.times, e.At)
		}
	}
	pending := word == state.ProcEnded || word == state.ProcFinishing || word == state.ProcFinish
	if n := len(u.deaths.times); pending && n > 0 {
		u.deaths.times = u.deaths.times[:n-1]
	}
}
