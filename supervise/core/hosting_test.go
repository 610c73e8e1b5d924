package core

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"

	"os"
)

// TestStrangers: who is no log service of the tree is refused, whatever he says, and that
// there are many takes little of the core's time.
func TestStrangers(t *testing.T) {
	c := &Core{procs: newProcesses(false)}
	c.shareLogs()
	if len(c.private) == 0 {
		t.Fatal("nobody listens")
	}
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	before, begin, refused := used.Utime.Nano()+used.Stime.Nano(), time.Now(), 0
	for time.Since(begin) < 500*time.Millisecond {
		fd, _, ok := loghost.Meet(os.Getpid(), loghost.AtCore, func(uint32) bool { return true })
		if !ok {
			t.Fatal("nobody is there")
		}
		unix.SetNonblock(fd, false)
		loghost.Write(fd, loghost.Message{Kind: loghost.Ask, FDs: []int{0, 1, 2}})
		if n, _, _, _, err := unix.Recvmsg(fd, make([]byte, 10), nil, 0); n > 0 {
			t.Fatalf("a stranger is answered: %d, %v", n, err)
		}
		unix.Close(fd)
		refused++
	}
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	if spent := used.Utime.Nano() + used.Stime.Nano() - before; spent > 300e6 {
		t.Errorf("%d strangers have taken %d ms", refused, spent/1e6)
	}
}
