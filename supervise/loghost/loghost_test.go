package loghost

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"runitbox/supervise/sys"
	"runitbox/testdata/aloud"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMessage takes apart what was put together, and refuses what makes no sense.
func TestMessage(t *testing.T) {
	options, env := []string{"-l", "10", "", "main"}, []string{"A=b"}
	whole := Pack(options, env)
	o, e, err := Unpack(whole)
	if diff := cmp.Diff([][]string{options, env}, [][]string{o, e}); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"too short", whole[:countSize-1]},
		{"a string is missing", whole[:len(whole)-4]},
		{"a string does not end", whole[:len(whole)-1]},
		{"there is more", append(slices.Clone(whole), 'x')},
		{"more strings than bytes", append(slices.Repeat([]byte{255}, countSize), 0, 0)},
	} {
		if o, e, err := Unpack(tt.b); err != errMessage {
			t.Errorf("%s: %v, %v, %v", tt.name, o, e, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(Pack([]string{"a", ""}, []string{"b=c"}))
	f.Add(slices.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		options, env, err := Unpack(b)
		if err != nil {
			return
		}
		if diff := cmp.Diff(b, Pack(options, env)); diff != "" {
			t.Error(diff)
		}
	})
}

// pair is a socket pair.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.CloseAll(p[:]) })
	return p[0], p[1]
}

