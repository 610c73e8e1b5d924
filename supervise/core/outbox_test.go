package core

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
	"runitbox/supervise/wire"
)

// A core whose scanner reads nothing goes on, and has the scanner keep the
// descriptors as they are when that reads again.
func TestKeepLater(t *testing.T) {
	c := bareCore(t)
	core, scanner, _ := wire.Pair()
	c.link = core
	for { // until there is no room
		if _, err := core.Send(wire.Message{Word: "seen", Arg: strings.Repeat("9", 900), Arg2: "0"}); err != nil {
			break
		}
	}
	s := newService(c, "web", "key", servicedir.Dir{FD: -1})
	c.services.add(s)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	s.main.control = p[0]
	over := make(chan struct{})
	go func() { c.stashNow(s); close(over) }()
	<-over                // it does not wait
	s.main.control = p[1] // what was to be kept is not any more
	unix.Close(p[0])
	go s.work(nil)
	for {
		ms, err := scanner.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			if m.Word != "keep" {
				continue
			}
			var a, b unix.Stat_t
			if m.Arg != "key" || len(m.FDs) == 0 || unix.Fstat(m.FDs[len(m.FDs)-1], &a) != nil || unix.Fstat(p[1], &b) != nil || a.Ino != b.Ino {
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
			core, scanner, _ := wire.Pair()
			c.link = core
			fails := 3
			sendmsg := core.Sendmsg
			core.Sendmsg = func(fd int, text, rights []byte) error {
				if fails--; fails >= 0 {
					return no
				}
				return sendmsg(fd, text, rights)
			}
			const n = 100
			for i := range n {
				c.report(wire.Message{Word: "seen", Arg: strconv.Itoa(i), Arg2: "0"})
			}
			for got := 0; got < n; {
				ms, err := scanner.Receive()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms {
					if m.Word != "seen" || m.Arg != strconv.Itoa(got) {
						t.Fatalf("%+v, want the end of %d", m, got)
					}
					got++
				}
			}
		})
	}
}
