package logger

import "golang.org/x/sys/unix"

// forwarder sends lines by UDP. It keeps one socket that is not connected, so
// that no answer of the network becomes an error of the next line.
type forwarder struct {
	fd int
	to unix.Sockaddr
}

func newForwarder(to Address) *forwarder {
	f := &forwarder{fd: -1}
	if len(to.IP) == 4 {
		f.to = &unix.SockaddrInet4{Port: int(to.Port), Addr: [4]byte([]byte(to.IP))}
	} else {
		f.to = &unix.SockaddrInet6{Port: int(to.Port), Addr: [16]byte([]byte(to.IP))}
	}
	return f
}

// open makes the socket if there is none yet.
func (f *forwarder) open() (err error) {
	if f.fd < 0 {
		family := unix.AF_INET6
		if _, ok := f.to.(*unix.SockaddrInet4); ok {
			family = unix.AF_INET
		}
		f.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	}
	return err
}

func (f *forwarder) send(datagram []byte) error { return unix.Sendto(f.fd, datagram, 0, f.to) }

func (f *forwarder) close() {
	if f.fd >= 0 {
		unix.Close(f.fd)
	}
}
