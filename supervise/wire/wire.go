// Package wire is the line between the scanner and the core: messages with descriptors
// over a socketpair. What they say is told at Link.
package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Link is the line between the scanner and the core: a socketpair that keeps
// the bounds of its packets. A message is a word, up to two arguments, how many
// descriptors go with it, and, last since it may hold any other byte, a name. A
// packet is of several messages with NULs between them.
//
// From the scanner:
//
//	add KEY STATE,TAGS FDS NAME
//	                   supervise the directory that comes along; behind it
//	                   what was kept of it. STATE true: and have it exit;
//	                   waits: and do not start it before it is ready
//	drop KEY 0         have it exit; in place of 0, where all are dropped, for how many
//	                   milliseconds those exit first that need others
//	ready KEY 0        what was missing for its start is there
//	died PID STATUS 0 USAGE
//	                   a child that the scanner inherited has ended; USAGE is what it has
//	                   used (proc.Usage)
//	stop MILLISECONDS 0
//	                   have all exit, and kill at the deadline what has not
//	said 0 0 NAME      the pipe of a service that was let go comes along: hand on what is in
//	                   it, if that is to be done
//	guards 0 0         what the core before has watched supervise directories with comes along
//	last NUMBER 0      the scanner is about to end: say it back when all before is read
//	quit 0 0           end without touching a process: another core takes over
//
// From the core:
//
//	keep KEY TAGS      keep these descriptors until gone, for the next core,
//	                   in place of those before; TAGS, parted by commas, are
//	                   what they are
//	gone KEY STATUS    the service is let go, and nothing of it runs, as far as it can be
//	                   told; 111: it could not be opened, 24: for want of
//	                   descriptors. 11: it could not be opened at present, and
//	                   something of it may run: what is kept is kept then
//	seen PID 0         the death is recorded, the corpse may be reaped
//	thread TID 0       the thread by which the core's end is seen
//	guards 0 0         keep what comes along for the next core
//	last NUMBER 0      all is read that the scanner has sent before it sent the same
//	over STATUS 0 NAME an essential service has ended for good: the tree is to
//	                   stop, and runsvdir to exit with STATUS
//
// Nobody waits for the other end to read: what does not go at once stays with
// who has it to say, and is sent, in its order, when the link takes it.
type Link struct {
	file     *os.File // in the runtime's poller
	conn     syscall.RawConn
	mu       sync.Mutex                              // one sender at a time
	Sendmsg  func(fd int, text, rights []byte) error // sendmsg(2), where no test has another
	text     []byte                                  // of the one who sends
	buf, oob []byte                                  // of the one who receives
}

// New takes one end of the socketpair.
func New(fd int) *Link {
	l := &Link{Sendmsg: sendmsg}
	l.file, l.conn = InPoller(fd, "link")
	return l
}

// Pair is both ends of a link, in one process.
func Pair() (a, b *Link, err error) {
	var fds [2]int
	if fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, nil, err
	}
	return New(fds[0]), New(fds[1]), nil
}

// InPoller hands a descriptor to the runtime's poller: who waits for it holds no
// thread.
func InPoller(fd int, name string) (*os.File, syscall.RawConn) {
	unix.SetNonblock(fd, true)
	file := os.NewFile(uintptr(fd), name)
	conn, _ := file.SyscallConn() // of a file that was just made
	return file, conn
}

// Close closes this end.
func (l *Link) Close() { l.file.Close() }

// Message is one message and the descriptors that come with it.
type Message struct {
	Word, Arg, Arg2, Name string
	FDs                   []int
	Lost                  bool // descriptors that have not come along, for want of room
}

// What one packet holds, at most: messages, bytes (a name has 255), and
// descriptors (of which the kernel takes 253).
const (
	BatchMax = 32
	linkMax  = 16 << 10
	fdsMax   = 240
)

// Send sends messages, in as few packets as they take, and says how many of them
// have gone; err is what kept the next from it. It never waits: where there is no
// room the error is EAGAIN.
func (l *Link) Send(ms ...Message) (sent int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text[:0]
	defer func() { l.text = text[:0] }()
	var fds []int
	for i, m := range ms {
		if len(text) > 0 {
			text = append(text, 0)
		}
		text = append(append(append(append(append(text, m.Word...), ' '), m.Arg...), ' '), m.Arg2...)
		text = strconv.AppendInt(append(text, ' '), int64(len(m.FDs)), 10)
		text = append(append(text, ' '), m.Name...)
		fds = append(fds, m.FDs...)
		if i+1 < len(ms) && len(fds)+len(ms[i+1].FDs) <= fdsMax && len(text)+messageMax <= linkMax {
			continue
		}
		if err := l.sendPacket(text, fds); err != nil {
			return sent, err
		}
		sent = i + 1
		text, fds = text[:0], fds[:0]
	}
	return sent, nil
}

// messageMax is more than any one message takes.
const messageMax = 1024

