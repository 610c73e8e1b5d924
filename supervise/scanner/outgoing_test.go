package scanner

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/wire"
)

// A scanner tells its core what is so when it is told, in order, however late that
// is: one message for each entry at most waits, and nothing that has no room is lost.
func TestOutgoing(t *testing.T) {
	for _, no := range []unix.Errno{unix.EAGAIN, unix.ENOBUFS, unix.ETOOMANYREFS} {
		t.Run(no.Error(), func(t *testing.T) {
			scanner, core, _ := wire.Pair()
			s := &Scanner{entries: map[string]*entry{}, idle: map[*entry]bool{}, link: scanner}
			s.outgoing.room = make(chan struct{}, 1)
			fails := 5
			sendmsg := scanner.Sendmsg
			scanner.Sendmsg = func(fd int, text, rights []byte) error {
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
					s.enqueue(e)
				}
			}
			if err := s.tell("died", "7", "0", ""); err == nil {
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
			scanner.Close()
			state := map[string]string{}
			for {
				ms, err := core.Receive()
				if err != nil {
					break
				}
				for _, m := range ms {
					switch m.Word {
					case "add":
						if len(m.FDs) != 1 || state[m.Arg] != "" {
							t.Errorf("%+v after %q", m, state[m.Arg])
						}
						unix.Close(m.FDs[0])
						if state[m.Arg] = "up"; strings.HasPrefix(m.Arg2, wire.StateExit+",") {
							state[m.Arg] = "dropped"
						}
					case "drop":
						state[m.Arg] = "dropped"
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
