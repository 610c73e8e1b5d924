package client

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// CheckError is about a ./check that cannot be asked.
type CheckError struct {
	Doing string // "unable to run"
	Err   error
}

func (c CheckError) Error() string { return c.Doing + " check: " + c.Err.Error() }

// Unwrap is what the system said.
func (c CheckError) Unwrap() error { return c.Err }

// check is a ./check that runs, in a process group of its own.
type check struct {
	pid int
	fd  int // pidfd, readable at its end; -1 if there is none
}

// startCheck runs the check script of the service directory at path, with a
// pidfd if there is to be one. What it writes to its standard output is
// nobody's.
func startCheck(path string, watched bool) (*check, error) {
	out := ^uintptr(0) // closed, where there is no /dev/null
	if null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		defer unix.Close(null)
		out = uintptr(null)
	}
	guard.begin()
	defer guard.end()
	pid, err := syscall.ForkExec("check", []string{"./check"}, &syscall.ProcAttr{
		Dir:   path,
		Env:   os.Environ(),
		Files: []uintptr{0, out, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, err
	}
	guard.groups[pid] = true
	c := &check{pid, -1}
	if watched {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			c.fd = fd
		}
	}
	return c, nil
}

// ended says whether the check is over, and then whether it passed: only by
// an exit with 0.
func (c *check) ended() (over, passed bool) {
	var ws unix.WaitStatus
	pid, err := unix.Wait4(c.pid, &ws, unix.WNOHANG, nil)
	if err == nil && pid == 0 {
		return false, false
	}
	guard.begin()
	defer guard.end()
	delete(guard.groups, c.pid)
	return true, err == nil && ws.Exited() && ws.ExitStatus() == 0
}

// kill ends the check and what it has started.
func (c *check) kill() {
	guard.begin()
	defer guard.end()
	unix.Kill(-c.pid, unix.SIGKILL)
	delete(guard.groups, c.pid)
	for range 100 { // one that hangs in the kernel is not waited for
		if pid, err := unix.Wait4(c.pid, nil, unix.WNOHANG, nil); err != nil || pid == c.pid {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// guard sees to it that a signal that ends the client ends its checks too:
// those of a terminal do not reach them, in their own groups.
var guard guardian

type guardian struct {
	once   sync.Once
	mu     sync.Mutex
	groups map[int]bool
}

// begin locks the groups; with the first of them a watch for signals begins.
func (g *guardian) begin() {
	g.once.Do(func() {
		g.groups = map[int]bool{}
		deadly := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}
		c := make(chan os.Signal, 1)
		for _, s := range deadly {
			if !signal.Ignored(s) {
				signal.Notify(c, s)
			}
		}
		go func() {
			sig := (<-c).(syscall.Signal)
			g.mu.Lock() // for good: nothing is started any more
			for pid := range g.groups {
				unix.Kill(-pid, unix.SIGKILL)
			}
			signal.Reset(sig)
			unix.Kill(unix.Getpid(), sig)
		}()
	})
	g.mu.Lock()
}

func (g *guardian) end() { g.mu.Unlock() }
