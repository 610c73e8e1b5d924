package applets

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// signalName is a signal's name without SIG, or its number.
func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprint(int(sig))
}

// endWords tells how a process ended: exit 0, exit 1, killed by SEGV (core dumped).
func endWords(ws unix.WaitStatus) string {
	if !ws.Signaled() {
		return fmt.Sprintf("exit %d", ws.ExitStatus())
	}
	text := "killed by " + signalName(ws.Signal())
	if ws.CoreDump() {
		text += " (core dumped)"
	}
	return text
}
