package scanner

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/wire"
)

// A core that is killed while one of its threads waits in the kernel, for a disk
// that does not answer, is not gone: wait4(2) does not tell of it, its descriptors
// stay open, and its children stay its own, until the disk answers. But it does
// nothing any more, and that can be seen by a thread that touches no disk: the one
// of its main goroutine, which it tells the scanner of.

// coreWatch is the thread of the core by which the scanner sees its end.
type coreWatch struct {
	tid   int
	ended chan int     // tid
	blind bool         // the kernel does not tell (before Linux 6.9): it is looked for
	grace *time.Timer  // until the rest of the core is given up
	lost  map[int]bool // cores that were given up, and may be collected some time
}

// coreGrace is how long the other threads of a core may take to end.
const coreGrace = 100 * time.Millisecond

// watch has the scanner told when the core's thread has ended.
func (s *Scanner) watch(tid int) {
	w := &s.coreWatch
	w.tid = tid
	const pidfdThread = unix.O_EXCL
	fd, err := unix.PidfdOpen(tid, pidfdThread)
	switch {
	case err == unix.ESRCH:
		s.coreThreadEnded(tid)
		return
	case err != nil:
		w.blind = true
		return
	}
	file, conn := wire.InPoller(fd, "pidfd")
	go func() {
		defer file.Close()
		conn.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		w.ended <- tid
	}()
}

// coreThreadEnded gives the rest of the core a moment: as a rule it needs none.
func (s *Scanner) coreThreadEnded(tid int) {
	s.reap()
	if s.core != 0 && s.coreWatch.tid == tid && s.coreWatch.grace == nil {
		s.coreWatch.grace = time.NewTimer(coreGrace)
	}
}

// giveUp has another core take over from one that has ended but for threads that
// wait for a disk.
func (s *Scanner) giveUp() {
	w := &s.coreWatch
	w.grace = nil
	s.reap()
	if s.core == 0 || w.tid == 0 || !endedThread(s.core, w.tid) {
		return
	}
	w.lost[s.core] = true
	s.coreDied(unix.WaitStatus(unix.SIGKILL))
}

// endedThread says whether a process is there that has lost this thread, as far as /proc
// tells: that of another namespace has other processes by these numbers, and without this
// thread.
func endedThread(pid, tid int) bool {
	var st unix.Stat_t
	tasks := proc.Path(pid, "task/")
	return unix.Stat(tasks, &st) == nil && errors.Is(unix.Stat(tasks+strconv.Itoa(tid), &st), unix.ENOENT)
}

// collectLost collects a core that was given up, if it has ended now.
func (s *Scanner) collectLost(pid int) {
	if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || err == unix.ECHILD {
		delete(s.coreWatch.lost, pid)
	}
}
