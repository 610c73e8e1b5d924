package supervise

import (
	"io"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// link is the line between the scanner and the core: a socketpair that keeps
// the bounds of its messages. A message is a word, up to two arguments and,
// last since it may hold anything, a name; with it go descriptors.
//
// From the scanner:
//
//	add KEY DROPPED,TAGS NAME
//	                   supervise (DROPPED true: and have exit) the directory
//	                   that comes along; behind it what was kept of it
//	drop KEY 0         have it exit
//	died PID STATUS    a child that the scanner inherited has ended
//	stop MILLISECONDS 0
//	                   have all exit, and kill at the deadline what has not
//	quit 0 0           end without touching a process: another core takes over
//
// From the core:
//
//	keep KEY TAGS      keep these descriptors until gone, for the next core,
//	                   in place of those before; TAGS, parted by commas, are
//	                   what they are
//	gone KEY STATUS    the service is let go; 111: it could not be opened,
//	                   24: for want of descriptors
//	seen PID 0         the death is recorded, the corpse may be reaped
type link struct {
	fd int
	mu sync.Mutex // one sender at a time
}

// message is one message and the descriptors that came with it.
type message struct {
	word, a, b, name string
	fds              []int
}

// linkMax is the longest message: a name has 255 bytes.
const linkMax = 1024

func (l *link) send(m message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := m.word + " " + m.a + " " + m.b + " " + m.name
	for {
		var rights []byte
		if len(m.fds) > 0 {
			rights = unix.UnixRights(m.fds...)
		}
		err := unix.Sendmsg(l.fd, []byte(text), rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// recvmsg is recvmsg(2) without the sender's address: Recvmsg of package unix
// brings the code for each kind of address that there is.
func recvmsg(fd int, buf, oob []byte) (n, on int, err error) {
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

// receive waits for a message; io.EOF says that the other end is gone.
func (l *link) receive() (message, error) {
	buf, oob := make([]byte, linkMax), make([]byte, unix.CmsgSpace(4*16))
	var n, on int
	var err error
	for {
		n, on, err = recvmsg(l.fd, buf, oob)
		// The other end went without reading all that was sent to it: that is
		// told once, before what it has sent itself.
		if err != unix.EINTR && err != unix.ECONNRESET {
			break
		}
	}
	if err != nil {
		return message{}, err
	}
	if n <= 0 {
		return message{}, io.EOF
	}
	var m message
	if on > 0 {
		if cs, err := unix.ParseSocketControlMessage(oob[:on]); err == nil {
			for i := range cs {
				if fds, err := unix.ParseUnixRights(&cs[i]); err == nil {
					m.fds = append(m.fds, fds...)
				}
			}
		}
	}
	f := strings.SplitN(string(buf[:n]), " ", 4)
	for len(f) < 4 {
		f = append(f, "")
	}
	m.word, m.a, m.b, m.name = f[0], f[1], f[2], f[3]
	return m, nil
}
