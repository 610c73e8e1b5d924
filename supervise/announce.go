package supervise

import (
	"encoding/binary"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notice tells clients that a directory of service directories has a runsvdir: a
// datagram socket of an abstract name, which nobody reads and which is gone with
// its process. So a client can wait for a service that is to be seen there in a
// moment, and needs not wait for one below any other directory.
type notice struct {
	dev, ino uint64
	fd       int // -1: there is none
}

// noticeAddress is the address for a directory, as bind(2) takes it.
func noticeAddress(dev, ino uint64) []byte {
	addr := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	addr = append(addr, "\x00runsvdir/"...)
	addr = append(strconv.AppendUint(addr, dev, 16), ':')
	return strconv.AppendUint(addr, ino, 16)
}

// put has the notice be about the directory; where another has put up the same it
// is that one's until it goes.
func (n *notice) put(dev, ino uint64) {
	if n.fd >= 0 && n.dev == dev && n.ino == ino {
		return
	}
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.dev, n.ino, n.fd = dev, ino, noticeSocket(unix.SYS_BIND, dev, ino)
}

// noticeSocket binds a socket to the address, or connects it; -1 where that fails.
func noticeSocket(call uintptr, dev, ino uint64) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	addr := noticeAddress(dev, ino)
	if _, _, no := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr))); no != 0 {
		unix.Close(fd)
		return -1
	}
	return fd
}

// expected says whether a runsvdir looks at the directory that the service at path
// is in, so that it will be supervised if it is not yet.
func expected(path string) bool {
	path = filepath.Clean(path)
	if strings.HasPrefix(filepath.Base(path), ".") {
		return false
	}
	f, err := identify(unix.AT_FDCWD, filepath.Dir(path), 0)
	if err != nil {
		return false
	}
	fd := noticeSocket(unix.SYS_CONNECT, f.dev, f.ino)
	if fd < 0 {
		return false
	}
	unix.Close(fd)
	return true
}
