package supervise

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// linkPair is both ends of a link.
func linkPair(t *testing.T) (a, b *link) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return newLink(pair[0]), newLink(pair[1])
}

// What an end has sent before it went is received, also where it went without
// having read what was sent to it: runsvdir that gets HUP has all services exit
// and ends at once, whatever the core has to say meanwhile.
func TestLinkLastWords(t *testing.T) {
	scanner, core := linkPair(t)
	defer core.close()
	core.send(message{word: "keep", a: "1:2"})
	for _, name := range []string{"a name", "another"} {
		if _, err := scanner.send(message{word: "drop", a: "1:2", b: "0", name: name}); err != nil {
			t.Fatal(err)
		}
	}
	scanner.close()
	for _, name := range []string{"a name", "another"} {
		if m, err := core.receive(); err != nil || len(m) != 1 || m[0].word != "drop" || m[0].name != name {
			t.Errorf("received %+v, %v, want drop of %q", m, err, name)
		}
	}
	if m, err := core.receive(); err != io.EOF {
		t.Errorf("received %+v, %v, want the end", m, err)
	}
}

// Messages are sent many at a time, in several packets where one is too small
// for them; each has the descriptors that it was sent with.
func TestLinkPackets(t *testing.T) {
	from, to := linkPair(t)
	var files []int
	for range 9 {
		fd, err := unix.MemfdCreate("link", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		files = append(files, fd)
	}
	var want, got []message
	for i := range 200 {
		m := message{word: "add", a: strconv.Itoa(i), b: "true,", name: strings.Repeat(" \n\xff", i%85)}
		m.fds = files[:i%(len(files)+1)]
		want = append(want, m)
	}
	go func() {
		if _, err := from.send(want...); err != nil {
			t.Error(err)
		}
		from.close()
	}()
	same := func(a, b []int) bool {
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			var x, y unix.Stat_t
			if unix.Fstat(a[i], &x) != nil || unix.Fstat(b[i], &y) != nil || x.Ino != y.Ino {
				return false
			}
		}
		return true
	}
	packets := 0
	for {
		ms, err := to.receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packets++
		got = append(got, ms...)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".fds" }, cmp.Comparer(same))); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
	if packets < 3 || packets > 20 {
		t.Errorf("%d packets for %d messages", packets, len(want))
	}
	for _, m := range got {
		for _, fd := range m.fds {
			unix.Close(fd)
		}
	}
	to.close()
}
