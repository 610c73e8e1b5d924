package loghost

import (
	"os"

	"golang.org/x/sys/unix"

	"runitbox/supervise/self"
)

// Answer is what becomes of a log service that has asked for a host.
type Answer int

// It stays a process for itself, or becomes the host of others too, or it is to end, since
// another has taken all.
const (
	Alone Answer = iota
	Hosts
	Gone
)

// patience is for how many seconds a core may be busy, or hang, until a log service does
// without.
const patience = 5

// AskCore asks the core of the tree, if it is this process's parent, whether a host runs
// the log service that this process is. It gives away descriptors 0 and 2 and the working
// directory, of which dir is a handle.
func AskCore(options []string, dir int) (Answer, *Link) {
	core := os.Getppid()
	if core <= 1 {
		return Alone, nil
	}
	me := uint32(os.Geteuid())
	fd, peer, ok := Meet(core, AtCore, func(user uint32) bool { return user == 0 || user == me })
	if !ok {
		return Alone, nil
	}
	limit, given := self.LowerFiles() // as the kernel is to tell it
	ask := Message{Kind: Ask, Texts: Pack(options, os.Environ()), FDs: []int{0, dir, 2}}
	if !given || Write(fd, ask) != nil {
		unix.Close(fd)
		return Alone, nil
	}
	unix.SetNonblock(fd, false)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience})
	soon := false
	answer, err := next(fd, &soon)
	if err == unix.EAGAIN { // from here on nobody can answer; it may have been done just before
		unix.Shutdown(fd, unix.SHUT_RDWR)
		if answer, err = next(fd, &soon); err == unix.EPIPE {
			answer, err = Message{Kind: Stay}, nil
		}
	}
	switch {
	case err == nil && answer.Kind == Go, err != nil && soon: // of a core that has died nobody can tell what it has recorded: the service starts anew
		unix.Close(fd)
		return Gone, nil
	case err != nil, answer.Kind != Host:
		unix.Close(fd)
		return Alone, nil
	}
	l := newLink(answer.Engine, limit.Cur, peer.Uid, fd)
	limit.Cur = limit.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	return Hosts, l
}

// next reads an answer. What comes before it is noted: that another has it all.
func next(fd int, soon *bool) (m Message, err error) {
	if m, err = Read(fd); err == nil && m.Kind == Soon {
		*soon = true
		m, err = Read(fd)
	}
	return m, err
}
