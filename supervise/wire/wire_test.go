package wire

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What an end has sent before it went is received, also where it went without
// having read what was sent to it: runsvdir that gets HUP has all services exit
// and ends at once, whatever the core has to say meanwhile.
func TestLinkLastWords(t *testing.T) {
	scanner, core, _ := Pair()
	defer core.Close()
	core.Send(Message{Word: "keep", Arg: "1:2"})
	for _, name := range []string{"a name", "another"} {
		if _, err := scanner.Send(Message{Word: "drop", Arg: "1:2", Arg2: "0", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	scanner.Close()
	for _, name := range []string{"a name", "another"} {
		if m, err := core.Receive(); err != nil || len(m) != 1 || m[0].Word != "drop" || m[0].Name != name {
			t.Errorf("received %+v, %v, want drop of %q", m, err, name)
		}
	}
	if m, err := core.Receive(); err != io.EOF {
		t.Errorf("received %+v, %v, want the end", m, err)
	}
}

// Messages are sent many at a time, in several packets where one is too small
// for them; each has the descriptors that it was sent with.
func TestLinkPackets(t *testing.T) {
	from, to, _ := Pair()
	var files []int
	for range 9 {
		fd, err := unix.MemfdCreate("link", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		files = append(files, fd)
	}
	var want, got []Message
	for i := range 200 {
		m := Message{Word: "add", Arg: strconv.Itoa(i), Arg2: "true,", Name: strings.Repeat(" \n\xff", i%85)}
		m.FDs = files[:i%(len(files)+1)]
		want = append(want, m)
	}
	go func() {
		if _, err := from.Send(want...); err != nil {
			t.Error(err)
		}
		from.Close()
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
		ms, err := to.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packets++
		got = append(got, ms...)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Message{}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".FDs" }, cmp.Comparer(same))); diff != "" {
		t.Errorf("-sent +received:\n%s", diff)
	}
	if packets < 3 || packets > 20 {
		t.Errorf("%d packets for %d messages", packets, len(want))
	}
	for _, m := range got {
		for _, fd := range m.FDs {
			unix.Close(fd)
		}
	}
	to.Close()
}

// A link that somebody else holds open still ends: with what was sent before.
func TestLinkWaitsNoMore(t *testing.T) {
	scanner, core, _ := Pair()
	for i := range 100 {
		core.Send(Message{Word: "gone", Arg: strconv.Itoa(i), Arg2: "0"})
	}
	got := make(chan Received)
	go Listen(scanner, got)
	var all []string
	for len(all) < 10 {
		for _, m := range (<-got).Messages {
			all = append(all, m.Arg)
		}
	}
	scanner.WaitNoMore()
	for {
		l := <-got
		for _, m := range l.Messages {
			all = append(all, m.Arg)
		}
		if l.Err != nil {
			break
		}
	}
	if len(all) != 100 || all[99] != "99" {
		t.Errorf("%d messages: %v", len(all), all)
	}
	core.Send(Message{Word: "gone"}) // it is still open
	core.Close()
}
