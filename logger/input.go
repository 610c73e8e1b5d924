package logger

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// input is where lines come from. From a pipe bytes are copied first (tee) and
// consumed when they are in the files, or held in the journal: what the process
// has not finished when it dies is still there. From anything else they are read.
type input struct {
	host     *Host
	fd       int
	pipe     bool
	dev, ino uint64
	r, w     int // the pipe that its content is copied to, while the engine is at work
}

// got is what came of an attempt to get input.
type got int

const (
	nothing got = iota // yet
	some
	atEnd
)

// maxMarks is how many bytes of a batch can be marks.
const maxMarks = 7

// pipeSize is what the input pipe is enlarged to, so that its writers need not
// wait while a batch is on its way to the files.
const pipeSize = 256 << 10

// newInput looks at what fd is. A pipe is enlarged for batches of this size.
func newInput(fd, batch int) *input {
	in := &input{fd: fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return in // a descriptor that is not open says so at the first read
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil && flags&unix.O_DIRECT != 0 {
		return in // packets are read whole or lost
	}
	if _, err := in.tee(fd, 0); err != nil {
		return in // a kernel without tee: read, as from anything else
	}
	in.pipe, in.dev, in.ino = true, uint64(st.Dev), st.Ino
	if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil && size < max(pipeSize, batch) {
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, max(pipeSize, batch))
	}
	return in
}

// rawRead reads from a pipe of ours what is there: that never waits, so that the
// scheduler need not know.
func rawRead(fd int, b []byte) (int, error) {
	n, _, no := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if no != 0 {
		return 0, no
	}
	return int(n), nil
}

// Calls that have to do with the input's pipe wait as long as a writer of it fetches
// what it writes from a disk that hangs. Where others are to go on meanwhile the
// scheduler must know, which costs some of each call.

func (in *input) shared() bool { return in.host != nil && in.host.shared.Load() }

// tee copies n bytes from the input to another pipe, if there are any.
func (in *input) tee(to, n int) (int, error) {
	var r uintptr
	var no syscall.Errno
	if in.shared() {
		r, _, no = syscall.Syscall6(unix.SYS_TEE, uintptr(in.fd), uintptr(to), uintptr(n), unix.SPLICE_F_NONBLOCK, 0, 0)
	} else {
		r, _, no = syscall.RawSyscall6(unix.SYS_TEE, uintptr(in.fd), uintptr(to), uintptr(n), unix.SPLICE_F_NONBLOCK, 0, 0)
	}
	if no != 0 {
		return 0, no
	}
	return int(r), nil
}

// ready asks poll for events of fd, now.
func ready(fd int, events int16) int16 {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return 0
		}
		return p[0].Revents
	}
}

// fetch puts what there is into b and says how many bytes that are. A pipe's
// content comes whole each time, until it is consumed.
func (in *input) fetch(b []byte) (int, got, error) {
	if in.pipe {
		n, err := in.tee(in.w, len(b))
		switch {
		case err == nil && n == 0:
			return 0, atEnd, nil
		case err == nil:
			return in.copied(b, n)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return 0, nothing, nil
		}
		in.pipe = false // a kernel that refuses: read, as from anything else
	}
	if ready(in.fd, unix.POLLIN) == 0 {
		return 0, nothing, nil
	}
	n, err := unix.Read(in.fd, b)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return 0, nothing, nil
	case err != nil:
		return 0, atEnd, err
	case n == 0:
		return 0, atEnd, nil
	}
	return n, some, nil
}

// copied reads the n bytes that are in our pipe.
func (in *input) copied(b []byte, n int) (int, got, error) {
	for at := 0; at < n; {
		m, err := rawRead(in.r, b[at:n])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, atEnd, err
		}
		at += max(m, 0)
	}
	return n, some, nil
}

// holds is the number of bytes in the pipe.
func (in *input) holds() int {
	n, err := unix.IoctlGetInt(in.fd, unix.TIOCINQ) // FIONREAD by its older name
	if err != nil {
		return -1
	}
	return n
}

// Consumed bytes all go into the same few kilobytes, which stay in the
// processor's nearest cache: nobody looks at them.
const (
	wasteSize = 16 << 10
	maxWastes = 64
)

// consume takes n bytes off the pipe; b is room for some. The last of them go
// to marks, one each, in the same system call: the kernel itself writes down,
// in memory that outlives us, that the bytes are gone.
func (in *input) consume(n int, b []byte, marks []*byte) error {
	var room [maxMarks + maxWastes]unix.Iovec
	iov := room[:0]
	for n > 0 {
		iov = iov[:0]
		bulk := n - len(marks)
		for waste := max(wasteSize, (bulk+maxWastes-1)/maxWastes); bulk > 0; bulk -= waste {
			iov = append(iov, unix.Iovec{Base: &b[0]})
			iov[len(iov)-1].SetLen(min(bulk, waste))
		}
		for _, m := range marks {
			iov = append(iov, unix.Iovec{Base: m, Len: 1})
		}
		var r uintptr
		var no syscall.Errno
		if in.shared() {
			r, _, no = syscall.Syscall(unix.SYS_READV, uintptr(in.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		} else {
			r, _, no = syscall.RawSyscall(unix.SYS_READV, uintptr(in.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		}
		switch {
		case no == unix.EINTR:
		case no == unix.EFAULT && len(marks) > 0:
			marks = nil // their page is lost with its file system
		case no != 0:
			return no
		case r == 0:
			return nil
		default:
			n -= int(r)
			marks = marks[:min(len(marks), n)]
		}
	}
	return nil
}