func (l *Link) sendPacket(text []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	var err error
	if e := l.conn.Control(func(fd uintptr) {
		for err = unix.EINTR; err == unix.EINTR; {
			err = l.Sendmsg(int(fd), text, rights)
		}
	}); e != nil {
		return unix.EPIPE // it is closed
	}
	return err
}

func sendmsg(fd int, text, rights []byte) error {
	return unix.Sendmsg(fd, text, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
}

// IsOver says whether an error of send is the end of the link: nothing can be
// sent any more. Every other passes.
func IsOver(err error) bool { return err == unix.EPIPE || err == unix.ECONNRESET }

// Await waits until there is a point in sending again what err has kept from
// being sent: until the other end has read something, or, where the kernel is
// short of memory or has too many descriptors on their way, for a time that
// doubles with each try, up to a second.
func (l *Link) Await(err error, try int) {
	if err != unix.EAGAIN {
		time.Sleep(min(time.Second, 10*time.Millisecond<<min(try, 10)))
		return
	}
	l.conn.Write(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// Recvmsg is recvmsg(2) without the sender's address: Recvmsg of package unix
// brings the code for each kind of address that there is.
func Recvmsg(fd int, buf, oob []byte) (n, on int, err error) {
	iov := unix.Iovec{Base: &buf[0]}
	iov.SetLen(len(buf))
	msg := unix.Msghdr{Iov: &iov, Control: &oob[0]}
	msg.SetIovlen(1)
	msg.SetControllen(len(oob))
	r, _, no := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_CMSG_CLOEXEC)
	if no != 0 {
		return 0, 0, no
	}
	return int(r), int(msg.Controllen), nil
}

// WaitNoMore has receive read what is there and then end, also where the other end
// is still open: a process that its owner was about to make may hold it for as
// long as a disk likes.
func (l *Link) WaitNoMore() { l.file.SetReadDeadline(time.Unix(1, 0)) }

// Receive waits for a packet; io.EOF says that the other end is gone. Where
// there was no room for all descriptors, the last are missing.
func (l *Link) Receive() ([]Message, error) {
	if l.buf == nil {
		l.buf, l.oob = make([]byte, linkMax), make([]byte, unix.CmsgSpace(4*fdsMax))
	}
	var n, on int
	var err error
	for {
		e := l.conn.Read(func(fd uintptr) bool {
			n, on, err = Recvmsg(int(fd), l.buf, l.oob)
			return err != unix.EAGAIN
		})
		if errors.Is(e, os.ErrDeadlineExceeded) { // what was sent before is read all the same
			e = l.conn.Control(func(fd uintptr) { n, on, err = Recvmsg(int(fd), l.buf, l.oob) })
		}
		if e != nil {
			return nil, e
		}
		// The other end went without reading all that was sent to it: that is
		// told once, before what it has sent itself.
		if err != unix.EINTR && err != unix.ECONNRESET {
			break
		}
	}
	if err != nil && err != unix.EAGAIN {
		return nil, err
	}
	if n <= 0 {
		return nil, io.EOF
	}
	var fds []int
	if on > 0 {
		if cs, err := unix.ParseSocketControlMessage(l.oob[:on]); err == nil {
			for i := range cs {
				if more, err := unix.ParseUnixRights(&cs[i]); err == nil {
					fds = append(fds, more...)
				}
			}
		}
	}
	ms := make([]Message, 0, 1+bytes.Count(l.buf[:n], []byte{0}))
	for text := range strings.SplitSeq(string(l.buf[:n]), "\x00") {
		var m Message
		var count string
		m.Word, text, _ = strings.Cut(text, " ")
		m.Arg, text, _ = strings.Cut(text, " ")
		m.Arg2, text, _ = strings.Cut(text, " ")
		count, m.Name, _ = strings.Cut(text, " ")
		k, _ := strconv.Atoi(count)
		m.Lost = k > len(fds)
		k = min(max(k, 0), len(fds))
		m.FDs, fds = fds[:k:k], fds[k:]
		ms = append(ms, m)
	}
	for _, fd := range fds { // that no message told of
		unix.Close(fd)
	}
	return ms, nil
}

// The status of gone of a service that there are no descriptors for, and of one that cannot
// be opened at present, of which something may run.
const NoDescriptors, NotNow = "24", "11"

// TagSaid is the tag of the pipe that a service writes to whose lines the core hands on.
const TagSaid = "said"

// The states of a service that the scanner adds, beside none in particular.
const (
	StateExit  = "true"  // it is to exit
	StateWaits = "waits" // it is not to be started before it is ready
)

// Received is what came from a core, or its end.
type Received struct {
	Messages []Message
	Err      error
}

// Listen hands on what comes until nothing can come any more.
func Listen(l *Link, mail chan<- Received) {
	for {
		ms, err := l.Receive()
		mail <- Received{ms, err}
		if err != nil {
			return
		}
	}
}
