package initstage

import (
	"syscall"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// device is the console's name.
const device = "/dev/console"

// console is where process 1 speaks and what it lends to stage 1.
type console struct {
	lent bool // it is the controlling terminal of our session for stage 1
}

// openConsole makes the console process 1's descriptors 0, 1 and 2. Without
// one those it was started with serve.
func openConsole() console {
	var c console
	if fd, err := unix.Open(device, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		put(fd, 0, 1, 2)
	}
	return c
}

// refresh opens the console again for what is started next: the one that was
// opened before may have been hung up.
func (c *console) refresh() {
	if fd, err := unix.Open(device, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		put(fd, 1, 2)
	}
}

// put makes fd the descriptors at, which block: it was only opened not to.
func put(fd int, at ...int) {
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
		unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	}
	for _, n := range at {
		if n != fd {
			unix.Dup3(fd, n, 0)
		}
	}
	if fd > 2 {
		unix.Close(fd)
	}
}

// pipeBuf is what a pipe takes as a whole.
const pipeBuf = 4096

// say puts a line on the console. It never waits and never fails: what the
// console does not take is lost.
func (c *console) say(format string, args ...any) {
	line := []byte("- runit: " + fmt.Sprintf(format, args...) + "\n")
	// Descriptor 2 is shared with others, so that it cannot be told not to block:
	// what it leads to is opened once more.
	for _, path := range []string{device, "/proc/self/fd/2"} {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_, err = unix.Write(fd, line)
		unix.Close(fd)
		if err == nil || err == unix.EAGAIN { // somebody has stopped it
			return
		}
	}
	// Without /proc, and for a socket. A pipe that is ready takes as much as this
	// at once, unless somebody else fills it in between.
	line = line[:min(len(line), pipeBuf)]
	ready := []unix.PollFd{{Fd: 2, Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); n == 1 && err == nil && ready[0].Revents&unix.POLLOUT != 0 {
		unix.Write(2, line)
	}
}

// lend opens the console for reading too, as descriptor 0, and makes it the
// controlling terminal of our session. It is an error that there is none, but
// none that it is another's terminal.
func (c *console) lend() error {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &verbError{"open " + device, err}
	}
	put(fd, 0)
	if _, err := unix.IoctlGetInt(0, unix.TIOCGSID); err == nil {
		return nil // a container's manager has made it ours, and so it stays
	}
	c.lent = unix.IoctlSetInt(0, unix.TIOCSCTTY, 0) == nil
	return nil
}

// foreground lets the process group of stage 1 read from the console. It may
// have tried to before, and be stopped by TTIN.
func (c *console) foreground(pid int) {
	unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pid)
	unix.Kill(-pid, unix.SIGCONT)
}

// takeBack gives the terminal up, so that a getty can have it. Whoever is in
// its foreground then is sent a HUP and a CONT, so nobody may be: neither what
// stage 1 has left in the background nor process 1, to which CONT is a request.
// It is an error that this takes a process and none can be made.
func (c *console) takeBack() error {
	if !c.lent {
		return nil
	}
	if err := leaveForeground(); err != nil {
		return err
	}
	c.lent = false
	unix.IoctlSetInt(0, unix.TIOCNOTTY, 0)
	if fd, err := unix.Open(device, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		put(fd, 0)
	}
	return nil
}

// leaveForeground has a process group in the terminal's foreground of which
// nobody is left: that of a child which has nothing to execute.
func leaveForeground() error {
	if group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil && group > 1 && unix.Kill(-group, 0) == unix.ESRCH {
		return nil
	}
	var ttou, was unix.Sigset_t // the child, in the background, would be stopped by it
	ttou.Val[0] = 1 << (unix.SIGTTOU - 1)
	unix.PthreadSigmask(unix.SIG_BLOCK, &ttou, &was)
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil)
	_, err := syscall.ForkExec("", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Foreground: true, Ctty: 0}})
	if later(err) {
		return err
	}
	return nil
}
