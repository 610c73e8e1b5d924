package logger

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// poller waits for input without a thread of its own and without a change of
// the input's flags, which others share: the runtime's poller watches an epoll
// descriptor of ours, and that watches the input. It tells whether there is
// input, not whether more has come: a writer that waits for room in a pipe tells
// nobody.
type poller struct {
	file *os.File
	conn syscall.RawConn
	look func(fd uintptr) bool // says whether there is input; made once, so that waiting does not allocate
}

// newPoller watches fd. What epoll cannot watch, such as a file, is always
// ready and needs no watching.
func newPoller(fd int) (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil && !errors.Is(err, unix.EPERM) {
		unix.Close(ep)
		return nil, fmt.Errorf("watch input: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // so that the runtime takes it
		unix.Close(ep)
		return nil, fmt.Errorf("watch input: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(ep), "epoll")}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("watch input: %w", err)
	}
	var events [1]unix.EpollEvent
	p.look = func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), events[:], 0)
		return n > 0 || err != nil // the caller looks itself
	}
	return p, nil
}

// wait waits for input, for wake, or for d to pass; below 0 d is forever.
// It does not begin to wait if unless says so: whatever makes unless true must
// be done before wake is called.
func (p *poller) wait(d time.Duration, unless func() bool) { p.until(p.look, d, unless) }

// rest is a wait that input does not end.
func (p *poller) rest(d time.Duration, unless func() bool) { p.until(nothingComes, d, unless) }

func nothingComes(uintptr) bool { return false }

func (p *poller) until(look func(fd uintptr) bool, d time.Duration, unless func() bool) {
	var until time.Time
	if d >= 0 {
		until = time.Now().Add(d)
	}
	p.file.SetReadDeadline(until)
	if unless() {
		return
	}
	p.conn.Read(look) // an error is the deadline: the caller looks at its clock anyway
}

// wake ends a wait. It may be called at any time, by anyone.
func (p *poller) wake() {
	p.file.SetReadDeadline(time.Unix(1, 0))
}

func (p *poller) close() { p.file.Close() }
