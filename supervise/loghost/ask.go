package loghost

import (
	"encoding/binary"
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
// the log service that this process is, with these arguments of svlogd. It gives away
// descriptors 0 and 2 and the working directory, of which dir is a handle. It may have been
// asked before this process had a runtime.
func AskCore(args []string, dir int) (Answer, *Link) {
	fd, peer := int(early.fd), early.peer
	if fd == 0 {
		var ok bool
		if fd, peer, ok = ask(args, dir); !ok {
			return Alone, nil
		}
	}
	answer, soon, err := Message{Kind: early.answer[0], Engine: binary.LittleEndian.Uint32(early.answer[1:])}, early.soon, error(nil)
	if answer.Kind == 0 {
		answer, err = await(fd, &soon)
	}
	switch {
	case err == nil && answer.Kind == Go, err != nil && soon: // of a core that has died nobody can tell what it has recorded: the service starts anew
		unix.Close(fd)
		return Gone, nil
	case err != nil, answer.Kind != Host:
		unix.Close(fd)
		return Alone, nil
	}
	limit, _ := self.LowerFiles()
	l := newLink(answer.Engine, limit.Cur, peer.Uid, fd)
	limit.Cur = limit.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	return Hosts, l
}

// ask sends the question.
func ask(args []string, dir int) (fd int, peer unix.Ucred, ok bool) {
	core := os.Getppid()
	if core <= 1 {
		return -1, peer, false
	}
	me := uint32(os.Geteuid())
	if fd, peer, ok = Meet(core, AtCore, func(user uint32) bool { return user == 0 || user == me }); !ok {
		return -1, peer, false
	}
	// The kernel is to tell the limit of descriptors as it was given.
	if _, given := self.LowerFiles(); !given || Write(fd, Message{Kind: Ask, Texts: Pack(args, os.Environ()), FDs: []int{0, dir, 2}}) != nil {
		unix.Close(fd)
		return -1, peer, false
	}
	return fd, peer, true
}

// await waits for the answer.
func await(fd int, soon *bool) (answer Message, err error) {
	unix.SetNonblock(fd, false)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience})
	if answer, err = next(fd, soon); err != unix.EAGAIN {
		return answer, err
	}
	unix.Shutdown(fd, unix.SHUT_RDWR) // from here on nobody can answer; it may have been done just before
	if answer, err = next(fd, soon); err == unix.EPIPE {
		return Message{Kind: Stay}, nil
	}
	return answer, err
}

// next reads an answer. What comes before it is noted: that another has it all.
func next(fd int, soon *bool) (m Message, err error) {
	if m, err = Read(fd); err == nil && m.Kind == Soon {
		*soon = true
		m, err = Read(fd)
	}
	return m, err
}
