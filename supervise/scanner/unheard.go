package scanner

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/wire"
)

// unheard is the pipe of a service that was let go, with lines that its core has not handed
// on yet. If that is killed the next core does.
type unheard struct {
	name string
	fd   int
}

// letGo closes what the core has given to keep of an entry, but for such a pipe.
func (s *Scanner) letGo(e *entry) {
	tags := strings.Split(e.tags, ",")
	for i, fd := range e.fds[1:] {
		if i < len(tags) && tags[i] == wire.TagSaid && hasLines(fd) {
			s.heardOut()
			s.unheard = append(s.unheard, unheard{e.name, fd})
		} else {
			unix.Close(fd)
		}
	}
	e.fds, e.tags = e.fds[:1], ""
}

// heardOut closes the pipes in which there is nothing left.
func (s *Scanner) heardOut() {
	s.unheard = slices.DeleteFunc(s.unheard, func(u unheard) bool {
		over := !hasLines(u.fd)
		if over {
			unix.Close(u.fd)
		}
		return over
	})
}

func hasLines(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// sendUnheard gives them to a core that was started.
func (s *Scanner) sendUnheard() {
	o := &s.outgoing
	for s.link != nil && !o.waits && len(o.unheard) > 0 {
		n := min(len(o.unheard), wire.BatchMax)
		ms := make([]wire.Message, 0, n)
		for _, u := range o.unheard[:n] {
			ms = append(ms, wire.Message{Word: "said", Arg: "0", Arg2: "0", Name: u.name, FDs: []int{u.fd}})
		}
		sent, err := s.link.Send(ms...)
		o.unheard = o.unheard[sent:]
		s.retry(err)
	}
}
