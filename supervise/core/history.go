package core

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// noteEnd writes the end of ./run into supervise/history, for who asks what has happened.
// Where it cannot be written nothing is lost but that. The process is nil where none was
// made.
func (s *service) noteEnd(u *unit, ws unix.WaitStatus, p *process) {
	e := s.lifeSoFar(u)
	e.Status, e.Ready, e.Told = ws, u.readied, u.st.Termed
	if p != nil && p.use.Known {
		e.Memory, e.CPU = p.use.Memory, p.use.CPU
	}
	if killed := ws.Signal() == unix.SIGKILL || ws.ExitStatus() == 128+int(unix.SIGKILL); killed {
		e.OOM = s.core.oom.rose()
	}
	if s.writeLife(u, e) {
		u.ends = u.ends%max(u.remembered(), u.ends) + 1
	}
	u.readied = 0
}

// noteReady writes that ./run is ready, in the place of its end.
func (s *service) noteReady(u *unit) {
	e := s.lifeSoFar(u)
	u.readied = max(1, e.Lived)
	e.Runs, e.Ready = true, u.readied
	s.writeLife(u, e)
}

// lifeSoFar is the present life of ./run, as it is told if something happens now.
func (s *service) lifeSoFar(u *unit) state.Ended {
	now := time.Now()
	return state.Ended{At: now, Lived: max(0, now.Sub(u.began)), Monotonic: s.core.monotonic.at(now)}
}

// writeLife writes a line of supervise/history, and says whether it could.
func (s *service) writeLife(u *unit, e state.Ended) bool {
	if u.ends == 0 {
		s.readHistory(u)
	}
	fd, err := sys.Open(s.dir.FD, u.prefix+"supervise/history", unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	line := e.Bytes()
	n, _ := unix.Pwrite(fd, line[:], int64(u.ends-1)*state.EndedSize)
	return n == len(line)
}

// readHistory finds which line of supervise/history is the next. One that has more lines
// than are to be remembered is written anew.
func (s *service) readHistory(u *unit) {
	b, _ := proc.History(s.dir.FD, u.prefix+"supervise/history")
	most := int(u.remembered())
	if all := state.ParseHistory(b); len(b) > most*state.EndedSize {
		b = nil
		for _, e := range all[max(0, len(all)-most):] {
			line := e.Bytes()
			b = append(b, line[:]...)
		}
		if fd, err := sys.Open(s.dir.FD, u.prefix+"supervise/history", unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
			unix.Write(fd, b)
			unix.Close(fd)
		}
	}
	u.ends = int16(1 + state.NextEnded(b, most))
}

// remembered is how many ends of the unit are.
func (u *unit) remembered() int16 {
	if u.policy != nil {
		return int16(u.policy.Deaths)
	}
	return state.EndedMost
}

// monotonic tells the monotonic clock of any moment, without a system call.
type monotonic struct {
	begin time.Time
	then  time.Duration // what the clock showed
}

func (m *monotonic) start() {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	m.begin, m.then = time.Now(), time.Duration(now.Nano())
}

func (m *monotonic) at(t time.Time) time.Duration { return m.then + t.Sub(m.begin) }

// oomCounter tells whether the kernel has killed processes for lack of memory, in the
// memory cgroup of this process and those below it.
type oomCounter struct {
	file string // where the kernel counts them
	last atomic.Int64
}

// open begins to count.
func (o *oomCounter) open() {
	o.file = proc.OOMFile("self")
	o.last.Store(int64(proc.OOMKills(o.file)))
}

// rose says whether it has killed any since it was last asked.
func (o *oomCounter) rose() bool {
	n := int64(proc.OOMKills(o.file))
	return o.last.Swap(n) < n
}

// restoreHistory has the ends count that an earlier core has noted, where the service says
// that some number of them is too many. One that is not acted on yet, as the word of the
// record tells, will be counted then. When what runs was ready is told with its end.
func (s *service) restoreHistory(u *unit, word string) {
	count := u.policy != nil && u.policy.GiveUpAfter != 0
	if !count && u.ready != state.IsReady {
		return
	}
	b, err := proc.History(s.dir.FD, u.prefix+"supervise/history")
	if err != nil {
		return
	}
	for _, e := range state.ParseHistory(b) {
		switch {
		case e.Runs && u.ready == state.IsReady:
			u.readied = e.Ready
		case !e.Runs && count && time.Since(e.At) <= u.policy.GiveUpWithin:
			u.deaths.times = append(u.deaths.times, e.At)
		}
	}
	pending := word == state.ProcEnded || word == state.ProcFinishing || word == state.ProcFinish
	if n := len(u.deaths.times); pending && n > 0 {
		u.deaths.times = u.deaths.times[:n-1]
	}
}
