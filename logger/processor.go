package logger

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that an engine wants.
type Child struct {
	Argv  []string
	Dir   int    // handle of its working directory
	Files [6]int // its descriptors 0 to 5; below 0 there is none
}

// StartChild starts a child with this process's environment and default
// signals, and returns the wait for its end. It is for processes in which
// nobody else waits for children; others give Options a Start of their own.
func StartChild(c Child) (wait func() unix.WaitStatus, err error) {
	files := make([]uintptr, len(c.Files))
	for i, fd := range c.Files {
		files[i] = uintptr(fd)
	}
	type started struct {
		pid int
		err error
	}
	result := make(chan started)
	go func() {
		// The thread gets a working directory of its own and ends with this
		// goroutine. Where that is forbidden, as containers may have it, the
		// child finds the directory by its handle.
		runtime.LockOSThread()
		var s started
		attr := &syscall.ProcAttr{Env: syscall.Environ(), Files: files}
		if unix.Unshare(unix.CLONE_FS) == nil {
			s.err = unix.Fchdir(c.Dir)
		} else {
			attr.Dir = fmt.Sprintf("/proc/self/fd/%d", c.Dir)
		}
		if s.err == nil {
			s.pid, s.err = syscall.ForkExec(c.Argv[0], c.Argv, attr)
		}
		result <- s
	}()
	s := <-result
	if s.err != nil {
		return nil, s.err
	}
	return func() unix.WaitStatus {
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(s.pid, &ws, 0, nil); err != unix.EINTR {
				return ws
			}
		}
	}, nil
}

// The rest between two attempts of a processor that fails.
const (
	firstRest = time.Second
	longRest  = 32 * time.Second
)

// processor works rotated logs off, one after the other: the files @STAMP.u
// with the owner's execute bit. It has handles of its own, so that a child that
// runs is not disturbed when the log is closed and opened anew.
type processor struct {
	e       *Engine
	dir     string
	at      int    // the log directory, while a child runs
	stem    string // @STAMP. of the file it works on
	running bool
	status  atomic.Pointer[unix.WaitStatus] // set when it has ended
	rest    time.Duration
	retry   time.Time // no start before
	last    bool      // no start at all
	due     bool      // there may be a file that waits
	source  func() (dir int, command string)
	scan    []byte
}

// busy says that there is something to wait for.
func (p *processor) busy() bool { return p.running || !p.retry.IsZero() && !p.last }

// changes has a new command tried without a rest.
func (p *processor) changes(from, to string) {
	if from != to {
		p.rest, p.retry = 0, time.Time{}
	}
}

// step takes note of a child's end and starts the next.
func (p *processor) step(now time.Time) {
	if ws := p.status.Load(); p.running && ws != nil {
		p.running = false
		p.status.Store(nil)
		p.ended(*ws, now)
		unix.Close(p.at)
	}
	dir, command := p.source()
	if p.running || p.last || command == "" || dir < 0 {
		if !p.running && (command == "" || dir < 0) {
			p.retry = time.Time{}
		}
		return
	}
	if !p.due || now.Before(p.retry) {
		return
	}
	p.retry = time.Time{}
	if stem := p.oldest(dir); stem != "" {
		p.start(dir, stem, command, now)
	} else {
		p.due = false
	}
}

// oldest finds the first file that waits to be processed.
func (p *processor) oldest(dir int) (stem string) {
	entries(dir, p.scan, func(name []byte) {
		if isOld(name) && name[26] == 'u' && (stem == "" || string(name[:26]) < stem) && finished(dir, string(name)) {
			stem = string(name[:26])
		}
	})
	return stem
}

// finished says that a file has the mark of one that was closed in order.
func finished(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IXUSR != 0
}

// start starts a child for one file.
func (p *processor) start(dir int, stem, command string, now time.Time) {
	at, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		p.e.o.Report(Pausing, "unable to fork for processor: "+p.dir, err)
		p.retry = now.Add(pauseTime)
		return
	}
	p.at, p.stem = at, stem
	p.e.o.Report(Info, "processing: "+p.dir+"/"+stem+"u", nil)
	c := Child{Argv: []string{"/bin/sh", "-c", command}, Dir: at, Files: [6]int{-1, -1, 2, -1, -1, -1}}
	what, err := p.files(&c)
	var wait func() unix.WaitStatus
	if err == nil {
		what = "unable to run processor"
		wait, err = p.e.o.Start(c)
	}
	for i, fd := range c.Files {
		if i != 2 && fd >= 0 {
			unix.Close(fd)
		}
	}
	if err != nil {
		p.e.o.Report(Fatal, what+": "+p.dir, err)
		p.failed(now)
		unix.Close(at)
		return
	}
	p.running = true
	go func() {
		ws := wait()
		p.status.Store(&ws)
		p.e.request(reapRequest)
	}()
}

// files opens what a child works on, and tells what it could not.
func (p *processor) files(c *Child) (what string, err error) {
	for _, f := range []struct {
		fd    int
		name  string
		flags int
		what  string
	}{
		{0, p.stem + "u", unix.O_RDONLY, "input"},
		{1, p.stem + "t", unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, "output"},
		{4, "state", unix.O_RDONLY | unix.O_CREAT, "state"},
		{5, "newstate", unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, "newstate"},
	} {
		if c.Files[f.fd], err = unix.Openat(p.at, f.name, f.flags|unix.O_CLOEXEC, 0o644); err != nil {
			return "unable to open " + f.what + " for processor", err
		}
	}
	return "", nil
}

// ended takes over what a child has made, or arranges for another attempt.
func (p *processor) ended(ws unix.WaitStatus, now time.Time) {
	if !ws.Exited() || ws.ExitStatus() != 0 {
		p.failed(now)
		return
	}
	t, s := p.stem+"t", p.stem+"s"
	for _, step := range []struct {
		name string
		do   func() error
	}{ // each is durable before the next, so that there is always the input or the output
		{"unable to set mode of processed", func() error { return p.seal(t, 0o744) }},
		{"unable to rename processed", func() error { return unix.Renameat(p.at, t, p.at, s) }},
		{"unable to rename processed", func() error { return unix.Fsync(p.at) }},
		{"unable to rename state", func() error { return p.seal("newstate", 0) }},
	} {
		if err := step.do(); err != nil {
			p.e.o.Report(Pausing, step.name+": "+p.dir, err)
			p.failed(now)
			return
		}
	}
	if err := unix.Unlinkat(p.at, p.stem+"u", 0); err != nil {
		p.e.o.Report(Warning, "unable to unlink: "+p.dir+"/"+p.stem+"u", nil)
	}
	if err := unix.Renameat(p.at, "newstate", p.at, "state"); err != nil {
		p.e.o.Report(Pausing, "unable to rename state: "+p.dir, err)
	}
	unix.Fsync(p.at)
	p.rest, p.retry = 0, time.Time{}
	p.e.o.Report(Info, "processed: "+p.dir+"/"+s, nil)
}

// seal makes a file durable, and then sets its mode unless that is 0.
func (p *processor) seal(name string, mode uint32) error {
	fd, err := unix.Openat(p.at, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil || mode == 0 {
		return err
	}
	return tolerate(unix.Fchmod(fd, mode))
}

// failed lets the processor rest, longer each time.
func (p *processor) failed(now time.Time) {
	p.e.o.Report(Warning, "processor failed, restart: "+p.dir, nil)
	unix.Unlinkat(p.at, p.stem+"t", 0)
	p.rest = min(max(2*p.rest, firstRest), longRest)
	p.retry = now.Add(p.rest)
}
