// Command scriptinit is process 1 of a script's PID namespace: it reaps, and when the
// script ends the kernel ends all that the script has left behind.
package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(argv []string) int {
	unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Fprintln(os.Stderr, "script-init: mount /proc:", err)
		return 125
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "script-init:", err)
		return 125
	}
	for {
		var ws unix.WaitStatus
		switch gone, err := unix.Wait4(-1, &ws, 0, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 125
		case gone == pid && ws.Exited():
			return ws.ExitStatus()
		case gone == pid:
			return 128 + int(ws.Signal())
		}
	}
}
