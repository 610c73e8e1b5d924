package core

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/loghost"
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

// TestGreet: a child is heard, once; not who has its number and is another user, as a
// socket that has outlived its process; and not who is no child.
func TestGreet(t *testing.T) {
	c := &Core{procs: newProcesses(false)}
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	me, child := uint32(os.Geteuid()), int32(cmd.Process.Pid)
	c.procs.known[cmd.Process.Pid] = &process{pid: cmd.Process.Pid}
	for _, tt := range []struct {
		name string
		peer unix.Ucred
		want bool
	}{
		{"no child", unix.Ucred{Pid: int32(os.Getpid()), Uid: me}, false},
		{"nobody", unix.Ucred{Uid: me}, false},
		{"a child's number, and another user", unix.Ucred{Pid: child, Uid: me + 1}, false},
		{"a child", unix.Ucred{Pid: child, Uid: me}, true},
		{"a child that is heard", unix.Ucred{Pid: child, Uid: me}, false},
	} {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[1])
		if got := c.greet(p[0], &tt.peer); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		} else if !got {
			unix.Close(p[0])
		} else {
			loghost.Write(p[1], loghost.Message{Kind: loghost.Ask})
			if m, err := loghost.Read(p[1]); err != nil || m.Kind != loghost.Stay {
				t.Errorf("%s: %v, %v", tt.name, m, err)
			}
		}
	}
	for c.hosting.isHeard(cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	if c.greet(-1, &unix.Ucred{Pid: child, Uid: me}) {
		t.Error("a child is heard twice")
	}
}

func (hs *hosting) isHeard(pid int) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.heard[pid]
}
