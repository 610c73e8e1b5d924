// Package loghost is the line by which log services share a process: what the core of a
// tree, the processes of log services and the hosts of their engines tell each other, and
// how the kernel tells who may share. The core's part of it is in package core.
//
// A log service that becomes svlogd asks the core, its parent, before it reads a byte. If
// a host of the same identity runs in this tree, that gets its descriptors, options and
// environment, and it ends: it goes on as an engine of the host. Otherwise it becomes one.
package loghost

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"runitbox/supervise/wire"
)

// What is told, over sockets that keep the bounds of packets: each packet is one message.
const (
	Ask     = 'A' // from a log service: is there a host? Its input, directory and stderr come along
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
	Kind    byte
	Engine  uint32
	Number  uint32
	Options []string
	Env     []string
	FDs     []int
	Rest    []byte // as encoded, of one that is only passed on: then there are no Options and no Env
}

// messageMax is more than any message may have, and headSize what comes before its
// strings: a kind, the number of an engine, another number, and how many options and
// strings of an environment follow, each with a NUL behind it.
const (
	messageMax = 128 << 10
	headSize   = 17
)

var errMessage = errors.New("a message that makes no sense")

// bytes is an encoded message.
func (m Message) bytes() []byte {
	b := binary.LittleEndian.AppendUint32([]byte{m.Kind}, m.Engine)
	if m.Rest != nil {
		return append(b, m.Rest...)
	}
	for _, n := range [...]int{int(m.Number), len(m.Options), len(m.Env)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, texts := range [...][]string{m.Options, m.Env} {
		for _, text := range texts {
			b = append(append(b, text...), 0)
		}
	}
	return b
}

// parse decodes a message.
func parse(b []byte) (m Message, err error) {
	if len(b) < headSize || len(b) > messageMax {
		return m, errMessage
	}
	var n [4]uint32
	for i := range n {
		n[i] = binary.LittleEndian.Uint32(b[1+4*i:])
	}
	m.Kind, m.Engine, m.Number = b[0], n[0], n[1]
	rest := b[headSize:]
	if uint64(n[2])+uint64(n[3]) > uint64(len(rest)) {
		return Message{}, errMessage
	}
	texts := make([]string, 0, n[2]+n[3])
	for range n[2] + n[3] {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return Message{}, errMessage
		}
		texts = append(texts, string(rest[:i]))
		rest = rest[i+1:]
	}
	if len(rest) > 0 {
		return Message{}, errMessage
	}
	m.Options, m.Env = texts[:n[2]:n[2]], texts[n[2]:]
	return m, nil
}

// Write sends a message over a socket. It does not wait.
func Write(fd int, m Message) error {
	b := m.bytes()
	if len(b) > messageMax {
		return unix.EMSGSIZE
	}
	var rights []byte
	if len(m.FDs) > 0 {
		rights = unix.UnixRights(m.FDs...)
	}
	for {
		err := unix.Sendmsg(fd, b, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// Read receives a message. It waits where the socket does. A packet that is no message has
// its descriptors closed.
func Read(fd int) (m Message, err error) {
	b, fds, err := receive(fd)
	if err == nil {
		m, err = parse(b)
	}
	if err != nil {
		CloseAll(fds)
		return m, err
	}
	m.FDs = fds
	return m, nil
}

// ReadPassing receives a message that is to be passed on, of which who gets it in the end
// is to make sense.
func ReadPassing(fd int) (m Message, err error) {
	b, fds, err := receive(fd)
	if err == nil && len(b) < headSize {
		err = errMessage
	}
	if err != nil {
		CloseAll(fds)
		return m, err
	}
	return Message{Kind: b[0], Engine: binary.LittleEndian.Uint32(b[1:]), FDs: fds, Rest: b[5:]}, nil
}

// descriptors is how many come with a message, at most.
const descriptors = 3

// receive receives a packet and the descriptors that come with it. There may be fewer than
// were sent, where no more can be open.
func receive(fd int) (b []byte, fds []int, err error) {
	var n, oobn int
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = size(fd)
	}
	if err != nil {
		return nil, nil, err
	}
	b = make([]byte, min(n, messageMax)+1)
	oob := make([]byte, unix.CmsgSpace(4*descriptors))
	for err = unix.EINTR; err == unix.EINTR; {
		n, oobn, err = wire.Recvmsg(fd, b, oob)
	}
	if err != nil {
		return nil, nil, err
	}
	if all, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for i := range all {
			some, _ := unix.ParseUnixRights(&all[i])
			fds = append(fds, some...)
		}
	}
	switch {
	case n == 0:
		return nil, fds, unix.EPIPE
	case n > messageMax:
		return nil, fds, errMessage
	}
	return b[:n], fds, nil
}

// size is how long the next packet is.
func size(fd int) (int, error) {
	n, _, no := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_PEEK|unix.MSG_TRUNC, 0, 0)
	if no != 0 {
		return 0, no
	}
	return int(n), nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Fits says whether the descriptors of a log service are what they are to be: a pipe, a
// directory, and standard error.
func Fits(fds []int) bool {
	return len(fds) == 3 && kind(stat(fds[0])) == unix.S_IFIFO && kind(stat(fds[1])) == unix.S_IFDIR
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
