package core

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// noteEnd takes note of the end of ./run, for who asks what has happened. It is written
// before the status that follows it, which is when the next process has been made where
// there is one at once; and at once where it says whether the service is given up. The
// process is nil where none was made.
func (s *service) noteEnd(u *unit, ws unix.WaitStatus, p *process) {
	u.writeEnd()
	e := s.lifeSoFar(u)
	u.wasTold, u.tooLate = u.st.Termed && !u.tooLate, false
	e.Status, e.Ready, e.Told = ws, u.readied, u.wasTold
	if p != nil && p.use.Known {
		e.Memory, e.CPU = p.use.Memory, p.use.CPU
	}
	u.oomKnown = false
	if wasKilled(ws) {
		e.OOM, u.oomKnown = u.killedInGroup()
	}
	u.ended, u.readied = &e, 0
	if u.policy != nil && u.policy.GiveUpAfter > 0 {
		u.writeEnd()
	}
}

// writeEnd writes what noteEnd has taken note of into supervise/history. Where it cannot
// be written nothing is lost but that.
func (u *unit) writeEnd() {
	e := u.ended
	if e == nil {
		return
	}
	u.ended = nil
	if wasKilled(e.Status) {
		rose := u.svc.core.oom.rose() // what is killed in a unit's own cgroup counts there, too
		e.OOM = e.OOM || rose && !u.oomKnown
	}
	if u.svc.writeLife(u, *e) {
		u.ends = u.ends%u.remembered() + 1
	}
}

// wasKilled says whether a process was killed, or what it waited for.
func wasKilled(ws unix.WaitStatus) bool {
	return ws.Signal() == unix.SIGKILL || ws.ExitStatus() == 128+int(unix.SIGKILL)
}

// noteReady writes that ./run is ready, in the place of its end.
func (s *service) noteReady(u *unit) {
	u.writeEnd()
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
	fd, err := sys.Open(s.at(u.prefix), u.prefix+"supervise/history", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if u.ends == 0 {
		u.ends = nextEnd(fd, int(u.remembered()))
	}
	line := e.Bytes()
	n, _ := unix.Pwrite(fd, line[:], int64(u.ends-1)*state.EndedSize)
	return n == len(line)
}

// nextEnd finds which line of supervise/history, which is open, is the next, counted from 1.
// Of one that has more lines than are to be remembered the oldest go.
func nextEnd(fd, most int) int16 {
	b, _ := proc.HistoryIn(fd)
	if len(b) > most*state.EndedSize {
		all := state.ParseHistory(b)
		b = nil
		for _, e := range all[max(0, len(all)-most):] {
			line := e.Bytes()
			b = append(b, line[:]...)
		}
		unix.Pwrite(fd, b, 0)
		unix.Ftruncate(fd, int64(len(b)))
	}
	return int16(1 + state.NextEnded(b, most))
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
	o.file = proc.OOMFile()
	n, _ := proc.OOMKills(o.file)
	o.last.Store(int64(n))
}

// rose says whether it has killed any since it was last asked.
func (o *oomCounter) rose() bool {
	n, _ := proc.OOMKills(o.file)
	return o.last.Swap(int64(n)) < int64(n)
}

// restoreHistory has the ends count that an earlier core has noted, where the service says
// that some number of them is too many, or how long it is to rest. One that is not acted on
// yet, as the word of the record tells, will be counted then. When what runs was ready is told
// with its end.
func (s *service) restoreHistory(u *unit, word string) {
	r := u.rules()
	count := r.GiveUpAfter != 0 || r.BackoffMax != 0
	if !count && u.ready != state.IsReady {
		return
	}
	b, err := proc.History(s.at(u.prefix), u.prefix+"supervise/history")
	if err != nil {
		return
	}
	var ends []machine.End
	for _, e := range state.ParseHistory(b) {
		switch {
		case e.Runs && u.ready == state.IsReady:
			u.readied = e.Ready
		case !e.Runs && count:
			ends = append(ends, machine.End{At: e.At, Lived: e.Lived, Told: e.Told})
		}
	}
	pending := word == state.ProcEnded || word == state.ProcFinishing || word == state.ProcFinish
	if n := len(ends); pending && n > 0 {
		u.wasTold = ends[n-1].Told
		ends = ends[:n-1]
	}
	for _, e := range ends {
		u.deaths.After(machine.Status{}, e, r)
	}
}
