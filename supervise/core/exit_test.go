package core

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestExitStatus asks for the ends of processes at the moment at which their
// parent reaps them: none may be lost.
func TestExitStatus(t *testing.T) {
	for i := range 1000 {
		argv := []string{"sh", "-c", "exit 7"}
		pid, err := syscall.ForkExec("/bin/sh", argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			unix.Wait4(pid, nil, 0, nil)
			skip(t, "no pidfd here: "+err.Error())
		}
		reaped := make(chan struct{})
		go func() {
			unix.Wait4(pid, nil, 0, nil)
			close(reaped)
		}()
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		var ws unix.WaitStatus
		known := false
		for end := time.Now().Add(10 * time.Second); !known && err == nil && time.Now().Before(end); {
			ws, known, err = exitStatus(fd)
		}
		<-reaped
		unix.Close(fd)
		switch {
		case err == unix.ENOTTY || err == unix.EINVAL || i == 0 && !known:
			skip(t, fmt.Sprint("this kernel does not tell: ", err))
		case err != nil || !known || ws.ExitStatus() != 7:
			t.Fatalf("the %d. process ended with %v, %t, %v", i+1, ws.ExitStatus(), known, err)
		}
	}
}
