package applets

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
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
	if ws == state.StatusUnknown {
		return "ended, nobody saw how"
	}
	if !ws.Signaled() {
		return fmt.Sprintf("exit %d", ws.ExitStatus())
	}
	text := "killed by " + signalName(ws.Signal())
	if ws.CoreDump() {
		text += " (core dumped)"
	}
	return text
}

// lifeWords tells how a life ended.
func lifeWords(e state.Ended) string {
	text := endWords(e.Status)
	if e.OOM {
		text += " (out of memory)"
	}
	return text
}
