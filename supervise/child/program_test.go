package child

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// told is a program as text: a call a line; an argument that leads into memory is a *.
func told(calls []call) string {
	names := map[uintptr]string{
		unix.SYS_RT_SIGACTION: "sigaction", unix.SYS_SETSID: "setsid", unix.SYS_PRCTL: "prctl", sysClone3: "clone3", unix.SYS_CLONE: "clone",
		unix.SYS_WRITE: "write", unix.SYS_CLOCK_GETTIME: "clock_gettime", unix.SYS_CLOSE_RANGE: "close_range", unix.SYS_CLOSE: "close",
		unix.SYS_PWRITE64: "pwrite", unix.SYS_FCHDIR: "fchdir", unix.SYS_FCNTL: "fcntl", unix.SYS_DUP3: "dup3", unix.SYS_PRLIMIT64: "prlimit",
		unix.SYS_RT_SIGPROCMASK: "sigprocmask", unix.SYS_EXECVE: "execve",
	}
	n := map[uintptr]int{
		unix.SYS_SETSID: 0, unix.SYS_PRCTL: 2, unix.SYS_CLOSE: 1, unix.SYS_FCHDIR: 1, unix.SYS_DUP3: 3, unix.SYS_CLOSE_RANGE: 3, unix.SYS_EXECVE: 3,
		unix.SYS_CLOCK_GETTIME: 2, unix.SYS_WRITE: 3, unix.SYS_FCNTL: 3, sysClone3: 2, unix.SYS_CLONE: 3,
	}
	var b strings.Builder
	for _, c := range calls {
		if c.step == stepSignal { // as many as are caught here
			continue
		}
		b.WriteString(names[c.number])
		k, ok := n[c.number]
		if !ok {
			k = 4
		}
		for _, a := range c.args[:k] {
			switch {
			case a == 1<<32-1:
				b.WriteString(" max")
			case a > 1<<32-1:
				b.WriteString(" *")
			default:
				fmt.Fprintf(&b, " %#x", a)
			}
		}
		if c.optional != 0 {
			b.WriteString(" or not")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestChildProgram: what a child does before it is its program, in each way that it is
// made. Nothing that may hang comes before the descriptors of others are gone, and the
// record, which is locked, is closed when the pid is in it.
func TestChildProgram(t *testing.T) {
	if os.Getpagesize() == 0 || ^uintptr(0)>>63 == 0 {
		t.Skip("the addresses of this machine look like numbers")
	}
	var born unix.Timespec
	service := Child{Path: "./run", Argv: []string{"./run"}, Files: []int{0, 8, 2}, Dir: 9, Record: 10, Private: []int{30, 31}, Born: &born}
	limits := &unix.Rlimit{Cur: 1, Max: 2}
	const rest = `dup3 0x8 0x1 0x0
prlimit 0x0 0x7 * 0x0 or not
sigprocmask 0x2 * 0x0 0x8
execve * * *
`
	const record = `pwrite 0xa * 0x4 0x78
close 0xa or not
fchdir 0x9
`
	const parting = `close_range 0xb max 0x2
close_range 0x3 0x7 0x0
`
	for _, tt := range []struct {
		name string
		c    Child
		w    way
		pipe int
		want string
	}{
		{"clone3", service, way{clone3: true, vfork: true, shares: true, range_: true}, 0,
			"clock_gettime 0x7 * or not\n" + parting + record + rest},
		{"a session", service, way{clone3: true, vfork: true, shares: true, range_: true, lead: true}, 0,
			"setsid\nclock_gettime 0x7 * or not\n" + parting + record + rest},
		{"in a session", service, way{clone3: true, vfork: true, shares: true, range_: true, inSession: true}, 0,
			"setsid\nprctl 0x1 0x9 or not\nclone3 * 0x40\nclock_gettime 0x7 * or not\n" + parting + record + rest},
		{"the old clone", service, way{vfork: true, shares: true, range_: true, inSession: true}, 0,
			"setsid\nprctl 0x1 0x9 or not\nclone 0x10c511 0x0 *\nclock_gettime 0x7 * or not\n" + parting + record + rest},
		{"a copy of the descriptors", service, way{vfork: true, range_: true}, 0,
			"clock_gettime 0x7 * or not\n" + strings.Replace(parting, "0x2", "0x0", 1) + record + rest},
		{"no close_range", service, way{vfork: true}, 0,
			"clock_gettime 0x7 * or not\nclose 0x1e or not\nclose 0x1f or not\n" + record + rest},
		{"fork", service, way{range_: true, inSession: true}, 20,
			"setsid\nprctl 0x1 0x9 or not\nclone 0x8011 0x0 0x0\nwrite 0x14 * 0x4\nclock_gettime 0x7 * or not\n" +
				"close_range 0x15 max 0x0\nclose_range 0x3 0x7 0x0\nclose_range 0xb 0x13 0x0\n" + record + rest},
		{"a control script", Child{Path: "x", Argv: []string{"x"}, Files: []int{0, 1, 2}, Dir: 40}, way{clone3: true, vfork: true, shares: true, range_: true}, 0,
			"close_range 0x29 max 0x2\nclose_range 0x3 0x27 0x0\nfchdir 0x28\n" + strings.Replace(rest, "dup3 0x8 0x1 0x0\n", "", 1)},
		{"a record that cannot be written: the lock stays until the program is executed",
			Child{Path: "x", Argv: []string{"x"}, Files: []int{0, 1, 2}, Dir: 9, Lock: 11}, way{clone3: true, vfork: true, shares: true, range_: true}, 0,
			"close_range 0xc max 0x2\nclose_range 0x3 0x8 0x0\nclose_range 0xa 0xa 0x0\nfchdir 0x9\n" + strings.Replace(rest, "dup3 0x8 0x1 0x0\n", "", 1)},
	} {
		h := NewSlot()
		h.pipe[1] = tt.pipe
		if err := h.prepare(tt.c); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, told(h.program(tt.c, limits, tt.w))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestRefuse: which way comes after one that was refused, and what is no refusal.
func TestRefuse(t *testing.T) {
	t.Cleanup(testWay{}.use)
	if !hasVfork {
		t.Skip("there is one way only")
	}
	all := way{clone3: true, vfork: true, shares: true, range_: true}
	for _, tt := range []struct {
		name   string
		failed childStep
		from   way
		err    unix.Errno
		again  bool
		want   way
	}{
		{"clone3", stepMade, all, unix.ENOSYS, true, way{vfork: true, shares: true, range_: true}},
		{"clone3 of a filter", stepMade, all, unix.EACCES, true, way{vfork: true, shares: true, range_: true}},
		{"no memory", stepMade, all, unix.ENOMEM, false, all},
		{"no processes", stepMade, all, unix.EAGAIN, false, all},
		{"CLONE_FILES", stepMade, way{vfork: true, shares: true, range_: true}, unix.EINVAL, true, way{clone3: true, vfork: true, range_: true}},
		{"CLONE_VM", stepMade, way{vfork: true, range_: true}, unix.EINVAL, true, way{range_: true}},
		{"all", stepMade, way{range_: true}, unix.EPERM, false, all},
		{"CLOSE_RANGE_UNSHARE", stepPart, all, unix.EINVAL, true, way{clone3: true, vfork: true, range_: true}},
		{"close_range", stepPart, way{clone3: true, vfork: true, range_: true}, unix.ENOSYS, true, way{clone3: true, vfork: true}},
		{"no program", stepExec, all, unix.EINVAL, false, all},
		{"no directory", stepEnter, all, unix.EPERM, false, all},
	} {
		testWay{}.use()
		if again := refuse(tt.from, tt.failed, tt.err); again != tt.again || bestWay() != tt.want {
			t.Errorf("%s: again %t, then %+v, want %t, %+v", tt.name, again, bestWay(), tt.again, tt.want)
		}
	}
}

// TestForkStress: plain forks of a process whose other threads allocate, collect, make
// threads and are signalled: none hangs before its program, since nothing between fork
// and exec takes a lock of the runtime's or waits for another child.
func TestForkStress(t *testing.T) {
	testWay{refused: []refusal{noClone3, noShare, noVfork, noRange}}.use()
	t.Cleanup(testWay{}.use)
	over := make(chan struct{})
	var busy, forks sync.WaitGroup
	for range 3 {
		busy.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				deep(60)
				runtime.GC()
				go runtime.LockOSThread() // ends with its thread
			}
		})
	}
	for range 4 {
		forks.Go(func() {
			for i := range 75 {
				start := Child.Start
				if i%2 == 0 {
					start = Child.StartInSession
				}
				pid, err := start(Child{Path: "/bin/true", Argv: []string{"true"}, Files: []int{0, 1, 2}}, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				collect(pid)
			}
		})
	}
	done := make(chan struct{})
	go func() { forks.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("a child hangs before its program")
	}
	close(over)
	busy.Wait()
}
