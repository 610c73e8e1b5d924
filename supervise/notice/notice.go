// Package notice is by what clients know that a directory of service directories has a
// runsvdir: a datagram socket of an abstract name, which nobody reads and which is gone
// with its process. So a client can wait for a service that is to be seen there in a
// moment, and needs not wait for one below any other directory. A second socket, whose name
// is longer, tells where the supervise directories lie of services that cannot be written.
package notice

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notice is the socket of a runsvdir.
type Notice struct {
	// StateDir is the directory that it tells of; "" if of none.
	StateDir string

	dev, ino uint64
	fds      [3]int // -1: there is none
}

// Behind the name of a directory is this for the socket that says that there is one with
// the path of a StateDir behind it.
const tells = ">"

// None is a notice that has not been put up.
func None(stateDir string) Notice { return Notice{StateDir: stateDir, fds: [3]int{-1, -1, -1}} }

// name is the name for a directory.
func name(dev, ino uint64) string {
	return "runsvdir/" + strconv.FormatUint(dev, 16) + ":" + strconv.FormatUint(ino, 16)
}

// address is the address of a name, as bind(2) takes it.
func address(name string) []byte {
	addr := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	return append(append(addr, 0), name...)
}

// Put has the notice be about the directory; where another has put up the same it
// is that one's until it goes.
func (n *Notice) Put(dev, ino uint64) {
	if n.fds[0] >= 0 && n.dev == dev && n.ino == ino {
		return
	}
	for _, fd := range n.fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	*n = None(n.StateDir)
	n.dev, n.ino, n.fds[0] = dev, ino, socket(unix.SYS_BIND, name(dev, ino))
	if n.StateDir != "" {
		n.fds[1] = socket(unix.SYS_BIND, name(dev, ino)+tells)
		n.fds[2] = socket(unix.SYS_BIND, name(dev, ino)+tells+n.StateDir)
	}
}

// StateDir is the directory that a runsvdir which looks at the directory tells of; "" where
// none does, or /proc cannot tell.
func StateDir(dev, ino uint64) string {
	if !answers(name(dev, ino) + tells) {
		return ""
	}
	all, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return ""
	}
	_, dir, _ := strings.Cut(string(all), " @"+name(dev, ino)+tells+"/")
	if dir, _, _ = strings.Cut(dir, "\n"); dir != "" {
		dir = "/" + dir
	}
	return dir
}

// socket binds a socket to the name, or connects it; -1 where that fails.
func socket(call uintptr, name string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	addr := address(name)
	if _, _, no := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr))); no != 0 {
		unix.Close(fd)
		return -1
	}
	return fd
}

// IsUp says whether somebody has put up a notice about the directory.
func IsUp(dev, ino uint64) bool { return answers(name(dev, ino)) }

// answers says whether a socket has the name.
func answers(name string) bool {
	fd := socket(unix.SYS_CONNECT, name)
	if fd < 0 {
		return false
	}
	unix.Close(fd)
	return true
}
