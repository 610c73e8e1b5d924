package core

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// noteEnd writes the end of ./run into supervise/history, for who asks what has happened.
// Where it cannot be written nothing is lost but that.
func (s *service) noteEnd(u *unit, ws unix.WaitStatus) {
	now := time.Now()
	if u.ends == 0 {
		b, _ := sys.Slurp(s.dir.FD, u.prefix+"supervise/history", state.EndedMost*state.EndedSize)
		u.ends = int8(1 + state.NextEnded(b))
	}
	fd, err := sys.Open(s.dir.FD, u.prefix+"supervise/history", unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	line := state.Ended{At: now, Lived: max(0, now.Sub(u.began)), Status: ws}.Bytes()
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
