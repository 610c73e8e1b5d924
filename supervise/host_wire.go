package supervise

import (
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// What the core of a tree, its log services and their hosts tell each other, over
// sockets that keep the bounds of packets. Each packet is one message: a kind, the
// number of an engine, another number, how many arguments and strings of an
// environment follow, and these, each with a NUL behind it.
const (
	wireAsk   = 'A' // from a log service: is there a host for this one? Its input, directory and stderr come along
	wireStay  = 'N' // to it: no
	wireHost  = 'H' // to it: be a host, this is your first engine
	wireGo    = 'G' // to it: another has it all, end
	wireTake  = 'T' // to a host: take this engine, with what came along
	wireTaken = 'K' // from it: I have
	wireRun   = 'R' // to it: let it run
	wireSend  = 'S' // to it: send the engine a signal
	wireEnd   = 'E' // from it: the engine has ended; the number is a wait status
	wireHas   = 'I' // from a host, to a core that has followed another: I have this engine
	wireAll   = 'L' // and that was the last
	wireQuit  = 'Q' // to it: end, there is nothing more to come
)

// wireMessage is one message.
type wireMessage struct {
	kind   byte
	engine uint32
	number uint32
	args   []string
	env    []string
	fds    []int
	rest   []byte // as encoded, of one that is only passed on: then args and env are empty
}

// wireMax is more than any message may have.
const wireMax = 128 << 10

// wireHead is the size of what comes before the strings.
const wireHead = 17

var errWire = errors.New("a message that makes no sense")

// parts are the two parts of an encoded message.
func (m wireMessage) parts() (head, rest []byte) {
	if m.rest != nil {
		return binary.LittleEndian.AppendUint32([]byte{m.kind}, m.engine), m.rest
	}
	b := append(make([]byte, 0, 64), m.kind)
	for _, n := range []uint32{m.engine, m.number, uint32(len(m.args)), uint32(len(m.env))} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for _, text := range slices.Concat(m.args, m.env) {
		b = append(append(b, text...), 0)
	}
	return b, nil
}

// bytes is the whole message.
func (m wireMessage) bytes() []byte { return slices.Concat(m.parts()) }

// parseWire decodes a message.
func parseWire(b []byte) (m wireMessage, err error) {
	if len(b) < wireHead || len(b) > wireMax {
		return m, errWire
	}
	var n [4]uint32
	for i := range n {
		n[i] = binary.LittleEndian.Uint32(b[1+4*i:])
	}
	m.kind, m.engine, m.number = b[0], n[0], n[1]
	rest := b[wireHead:]
	if uint64(n[2])+uint64(n[3]) > uint64(len(rest)) {
		return wireMessage{}, errWire
	}
	for _, list := range []struct {
		to *[]string
		n  uint32
	}{{&m.args, n[2]}, {&m.env, n[3]}} {
		for range list.n {
			i := slices.Index(rest, 0)
			if i < 0 {
				return wireMessage{}, errWire
			}
			*list.to = append(*list.to, string(rest[:i]))
			rest = rest[i+1:]
		}
	}
	if len(rest) > 0 {
		return wireMessage{}, errWire
	}
	return m, nil
}

// sendWire sends a message. It does not wait.
func sendWire(fd int, m wireMessage) error {
	head, rest := m.parts()
	if len(head)+len(rest) > wireMax {
		return unix.EMSGSIZE
	}
	var rights []byte
	if len(m.fds) > 0 {
		rights = unix.UnixRights(m.fds...)
	}
	for {
		_, err := unix.SendmsgBuffers(fd, [][]byte{head, rest}, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// receiveWire receives a message, with room for it in buf. What makes no sense has its
// descriptors closed.
func receiveWire(fd int, buf []byte, flags int) (m wireMessage, err error) {
	b, fds, err := receivePacket(fd, buf, flags)
	if err == nil {
		m, err = parseWire(b)
	}
	if err != nil {
		closeAll(fds)
		return m, err
	}
	m.fds = fds
	return m, nil
}

// receivePassing receives a message that is to be passed on, the end of which is for
// who gets it in the end to make sense of.
func receivePassing(fd int, flags int) (m wireMessage, err error) {
	n, _, err := unix.Recvfrom(fd, nil, flags|unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return m, err
	}
	b, fds, err := receivePacket(fd, make([]byte, min(n, wireMax)), flags)
	if err == nil && len(b) < wireHead {
		err = errWire
	}
	if err != nil {
		closeAll(fds)
		return m, err
	}
	return wireMessage{kind: b[0], engine: binary.LittleEndian.Uint32(b[1:]), fds: fds, rest: b[5:]}, nil
}

// receivePacket receives a packet and the descriptors that come with it.
func receivePacket(fd int, buf []byte, flags int) (b []byte, fds []int, err error) {
	var oob [64]byte // for no more than wireFDs
	var n, oobn, got int
	for err = unix.EINTR; err == unix.EINTR; {
		n, oobn, got, _, err = unix.Recvmsg(fd, buf, oob[:unix.CmsgSpace(4*wireFDs)], flags|unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return nil, nil, err
	}
	if cms, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for i := range cms {
			some, _ := unix.ParseUnixRights(&cms[i])
			fds = append(fds, some...)
		}
	}
	switch {
	case n == 0:
		err = unix.EPIPE
	case got&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errWire
	}
	return buf[:n], fds, err
}

// wireFDs is how many descriptors come with a message, at most.
const wireFDs = 3

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
