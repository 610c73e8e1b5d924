package core

import (
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
	"runitbox/supervise/threads"
	"runitbox/supervise/wire"
)

// discardLog reads a log that no scanner reads any more, so that its writers are
// neither held up nor killed. It waits without a thread, for which there may be no
// room.
func discardLog(fd int) {
	file, conn := wire.InPoller(fd, "log")
	defer file.Close()
	buf := make([]byte, 4096)
	conn.Read(func(fd uintptr) bool {
		n, err := 1, error(nil)
		for n > 0 || err == unix.EINTR {
			n, err = unix.Read(int(fd), buf)
		}
		return err != unix.EAGAIN
	})
}

// drainLog is the same for one whose lines go on to out.
func drainLog(fd, out int) {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			unix.Close(fd)
			return
		}
		unix.Write(out, buf[:n])
	}
}

// rescueLog reads on, for a process that is about to be adopted, the log that
// its stderr leads to, if that is of a scanner that was killed: without a
// reader the process would be killed by SIGPIPE when it has something to say.
func (c *Core) rescueLog(was *priorState, said *source) error {
	if c.log < 0 || !was.there {
		return nil
	}
	if ours, err := proc.IsOwn(); !ours { // there another process has its number
		return err
	}
	r, err := sys.ReopenPipe("/proc/"+strconv.Itoa(was.record.PID)+"/fd/2", unix.O_RDONLY)
	if r < 0 {
		return err
	}
	var its, own unix.Stat_t
	unix.Fstat(r, &its)
	unix.Fstat(c.log, &own)
	c.mu.Lock()
	known := its.Ino == own.Ino || c.rescued[its.Ino] || said != nil && its.Ino == said.pipe[1] && uint64(its.Dev) == said.pipe[0]
	if !known {
		c.rescued[its.Ino] = true
	}
	c.mu.Unlock()
	if known {
		unix.Close(r)
		return nil
	}
	go func() {
		threads.Reserve(threads.Count() + 1)
		drainLog(r, 2)
	}()
	return nil
}
