package supervise

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A core whose scanner reads nothing goes on, and has the scanner keep the
// descriptors as they are when that reads again.
func TestKeepLater(t *testing.T) {
	c := bareCore(t)
	core, scanner, _ := pair()
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

// What does not go at once goes later, in its order, whatever kept it: no room since
// the other end reads nothing, or a kernel that is short of something.
func TestLinkTriesAgain(t *testing.T) {
	for _, no := range []unix.Errno{unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.ETOOMANYREFS, unix.EINTR} {
		t.Run(no.Error(), func(t *testing.T) {
			c := bareCore(t)
			core, scanner, _ := pair()
			c.link = core
			fails := 3
			sendmsg := core.sendmsg
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
