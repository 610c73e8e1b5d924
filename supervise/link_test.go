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

// What does not go at once goes later, in its order, whatever kept it: no room since
// the other end reads nothing, or a kernel that is short of something.
func TestLinkTriesAgain(t *testing.T) {
	for _, no := range []unix.Errno{unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.ETOOMANYREFS, unix.EINTR} {
		t.Run(no.Error(), func(t *testing.T) {
			c := bareCore(t)
			core, scanner := linkPair(t)
			c.link = core
			fails := 3
			core.sendmsg = func(fd int, text, rights []byte) error {
				if fails--; fails >= 0 {
					return no
				}
				return sendmsg(fd, text, rights)
			}
			const n = 100
			for i := range n {
				c.report(message{word: "seen", a: strconv.Itoa(i), b: "0"})
			}
			for got := 0; got < n; {
				ms, err := scanner.receive()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms {
					if m.word != "seen" || m.a != strconv.Itoa(got) {
						t.Fatalf("%+v, want the end of %d", m, got)
					}
					got++
				}
			}
		})
	}
}

// A core whose scanner reads nothing goes on, and has the scanner keep the
// descriptors as they are when that reads again.
func TestKeepLater(t *testing.T) {
	c := bareCore(t)
	core, scanner := linkPair(t)
	c.link = core
	for { // until there is no room
		if _, err := core.send(message{word: "seen", a: strings.Repeat("9", 900), b: "0"}); err != nil {
			break
		}
	}
	s := newService(c, "web", "key", Dir{-1})
	c.services["key"] = s
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	s.main.control = p[0]
	over := make(chan struct{})
	go func() { c.keep(s); close(over) }()
	<-over                // it does not wait
	s.main.control = p[1] // what was to be kept is not any more
	unix.Close(p[0])
	go s.work(nil)
	for {
		ms, err := scanner.receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			if m.word != "keep" {
				continue
			}
			var a, b unix.Stat_t
			if m.a != "key" || len(m.fds) == 0 || unix.Fstat(m.fds[len(m.fds)-1], &a) != nil || unix.Fstat(p[1], &b) != nil || a.Ino != b.Ino {
				t.Errorf("%+v", m)
			}
			return
		}
	}
}

// A scanner tells its core what is so when it is told, in order, however late that
// is: one message for each entry at most waits, and nothing that has no room is lost.
func TestOutgoing(t *testing.T) {
	for _, no := range []unix.Errno{unix.EAGAIN, unix.ENOBUFS, unix.ETOOMANYREFS} {
		t.Run(no.Error(), func(t *testing.T) {
			scanner, core := linkPair(t)
			s := &Scanner{entries: map[string]*entry{}, idle: map[*entry]bool{}, link: scanner}
			s.outgoing.room = make(chan struct{}, 1)
			fails := 5
			scanner.sendmsg = func(fd int, text, rights []byte) error {
				if fails--; fails >= 0 {
					return no
				}
				return sendmsg(fd, text, rights)
			}
			fd, err := unix.MemfdCreate("entry", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			const n = 300
			for i := range n {
				e := &entry{key: strconv.Itoa(i), name: "s" + strconv.Itoa(i), fds: []int{fd}}
				s.entries[e.key] = e
				s.offer(e)
				if i%3 == 0 { // and is gone again
					e.dropped = true
					s.owe(e)
				}
			}
			if err := s.tell("died", "7", "0"); err == nil {
				t.Error("an end was told before what it may be about")
			}
			if len(s.outgoing.queue) > n {
				t.Errorf("%d wait", len(s.outgoing.queue))
			}
			for len(s.outgoing.queue) > 0 {
				<-s.outgoing.room
				s.outgoing.waits = false
				s.send()
			}
			scanner.close()
			state := map[string]string{}
			for {
				ms, err := core.receive()
				if err != nil {
					break
				}
				for _, m := range ms {
					switch m.word {
					case "add":
						if len(m.fds) != 1 || state[m.a] != "" {
							t.Errorf("%+v after %q", m, state[m.a])
						}
						unix.Close(m.fds[0])
						if state[m.a] = "up"; strings.HasPrefix(m.b, stateDropped+",") {
							state[m.a] = "dropped"
						}
					case "drop":
						state[m.a] = "dropped"
					}
				}
			}
			for i := range n {
				want := "up"
				if i%3 == 0 {
					want = "dropped"
				}
				if got := state[strconv.Itoa(i)]; got != want {
					t.Errorf("the core takes %d for %q, want %q", i, got, want)
				}
			}
		})
	}
}

// A link that somebody else holds open still ends: with what was sent before.
func TestLinkWaitsNoMore(t *testing.T) {
	scanner, core := linkPair(t)
	for i := range 100 {
		core.send(message{word: "gone", a: strconv.Itoa(i), b: "0"})
	}
	got := make(chan letter)
	go scanner.listen(got)
	var all []string
	for len(all) < 10 {
		for _, m := range (<-got).messages {
			all = append(all, m.a)
		}
	}
	scanner.waitNoMore()
	for {
		l := <-got
		for _, m := range l.messages {
			all = append(all, m.a)
		}
		if l.err != nil {
			break
		}
	}
	if len(all) != 100 || all[99] != "99" {
		t.Errorf("%d messages: %v", len(all), all)
	}
	core.send(message{word: "gone"}) // it is still open
	core.close()
}
