package child

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestChildTable: a child of a process that has many descriptors has room for a
// few, and the process has what it had.
func TestChildTable(t *testing.T) {
	seal(t)
	const most = 4
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	hs := NewSlots(null, most)
	if len(hs) != most {
		t.Fatalf("%d slots, want %d", len(hs), most)
	}
	defer func() {
		for range most {
			h := <-hs
			h.close(len(h.low))
		}
	}()
	var taken []*Slot
	for range most {
		taken = append(taken, hs.Take())
	}
	if extra := hs.Take(); extra.low[0] != 0 { // who comes when none is free
		t.Error("a slot more has descriptors")
	} else if hs.Put(extra); len(hs) != 0 {
		t.Error("it is among those that have")
	}
	for _, h := range taken {
		hs.Put(h)
	}
	high, err := unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, 900)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	var in, out [2]int
	for _, p := range []*[2]int{&in, &out} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
	}
	open := func() (fds []string) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			to, err := os.Readlink(l)
			if err == nil {
				fds = append(fds, l+" "+to)
			}
		}
		return fds
	}
	record, err := os.Create(filepath.Join(t.TempDir(), "record"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	for _, way := range ways(t) {
		for i := range 4 {
			session, full := i&1 != 0, i&2 != 0
			way.use()
			start := Child.Start
			if session {
				start = Child.StartInSession
			}
			c := Child{
				Path: "/bin/sh", Argv: []string{"sh", "-c", `read x; echo $x; for fd in /proc/$$/fd/*; do echo ${fd##*/}; done; sed -n s/^FDSize:.//p /proc/$$/status`},
				Env: []string{"PATH=/usr/bin:/bin"}, Files: []int{in[0], out[1], 2},
			}
			if full { // all that a child may have
				c.Files[2], c.Dir, c.Record, c.Notify, c.NotifyAs = high, root, int(record.Fd()), out[1], 7
			}
			before := open()
			unix.Write(in[1], []byte("hello\n"))
			h := hs.Take()
			pid, err := start(c, h, nil)
			if err != nil {
				hs.Put(h)
				t.Fatal(err)
			}
			whole := !bestWay().shares
			collect(pid)
			c.Path = "/nonexistent"
			if pid, err := start(c, h, nil); err != unix.ENOENT {
				t.Errorf("%s: pid %d, %v", way.name, pid, err)
			}
			hs.Put(h)
			if diff := cmp.Diff(before, open()); diff != "" {
				t.Errorf("%s: the descriptors of the process (-before +after):\n%s", way.name, diff)
			}
			var buf [512]byte
			n, _ := unix.Read(out[0], buf[:])
			// The shell has the directory that it lists.
			got := strings.ReplaceAll(string(buf[:max(n, 0)]), "\n3\n", "\n")
			want := "hello\n0\n1\n2\n"
			if full {
				want += "7\n"
			}
			if whole {
				want += "1024\n"
			} else {
				want += "64\n"
			}
			if got != want {
				t.Errorf("%s, session %t, full %t, whole %t: %q, want %q", way.name, session, full, whole, got, want)
			}
		}
	}
}

// TestCollectWhileHeld: a program that takes its time to be executed (its file is
// kept by a lease here) holds up neither a collection nor who else runs.
func TestCollectWhileHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "true")
	text, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tried := make(chan os.Signal, 1)
	signal.Notify(tried, unix.SIGIO)
	defer signal.Stop(tried)
	for { // another test's child may have it open for writing still
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			break
		}
		if err != unix.EAGAIN {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	made := make(chan error, 1)
	go func() {
		pid, err := (Child{Path: path, Argv: []string{"true"}, Files: []int{0, 1, 2}}).Start(nil, nil)
		if err == nil {
			_, err = unix.Wait4(pid, nil, 0, nil)
		}
		made <- err
	}()
	<-tried
	collected := make(chan bool)
	go func() {
		runtime.GC()
		close(collected)
	}()
	select {
	case <-collected:
	case <-time.After(20 * time.Second):
		t.Error("nothing is collected")
	}
	select {
	case err := <-made:
		t.Errorf("it was not held: %v", err)
	default:
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Error(err)
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
}

// TestSlotsFew: a slot that does not get all of its descriptors keeps none.
func TestSlotsFew(t *testing.T) {
	count := func() int {
		links, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(links)
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	before := count()
	for more := range uint64(6) { // one slot has all, or none, and the next some
		few := was
		few.Cur = uint64(before) + 6 + more
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		hs := NewSlots(null, 4)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
		if len(hs) == 4 {
			t.Fatal("the limit leaves room for all")
		}
		if taken := count() - before; taken != 6*len(hs) {
			t.Errorf("%d slots take %d descriptors", len(hs), taken)
		}
		for range len(hs) {
			h := <-hs
			h.close(len(h.low))
		}
	}
}
