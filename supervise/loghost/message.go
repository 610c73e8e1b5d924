// Package loghost is the line by which log services share a process: what the core of a
// tree, the processes of log services and the hosts of their engines tell each other, and
// how the kernel tells who may share. The core's part of it is in package core.
//
// A log service that becomes svlogd asks the core, its parent, before it reads a byte. If
// a host of the same identity runs in this tree, that gets its descriptors, options and
// environment, and it ends: it goes on as an engine of the host. Otherwise it becomes one.
// One that is a link to rsvlog first asks the core to settle what it would, so that it need
// not: where that is not plain, or there is no host, it does so, and asks as svlogd.
package loghost

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// What is told, over sockets that keep the bounds of packets: each packet is one message.
const (
	Ask     = 'A' // from a log service: is there a host? Its input, directory and stderr come along
	Settle  = 'L' // from one that is a link to rsvlog: the same, and find out for me where I log, and as whom
	Stay    = 'N' // to it: no, and do not become one
	Host    = 'H' // to it: be a host, this is your first engine
	Soon    = 'W' // to it: another has it all, and that is being recorded
	Go      = 'G' // to it: that is recorded, end
	Take    = 'T' // to a host: take what came along; the number of the engine is one of the core's
	Taken   = 'K' // from it: I have, and call it by this number
	Refused = 'F' // from it: I cannot; a number says that I am to end, and take no more
	Run     = 'R' // to it: let the engine run
	Send    = 'S' // to it: send the engine a signal; KILL to one that does not run: forget it
	Claim   = 'C' // to it: the engine is this core's, which follows another
	End     = 'E' // from it: the engine has ended; the number is a wait status
	Known   = 'D' // to it: that is recorded
	Quit    = 'Q' // to it: this core has no engine here
)

// Message is one message.
type Message struct {
	Kind           byte
	Engine, Number uint32
	Texts          []byte // of Ask, Settle and Take, as Pack makes them
	FDs            []int
}

// messageMax is more than any message may have. At its begin are the kind and two numbers,
// and then texts, of which the first countSize bytes are there in any case.
const (
	messageMax = 128 << 10
	textsAt    = 9
	countSize  = 8
	headSize   = textsAt + countSize
)

var errMessage = errors.New("a message that makes no sense")

// Pack puts options and an environment into one: how many of each there are, and then
// each with a NUL behind it.
func Pack(options, env []string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(options)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(env)))
	for _, texts := range [...][]string{options, env} {
		for _, text := range texts {
			b = append(append(b, text...), 0)
		}
	}
	return b
}

// Unpack takes apart what Pack has made.
func Unpack(b []byte) (options, env []string, err error) {
	if len(b) < countSize {
		return nil, nil, errMessage
	}
	first, all := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	all += first
	b = b[countSize:]
	if all > uint64(len(b)) {
		return nil, nil, errMessage
	}
	texts := make([]string, all)
	for n := range texts {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return nil, nil, errMessage
		}
		texts[n], b = string(b[:i]), b[i+1:]
	}
	if len(b) > 0 {
		return nil, nil, errMessage
	}
	return texts[:first:first], texts[first:], nil
}

// Write sends a message over a socket. It does not wait.
func Write(fd int, m Message) error {
	b := make([]byte, headSize, headSize+len(m.Texts))
	b[0] = m.Kind
	binary.LittleEndian.PutUint32(b[1:], m.Engine)
	binary.LittleEndian.PutUint32(b[5:], m.Number)
	if m.Texts != nil {
		b = append(b[:textsAt], m.Texts...)
	}
	if len(b) > messageMax {
		return unix.EMSGSIZE
	}
	var rights []byte
	if m.FDs != nil {
		rights = unix.UnixRights(m.FDs...)
	}
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Sendmsg(fd, b, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	}
	return err
}

// descriptors is how many come with a message, at most.
const descriptors = 3

// Read receives a message. It waits where the socket does. There may be fewer descriptors
// than were sent, where no more can be open; those of a packet that is no message are closed.
func Read(fd int) (m Message, err error) {
	n, err := size(fd)
	if err != nil {
		return m, err
	}
	b := make([]byte, min(n, messageMax)+1)
	oob := make([]byte, unix.CmsgSpace(4*descriptors))
	n, oobn, err := wire.Recvmsg(fd, b, oob)
	if err != nil {
		return m, err
	}
	if all, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for i := range all {
			some, _ := unix.ParseUnixRights(&all[i])
			m.FDs = append(m.FDs, some...)
		}
	}
	switch {
	case n == 0:
		err = unix.EPIPE
	case n < headSize, n > messageMax:
		err = errMessage
	default:
		m.Kind, m.Engine, m.Number, m.Texts = b[0], binary.LittleEndian.Uint32(b[1:]), binary.LittleEndian.Uint32(b[5:]), b[textsAt:n]
		return m, nil
	}
	sys.CloseAll(m.FDs)
	return Message{}, err
}

// size is how long the next packet is.
func size(fd int) (int, error) {
	no := unix.EINTR
	var n uintptr
	for no == unix.EINTR {
		n, _, no = unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_PEEK|unix.MSG_TRUNC, 0, 0)
	}
	if no != 0 {
		return 0, no
	}
	return int(n), nil
}

// Fits says whether the descriptors of a log service are what they are to be: a pipe, a
// directory, and standard error.
func Fits(fds []int) bool {
	return len(fds) == descriptors && kind(stat(fds[0])) == unix.S_IFIFO && kind(stat(fds[1])) == unix.S_IFDIR
}

// SamePipe says whether two descriptors are of one pipe.
func SamePipe(a, b int) bool {
	x, y := stat(a), stat(b)
	return kind(x) == unix.S_IFIFO && kind(y) == unix.S_IFIFO && x.Ino == y.Ino && x.Dev_major == y.Dev_major && x.Dev_minor == y.Dev_minor
}

// stat is what is known of what a descriptor leads to; nothing where that cannot be told.
// A file system is not asked for it: it may not answer.
func stat(fd int) (st unix.Statx_t) {
	unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st)
	return st
}

func kind(st unix.Statx_t) uint16 { return st.Mode & unix.S_IFMT }