// opened is how many descriptors are open.
func opened(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestDescriptors: what comes with a message that makes no sense is closed, and of too
// many the rest is.
func TestDescriptors(t *testing.T) {
	a, b := pair(t)
	before := opened(t)
	for _, tt := range []struct {
		b   []byte
		fds []int
		err error
	}{
		{[]byte("x"), []int{0, 1, 2}, errMessage},
		{make([]byte, headSize), []int{0, 1, 2, 0, 1, 2}, nil},
		{make([]byte, messageMax+1), []int{0}, errMessage},
	} {
		if err := unix.Sendmsg(a, tt.b, unix.UnixRights(tt.fds...), nil, 0); err != nil {
			t.Fatal(err)
		}
		m, err := Read(b)
		if err != tt.err || len(m.FDs) > descriptors+1 {
			t.Errorf("%v, %v", m, err)
		}
		sys.CloseAll(m.FDs)
	}
	if after := opened(t); after != before {
		t.Errorf("%d descriptors are open, then %d", before, after)
	}
}

// TestFits: a log service has a pipe and a directory, and nothing else is taken for one.
func TestFits(t *testing.T) {
	fds := map[string]int{}
	open := func(path string) int {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	var p, other [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil || unix.Pipe2(other[:], unix.O_CLOEXEC) != nil {
		t.Fatal("no pipe")
	}
	t.Cleanup(func() { sys.CloseAll(append(p[:], other[:]...)) })
	fds["socket"], _ = pair(t)
	fds["pipe"], fds["directory"], fds["file"], fds["device"], fds["none"] = p[0], open("/"), open("/proc/self/status"), open(os.DevNull), -1
	for input, in := range fds {
		for dir, at := range fds {
			if got, want := Fits([]int{in, at, 2}), input == "pipe" && dir == "directory"; got != want {
				t.Errorf("%s and %s: %t", input, dir, got)
			}
		}
		if got, want := SamePipe(p[1], in), input == "pipe"; got != want {
			t.Errorf("the other end of the pipe and %s: %t", input, got)
		}
	}
	if SamePipe(p[0], other[0]) {
		t.Error("two pipes are the same")
	}
	for _, some := range [][]int{nil, {p[0]}, {p[0], fds["directory"]}, {p[0], fds["directory"], 2, 2}} {
		if Fits(some) {
			t.Errorf("%d descriptors fit", len(some))
		}
	}
}

// TestIdentity: a process is the same as itself and as a child, and one that differs, or
// that cannot be looked at, is not.
func TestIdentity(t *testing.T) {
	id, files, known := Identity(os.Getpid())
	if !known {
		text, _ := os.ReadFile("/proc/self/status")
		if strings.Contains(string(text), "\nSeccomp:\t0\n") && strings.Contains(string(text), "\nNoNewPrivs:\t0\n") {
			t.Fatalf("it is not known of this process:\n%s", text)
		}
		aloud.Skip(t, "the kernel does not tell, or restricts this process")
	}
	again, same, _ := Identity(os.Getpid())
	if id != again || files != same || files == 0 {
		t.Errorf("(-once +again):\n%s", cmp.Diff(id, again))
	}
	if _, _, known := Identity(1 << 30); known {
		t.Errorf("a process that is not there is known")
	}
	for name := range strings.FieldsSeq(sameStatus + " cgroup= root= ns/mnt=") {
		if !strings.Contains(id, name) {
			t.Errorf("nothing is told of %s", name)
		}
	}
	of := func(script string) (string, bool) {
		cmd := exec.Command("/bin/sh", "-c", script+"echo; exec sleep 1000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		out.Read(make([]byte, 1))
		for { // until it is sleep
			if exe, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/comm"); string(exe) == "sleep\n" {
				break
			}
		}
		id, _, known := Identity(cmd.Process.Pid)
		return id, known
	}
	plain, known := of("")
	if twin, _ := of("X=1; "); !known || twin != plain {
		t.Errorf("two alike differ (-one +other):\n%s", cmp.Diff(plain, twin))
	}
	if user, known := User(os.Getpid()); !known || user != uint32(os.Geteuid()) {
		t.Errorf("the user is %d, known %t", user, known)
	}
	if _, known := User(1 << 30); known {
		t.Error("the user of a process that is not there is known")
	}
	for _, script := range []string{"umask 027; ", "ulimit -f 1000; ", "ulimit -Sn 100; ulimit -Hn 200; ", "trap '' INT; ", "echo 7 >/proc/self/oom_score_adj; "} {
		if other, known := of(script); known && other == plain {
			t.Errorf("%q makes no difference", script)
		}
	}
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

// said records what a host is asked to do.
type said chan string

func (s said) Take(e Engine) error {
	s <- "take " + itoa(int(e.ID)) + " " + strings.Join(e.Options, ",") + " " + strings.Join(e.Env, ",")
	sys.CloseAll([]int{e.Input, e.Dir, e.Stderr})
	return nil
}
func (s said) Run(id uint32)                   { s <- "run " + itoa(int(id)) }
func (s said) Send(id uint32, sig unix.Signal) { s <- "send " + itoa(int(id)) + " " + itoa(int(sig)) }
func (s said) Drop(id uint32)                  { s <- "drop " + itoa(int(id)) }
func (s said) NoRoom()                         { s <- "room" }
func (s said) Quit()                           { s <- "quit" }

// TestLink: a host does what the core says whose an engine is, and no other; for a while
// there are two cores; ends are kept until they are recorded.
func TestLink(t *testing.T) {
	host := make(said, 100)
	next := func(want string) {
		t.Helper()
		if got := <-host; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	a, hostA := pair2(t)
	l := newLink(100, uint32(os.Getuid()), hostA)
	l.mu.Lock()
	l.host = host
	for c := range l.cores {
		go l.follow(c)
	}
	l.mu.Unlock()
	tell := func(fd int, m Message) {
		t.Helper()
		if err := Write(fd, m); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(fd int, want Message) {
		t.Helper()
		got, err := Read(fd)
		want.Texts = make([]byte, countSize)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	fit := []int{int(r.Fd()), int(dir.Fd()), 2}
	tell(a, Message{Kind: Take, Engine: 9, Texts: Pack([]string{"x"}, []string{"A=b"}), FDs: []int{int(dir.Fd()), int(dir.Fd()), 2}})
	hears(a, Message{Kind: Refused, Engine: 9})
	tell(a, Message{Kind: Take, Engine: 10, FDs: fit[:2]})
	next("room")
	hears(a, Message{Kind: Refused, Engine: 10})
	tell(a, Message{Kind: Take, Engine: 11, Texts: Pack([]string{"x"}, []string{"A=b"}), FDs: fit})
	next("take 2 x A=b")
	hears(a, Message{Kind: Taken, Engine: 11, Number: 2})
	tell(a, Message{Kind: Run, Engine: 2})
	next("run 2")
	tell(a, Message{Kind: Take, Engine: 12, Texts: Pack([]string{"y"}, nil), FDs: fit})
	next("take 3 y ")
	hears(a, Message{Kind: Taken, Engine: 12, Number: 3})

	b, hostB := pair2(t)
	if l.accept(hostB, &unix.Ucred{Uid: uint32(os.Getuid()) + 1}) && os.Getuid() != 0 {
		t.Error("another user's is taken for a core")
	}
	if !l.accept(hostB, &unix.Ucred{Uid: uint32(os.Getuid())}) {
		t.Fatal("a core is not heard")
	}
	tell(b, Message{Kind: Send, Engine: 2, Number: 15}) // it is not its
	tell(b, Message{Kind: Run, Engine: 3})
	tell(b, Message{Kind: Claim, Engine: 7}) // nobody's
	hears(b, Message{Kind: End, Engine: 7, Number: uint32(unknown)})
	tell(b, Message{Kind: Claim, Engine: 2})
	tell(b, Message{Kind: Send, Engine: 2, Number: 1})
	next("send 2 1")
	tell(a, Message{Kind: Send, Engine: 2, Number: 15}) // not any more
	tell(a, Message{Kind: Send, Engine: 1, Number: 14})
	next("send 1 14")
	l.Ended(2, 9)
	hears(b, Message{Kind: End, Engine: 2, Number: 9})
	tell(b, Message{Kind: Claim, Engine: 2}) // as one that has not heard it
	hears(b, Message{Kind: End, Engine: 2, Number: 9})
	tell(b, Message{Kind: Known, Engine: 2})
	tell(b, Message{Kind: Claim, Engine: 2})
	hears(b, Message{Kind: End, Engine: 2, Number: uint32(unknown)})
	unix.Close(a)
	next("drop 3") // which did not run
	tell(b, Message{Kind: Claim, Engine: 1})
	tell(b, Message{Kind: Send, Engine: 1, Number: 14})
	next("send 1 14")
	l.End()
	tell(b, Message{Kind: Take, Engine: 13, Texts: Pack([]string{"z"}, nil), FDs: fit})
	hears(b, Message{Kind: Refused, Engine: 13, Number: 1})
	l.Ended(1, 0)
	next("quit") // though b has not said that it has nothing more
	hears(b, Message{Kind: End, Engine: 1})
}

// pair2 is a socket pair of which the test closes one end and a link the other.
func pair2(t *testing.T) (ours, its int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p[0], p[1]
}
