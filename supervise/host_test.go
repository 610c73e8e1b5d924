package supervise

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestWire decodes what was encoded, and refuses what makes no sense.
func TestWire(t *testing.T) {
	m := wireMessage{kind: wireTake, engine: 7, number: 1 << 31, args: []string{"-l", "10", "", "main"}, env: []string{"A=b"}}
	got, err := parseWire(m.bytes())
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(wireMessage{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	whole := m.bytes()
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"too short", whole[:wireHead-1]},
		{"a string is missing", whole[:len(whole)-4]},
		{"a string does not end", whole[:len(whole)-1]},
		{"there is more", append(slices.Clone(whole), 'x')},
		{"more strings than bytes", append(slices.Repeat([]byte{255}, wireHead), 0, 0)},
		{"too long", make([]byte, wireMax+1)},
	} {
		if m, err := parseWire(tt.b); err != errWire {
			t.Errorf("%s: %v, %v", tt.name, m, err)
		}
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte{})
	f.Add(wireMessage{kind: wireAsk, args: []string{"a", ""}, env: []string{"b=c"}}.bytes())
	f.Add(slices.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseWire(b)
		if err != nil {
			return
		}
		if diff := cmp.Diff(b, m.bytes()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWireDescriptors: what comes with a message that makes no sense, or is too much, is
// closed.
func TestWireDescriptors(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before := open()
	for _, tt := range []struct {
		b   []byte
		fds []int
	}{
		{[]byte("x"), []int{0, 1, 2}},
		{wireMessage{kind: wireAsk}.bytes(), []int{0, 1, 2, 0, 1, 2}},
		{wireMessage{kind: wireAsk, args: []string{strings.Repeat("x", 1000)}}.bytes(), []int{0}},
	} {
		if err := unix.Sendmsg(p[0], tt.b, unix.UnixRights(tt.fds...), nil, 0); err != nil {
			t.Fatal(err)
		}
		if m, err := receiveWire(p[1], make([]byte, 100), 0); err != errWire {
			t.Errorf("%v, %v", m, err)
		}
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors are open, then %d", before, after)
	}
}

// TestStrangers: who is no log service of the tree is refused, whatever he says, and
// his being many takes little time of the core.
func TestStrangers(t *testing.T) {
	c := &Core{procs: newProcesses(false)}
	c.whose = 0
	c.listenForHosts()
	if !c.hosting.open {
		t.Fatal("nobody listens")
	}
	name := ""
	for _, at := range meetings(os.Getpid()) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if unix.Connect(fd, &unix.SockaddrUnix{Name: at}) == nil {
			name = at
		}
		unix.Close(fd)
	}
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	before, begin, refused := used.Utime.Nano()+used.Stime.Nano(), time.Now(), 0
	for time.Since(begin) < 500*time.Millisecond {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		unix.Sendmsg(fd, wireMessage{kind: wireAsk, args: []string{"main"}}.bytes(), unix.UnixRights(0, 1, 2), nil, unix.MSG_NOSIGNAL)
		if n, _, _, _, err := unix.Recvmsg(fd, make([]byte, 10), nil, 0); n > 0 {
			t.Fatalf("a stranger is answered: %d, %v", n, err)
		}
		unix.Close(fd)
		refused++
	}
	unix.Getrusage(unix.RUSAGE_SELF, &used)
	if spent := used.Utime.Nano() + used.Stime.Nano() - before; spent > 250e6 {
		t.Errorf("%d strangers have taken %d ms", refused, spent/1e6)
	}
	if most := int(500*time.Millisecond/strangerRest) + 2; refused > most {
		t.Errorf("%d strangers were refused, not %d", refused, most)
	}
}

// TestSameness: a process is the same as itself, and another user's, or one that cannot
// be looked at, is not.
func TestSameness(t *testing.T) {
	id, files, known := sameness(os.Getpid())
	if !known {
		skip(t, "the kernel does not tell, or filters system calls")
	}
	again, same, _ := sameness(os.Getpid())
	if id != again || files != same || files == 0 {
		t.Errorf("(-once +again):\n%s", cmp.Diff(id, again))
	}
	if _, _, known := sameness(1 << 30); known {
		t.Errorf("a process that is not there is known")
	}
	for _, name := range append(sameInStatus[:], "cgroup", "root=", "ns/mnt=") {
		if !strings.Contains(id, name) {
			t.Errorf("nothing is told of %s", name)
		}
	}
}
