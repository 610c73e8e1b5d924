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

// TestGreet: a child is heard, once, and once before that to have something settled; not who
// has its number and is another user, as a socket that has outlived its process; and not who
// is no child.
func TestGreet(t *testing.T) {
	c := &Core{procs: newProcesses(false)}
	c.descriptors.unlimited = true
	c.hosting.seats.open(&c.descriptors)
	const ask, settle = byte(loghost.Ask), byte(loghost.Settle)
	me := uint32(os.Geteuid())
	for _, tt := range []struct {
		name  string
		user  uint32
		kinds []byte
		heard int
	}{
		{"another user with a child's number", me + 1, []byte{ask}, 0},
		{"a child", me, []byte{ask, ask, settle}, 1},
		{"a link", me, []byte{settle, ask, ask}, 2},
		{"a link that asks the same again", me, []byte{settle, settle, ask}, 2},
		{"nonsense", me, []byte{loghost.Go, ask}, 1},
	} {
		pid := c.child(t)
		heard := 0
		for _, kind := range tt.kinds {
			ours, its := pair(t)
			if !c.greet(its, &unix.Ucred{Pid: int32(pid), Uid: tt.user}) {
				unix.Close(its)
				continue
			}
			if heard++; c.greet(-1, &unix.Ucred{Pid: int32(pid), Uid: tt.user}) {
				t.Errorf("%s: it is heard twice at once", tt.name)
			}
			loghost.Write(ours, loghost.Message{Kind: kind})
			if m, err := loghost.Read(ours); err != nil || m.Kind != loghost.Stay {
				t.Errorf("%s: %v, %v", tt.name, m, err)
			}
		}
		if heard != tt.heard {
			t.Errorf("%s: heard %d times, want %d", tt.name, heard, tt.heard)
		}
	}
	for _, pid := range []int{os.Getpid(), 0} {
		if c.greet(-1, &unix.Ucred{Pid: int32(pid), Uid: me}) {
			t.Errorf("%d is no child, and heard", pid)
		}
	}
}

// child is a child of the test's that the core knows.
func (c *Core) child(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	pid = cmd.Process.Pid
	c.procs.known[pid] = &process{pid: pid}
	return pid
}

// pair is a socket pair of which the test closes one end.
func pair(t *testing.T) (ours, its int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]) })
	return p[0], p[1]
}
