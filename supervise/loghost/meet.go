package loghost

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
)

// addresses are those at which a process listens, in the abstract namespace of sockets:
// several, since others may take one. The pid namespace is in it, as others may share that
// of the network.
func addresses(pid int, what string) (all [3]string) {
	space, _ := os.Readlink("/proc/self/ns/pid")
	for i := range all {
		all[i] = "@runitbox/" + what + "/" + space + "/" + strconv.Itoa(pid) + "/" + strconv.Itoa(i)
	}
	return all
}

// What listens.
const (
	AtCore = "core"
	AtHost = "logs"
)

// Listen is a socket at which this process listens, at the first of its addresses that is
// free; -1 where there is none.
func Listen(what string) int {
	if ours, err := proc.IsOwn(); !ours || err != nil {
		return -1
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	for _, name := range addresses(os.Getpid(), what) {
		if unix.Bind(fd, &unix.SockaddrUnix{Name: name}) == nil && unix.Listen(fd, 1024) == nil {
			return fd
		}
	}
	unix.Close(fd)
	return -1
}

// Meet connects to the process that listens, of which users says whether it may be that of
// such a user. The kernel tells of both; the number alone says too little, since a socket
// may outlive a process of another user that had the number before.
func Meet(pid int, what string, users func(uint32) bool) (fd int, peer unix.Ucred, ok bool) {
	for _, name := range addresses(pid, what) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			break
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: name})
		if err == nil {
			if cred, err := Peer(fd); err == nil && int(cred.Pid) == pid && users(cred.Uid) {
				return fd, *cred, true
			}
		}
		unix.Close(fd)
		if err == unix.ECONNREFUSED && what == AtCore { // as a rule it does not listen at all
			break
		}
	}
	return -1, unix.Ucred{}, false
}

// Peer says who is at the other end of a socket.
func Peer(fd int) (*unix.Ucred, error) {
	return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
}

// IsGone says whether who was at the other end of a socket hears no answer any more.
func IsGone(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return n == 1 && err == nil
}
