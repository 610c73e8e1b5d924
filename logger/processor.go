package logger

import (
	"cmp"
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that an engine wants.
type Child struct {
	Argv  []string
	Env   []string // nil is this process's
	Dir   int      // handle of its working directory
	Files [6]int   // its descriptors 0 to 5; below 0 there is none
}

// StartChild starts a child with this process's environment and default
// signals. Ended says whether it has ended, and how; it does not wait. It is for
// processes in which nobody else waits for children, nor needs the working
// directory for more than names relative to a handle; others give Options a
// Start of their own.
func StartChild(c Child) (ended func() (unix.WaitStatus, bool), err error) {
	files := make([]uintptr, len(c.Files))
	for i, fd := range c.Files {
		files[i] = uintptr(fd)
	}
	childDir.Lock()
	defer childDir.Unlock()
	back, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(back)
	if err := unix.Fchdir(c.Dir); err != nil {
		return nil, err
	}
	env := c.Env
	if env == nil {
		env = syscall.Environ()
	}
	pid, err := syscall.ForkExec(c.Argv[0], c.Argv, &syscall.ProcAttr{Env: env, Files: files})
	unix.Fchdir(back) // only for whoever looks where this process is
	if err != nil {
		return nil, err
	}
	return func() (ws unix.WaitStatus, ok bool) {
		got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil)
		return ws, got == pid || errors.Is(err, unix.ECHILD)
	}, nil
}

// childDir is held while this process is in a child's working directory.
var childDir sync.Mutex

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
	at      int    // the log directory, while there is work on a file
	stem    string // @STAMP. of that file
	running func() (unix.WaitStatus, bool)
	steps   []takeover // what is left to do with what a child has made
	rest    time.Duration
	retry   time.Time // nothing before
	last    bool      // no start at all
	due     bool      // there may be a file that waits
	source  func() (dir int, command string)
}

// takeover is a step in which what a child has made takes the place of what it
// was made from.
type takeover struct {
	complaint string
	do        func() error
}

// working says that a file is being processed.
func (p *processor) working() bool { return p.running != nil || len(p.steps) > 0 }

// busy says that there is something to wait for.
func (p *processor) busy() bool { return p.running != nil || !p.retry.IsZero() && !p.last }

// changes has a new command tried without a rest.
func (p *processor) changes(from, to string) {
	if from != to && len(p.steps) == 0 {
		p.rest, p.retry = 0, time.Time{}
	}
}

// step takes note of a child's end and starts the next.
func (p *processor) step(now time.Time) {
	if p.running != nil {
		ws, ended := p.running()
		if !ended {
			return
		}
		p.running = nil
		p.ended(ws, now)
	}
	if len(p.steps) > 0 && !now.Before(p.retry) {
		p.takeOver(now)
	}
	if len(p.steps) > 0 {
		return
	}
	dir, command := p.source()
	if command == "" || dir < 0 {
		p.retry = time.Time{}
		return
	}
	if p.last || !p.due || now.Before(p.retry) {
		return
	}
	p.retry = time.Time{}
	switch stem, err := p.oldest(dir); {
	case err != nil:
		p.later("unable to read directory", err, now)
	case stem != "":
		p.start(dir, stem, command, now)
	default:
		p.due = false
	}
}

// later reports what has failed, and has it tried again.
func (p *processor) later(text string, err error, now time.Time) {
	p.e.o.Report(Pausing, text+": "+p.dir, err)
	p.retry = now.Add(pauseTime)
}

// oldest finds the first file that waits to be processed.
func (p *processor) oldest(dir int) (stem string, err error) {
	var failed error
	err = entries(dir, p.e.scan(), func(name []byte) {
		if isOld(name) && name[26] == 'u' && (stem == "" || string(name[:26]) < stem) {
			switch waits, err := finished(dir, string(name)); {
			case err != nil:
				failed = err
			case waits:
				stem = string(name[:26])
			}
		}
	})
	return stem, cmp.Or(err, failed)
}

// finished says that a file has the mark of one that was closed in order.
func finished(dir int, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && st.Mode&unix.S_IXUSR != 0, err
}

// start starts a child for one file.
func (p *processor) start(dir int, stem, command string, now time.Time) {
	at, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		p.later("unable to fork for processor", err, now)
		return
	}
	p.at, p.stem = at, stem
	p.e.o.Report(Info, "processing: "+p.dir+"/"+stem+"u", nil)
	c := Child{Argv: []string{"/bin/sh", "-c", command}, Env: p.e.o.Env, Dir: at, Files: [6]int{-1, -1, cmp.Or(p.e.o.Errors, 2), -1, -1, -1}}
	what, err := p.files(&c)
	if err == nil {
		what = "unable to run processor"
		p.running, err = p.e.o.Start(c)
	}
	for i, fd := range c.Files {
		if i != 2 && fd >= 0 {
			unix.Close(fd)
		}
	}
	switch {
	case err == nil:
		return
	case passing(err), errors.Is(err, unix.EAGAIN):
		p.later("unable to fork for processor", err, now)
	default:
		p.e.o.Report(Fatal, what+": "+p.dir, err)
		p.failed(now)
	}
	unix.Close(at)
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
		unix.Close(p.at)
		return
	}
	u, t, s := p.stem+"u", p.stem+"t", p.stem+"s"
	p.retry = time.Time{}
	p.steps = []takeover{ // each is durable before the next, so that there is always the input or the output
		{"unable to set mode of processed", func() error { return p.seal(t, 0o744) }},
		{"unable to rename processed", func() error { return unix.Renameat(p.at, t, p.at, s) }},
		{"unable to rename processed", func() error { return syncDir(p.at) }},
		{"unable to rename state", func() error { return absent(p.seal("newstate", 0)) }},
		{"unable to unlink: " + u, func() error { return absent(unix.Unlinkat(p.at, u, 0)) }},
		{"unable to rename state", func() error { return absent(unix.Renameat(p.at, "newstate", p.at, "state")) }},
		{"unable to rename state", func() error { return syncDir(p.at) }},
	}
}

// takeOver does what is left to do, as far as it succeeds. An output that has
// vanished is made again.
func (p *processor) takeOver(now time.Time) {
	for len(p.steps) > 0 {
		err := p.steps[0].do()
		if errors.Is(err, unix.ENOENT) {
			p.steps = nil
			p.failed(now)
			unix.Close(p.at)
			return
		}
		if err != nil {
			p.later(p.steps[0].complaint, err, now)
			return
		}
		p.steps = p.steps[1:]
	}
	unix.Close(p.at)
	p.steps, p.rest, p.retry = nil, 0, time.Time{}
	p.e.o.Report(Info, "processed: "+p.dir+"/"+p.stem+"s", nil)
}

// absent forgives that a file is not there.
func absent(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// syncDir makes the names in a directory durable, where that is to be had.
func syncDir(dir int) error {
	err := unix.Fsync(dir)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
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
