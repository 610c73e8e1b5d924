// Package procenv changes what a process is (its environment, root, ids,
// limits, locks) and then makes it another program. A service's run script
// goes through here at every start, so it touches nothing that it was not
// asked to and keeps to one thread: the kernel gives ids, groups, capabilities
// and nice value to a thread, and exec keeps those of its caller.
package procenv

import "syscall"

// Change is what to do before exec. Its zero value changes nothing; a nil
// pointer is a change that nobody asked for.
type Change struct {
	Session    bool    // become leader of a new session, unless already leader of a group
	OOMScore   *int    // how soon the kernel ends the program when memory runs out
	EnvDir     *string // set variables from the files of this directory
	NoSubdirs  bool    // a directory in EnvDir is an error
	Root       *string // the new root and working directory
	Dir        *string // the working directory, inside Root
	Nice       int     // is added to the nice value
	EnvUser    *string // whose numbers UID and GID tell the program
	User       *string // whom the program runs as
	Account    bool    // User and EnvUser are account names, not user syntax
	AllGroups  bool    // User's groups are all that the group file lists him in
	Caps       *Caps   // the capabilities that are left
	NoNewPrivs bool    // no program from here on can gain privileges
	Lock       *string // a file whose lock the program holds
	TryLock    bool    // give up if the lock is held
	Umask      *int
	JoinStderr bool    // standard error goes where standard output does
	Close      [3]bool // close stdin, stdout, stderr
	Limits     Limits
	Argv0      *string // what the program finds in its argv[0]

	// Warn is told of files in EnvDir that cannot be variables; with Verbose
	// also of its directories. Nil is nobody.
	Warn    func(error)
	Verbose bool
}

// Error tells which step failed on which object, and why.
type Error struct {
	Step  string // "change directory: /srv"
	Cause error
}

func (e *Error) Error() string { return "unable to " + e.Step + ": " + e.Cause.Error() }

// Unwrap is the cause, mostly an errno.
func (e *Error) Unwrap() error { return e.Cause }

// failed makes an error of a step that has one.
func failed(step string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{step, err}
}

// LockError is an Error of opening or locking the file of Change.Lock.
type LockError struct{ Err error }

func (e *LockError) Error() string { return e.Err.Error() }

// Unwrap is the Error.
func (e *LockError) Unwrap() error { return e.Err }

// Exec makes the changes in the order that runit has them and becomes the
// program argv. It returns only where a step failed, and then the program has
// not run. It is to be called by an init function: these are on the thread that
// the process began with, and so is the goroutine that calls it to the end.
func (c *Change) Exec(argv []string) error {
	env := Environment(syscall.Environ())
	for _, change := range []func(*Environment) error{
		c.session,
		c.oomScore, // /proc is out of reach behind a new root
		c.envDir,
		c.root,
		c.dir,
		c.nice,
		c.envUser,
		c.user,
		c.noNewPrivs,
		c.lock,
		c.umask,
		c.joinStderr,
		c.closeStdio,
	} {
		if err := change(&env); err != nil {
			return err
		}
	}
	return c.exec(argv, env)
}

func (c *Change) session(*Environment) error {
	if c.Session {
		syscall.Setsid() // fails for a leader, who has what he wants
	}
	return nil
}

func (c *Change) oomScore(*Environment) error {
	if c.OOMScore == nil {
		return nil
	}
	const path = "/proc/self/oom_score_adj"
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err == nil {
		_, err = syscall.Write(fd, []byte(itoa(*c.OOMScore)))
		syscall.Close(fd)
	}
	return failed("write "+path, err)
}

func (c *Change) root(*Environment) error {
	if c.Root == nil {
		return nil
	}
	if err := chdir("change directory", *c.Root); err != nil {
		return err
	}
	return failed("change root directory", syscall.Chroot("."))
}

func (c *Change) dir(*Environment) error {
	if c.Dir == nil {
		return nil
	}
	return chdir("change directory", *c.Dir)
}

func chdir(step, dir string) error {
	return failed(step+": "+dir, syscall.Chdir(dir))
}

func (c *Change) nice(*Environment) error {
	if c.Nice == 0 {
		return nil
	}
	now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err == nil { // the kernel counts from 40 down, so that no value looks like an error
		err = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 20-now+c.Nice)
	}
	if err == syscall.EACCES { // as nice(2) says it
		err = syscall.EPERM
	}
	return failed("set nice level", err)
}

func (c *Change) noNewPrivs(*Environment) error {
	if !c.NoNewPrivs {
		return nil
	}
	return failed("set no_new_privs", prctl(prSetNoNewPrivs, 1, 0))
}

// lock opens the file and leaves it open: the program and its heirs hold the
// lock as long as one of them lives.
func (c *Change) lock(*Environment) error {
	if c.Lock == nil {
		return nil
	}
	fd, err := syscall.Open(*c.Lock, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_APPEND|syscall.O_CREAT, 0o600)
	if err != nil {
		return &LockError{failed("open lock: "+*c.Lock, err)}
	}
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK && !c.TryLock {
		resetSignals() // the wait may be long: it ends as any program's would
		for err = syscall.EINTR; err == syscall.EINTR; {
			err = syscall.Flock(fd, syscall.LOCK_EX)
		}
	}
	if err != nil {
		return &LockError{failed("lock: "+*c.Lock, err)}
	}
	return nil
}

func (c *Change) umask(*Environment) error {
	if c.Umask == nil {
		return nil
	}
	_, _, no := syscall.RawSyscall(syscall.SYS_UMASK, uintptr(*c.Umask), 0, 0)
	return failed("set umask", errno(no)) // only a filter of system calls refuses it
}

func (c *Change) joinStderr(*Environment) error {
	if !c.JoinStderr {
		return nil
	}
	err := error(syscall.EBADF)
	if !wasClosed(1) {
		err = syscall.Dup3(1, 2, 0)
	}
	if err == nil {
		opened(2)
	}
	return failed("join stderr to stdout", err)
}

func (c *Change) closeStdio(*Environment) error {
	for fd, name := range [...]string{"stdin", "stdout", "stderr"} {
		if !c.Close[fd] {
			continue
		}
		if wasClosed(fd) {
			return failed("close "+name, syscall.EBADF)
		}
		if err := syscall.Close(fd); err != nil {
			return failed("close "+name, err)
		}
	}
	return nil
}
