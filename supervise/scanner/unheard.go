//go:build !slim

package scanner

import (
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

// heardOut closes the pipes in which there is nothing left, unless some are still on their way
// to a core.
func (s *Scanner) heardOut() {
	if len(s.outgoing.unheard) > 0 {
		return
	}
	var left []unheard
	for _, u := range s.unheard {
		if hasLines(u.fd) {
			left = append(left, u)
		} else {
			unix.Close(u.fd)
		}
	}
	s.unheard = left
}

func hasLines(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// sendUnheard gives them to a core that was started.
func (s *Scanner) sendUnheard() {
	o := &s.outgoing
	for s.link != nil && !o.waits && len(o.unheard) > 0 {
		u := o.unheard[0]
		sent, err := s.link.Send(wire.Message{Word: "said", Arg: "0", Arg2: "0", Name: u.name, FDs: []int{u.fd}})
		o.unheard = o.unheard[sent:]
		s.retry(err)
	}
}
