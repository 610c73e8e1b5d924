// Package notice is by what clients know that a directory of service directories has a
// runsvdir: a datagram socket of an abstract name, which nobody reads and which is gone
// with its process. So a client can wait for a service that is to be seen there in a
// moment, and needs not wait for one below any other directory.
package notice

import (
	"encoding/binary"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notice is the socket of a runsvdir.
type Notice struct {
	dev, ino uint64
	fd       int // -1: there is none
}

// None is a notice that has not been put up.
func None() Notice { return Notice{fd: -1} }

// address is the address for a directory, as bind(2) takes it.
func address(dev, ino uint64) []byte {
	addr := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	addr = append(addr, "\x00runsvdir/"...)
	addr = append(strconv.AppendUint(addr, dev, 16), ':')
	return strconv.AppendUint(addr, ino, 16)
}

// Put has the notice be about the directory; where another has put up the same it
// is that one's until it goes.
func (n *Notice) Put(dev, ino uint64) {
	if n.fd >= 0 && n.dev == dev && n.ino == ino {
		return
	}
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.dev, n.ino, n.fd = dev, ino, socket(unix.SYS_BIND, dev, ino)
}

// socket binds a socket to the address, or connects it; -1 where that fails.
func socket(call uintptr, dev, ino uint64) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	addr := address(dev, ino)
	if _, _, no := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr))); no != 0 {
		unix.Close(fd)
		return -1
	}
	return fd
}

// IsUp says whether somebody has put up a notice about the directory.
func IsUp(dev, ino uint64) bool {
	fd := socket(unix.SYS_CONNECT, dev, ino)
	if fd < 0 {
		return false
	}
	unix.Close(fd)
	return true
}
