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
// the log service that this process is, with these arguments of svlogd. It gives away
// descriptors 0 and 2 and the working directory, of which dir is a handle. It may have been
// done before the process had a runtime.
func AskCore(args []string, dir int) (Answer, *Link) {
	fd, peer := int(early.fd), early.peer
	if fd == 0 {
		var ok bool
		if fd, peer, ok = ask(args, dir); !ok {
			return Alone, nil
		}
	}
	switch kind := outcome(fd); kind {
	case Host:
		limit, _ := self.LowerFiles()
		l := newLink(limit.Cur, peer.Uid, fd)
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		return Hosts, l
	case Go:
		return Gone, nil
	default:
		unix.Close(fd)
		return Alone, nil
	}
}

// outcome is what is answered, or was before this process had a runtime.
func outcome(fd int) (kind byte) {
	var err error
	kind, soon := early.answer[0], early.soon
	if kind == 0 {
		kind, err = await(fd, &soon)
	}
	if err != nil && soon { // of a core that has died nobody can tell what it has recorded: the service starts anew
		kind = Go
	}
	return kind
}

// Settled says whether the core has settled all that a link to rsvlog does, and a host has
// its log, so that this process is to end. If the core was asked that, it was before there
// was a runtime.
func Settled() bool {
	if !early.settles {
		return false
	}
	fd := int(early.fd)
	kind := outcome(fd)
	unix.Close(fd)
	early.fd, early.settles, early.answer[0], early.soon = 0, false, 0, false // it may ask as svlogd yet
	return kind == Go
}

// ask sends the question.
func ask(args []string, dir int) (fd int, peer unix.Ucred, ok bool) {
	core, me := os.Getppid(), uint32(os.Geteuid())
	if core <= 1 {
		return -1, peer, false
	}
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

// await waits for the answer. What comes before it is noted: that another has it all.
func await(fd int, soon *bool) (kind byte, err error) {
	unix.SetNonblock(fd, false)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience})
	for late := false; ; {
		answer, err := Read(fd)
		switch {
		case err == unix.EAGAIN && !late: // from here on nobody can answer; it may have been done just before
			late = true
			unix.Shutdown(fd, unix.SHUT_RDWR)
		case err == nil && answer.Kind == Soon:
			*soon = true
		case err == unix.EPIPE && late:
			return Stay, nil
		default:
			return answer.Kind, err
		}
	}
}
