package logger

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// HostOptions says what a Host may ask of its process. Each may be nil.
type HostOptions struct {
	// Turns is told that lines come as fast as they are taken, and says how many
	// engines may be at work at once from then on.
	Turns func() int
	// Room says whether so many engines may hang in the kernel at once, each of
	// them in a thread.
	Room func(engines int) bool
}

// Host runs engines. One that has nothing to do has no goroutine, no thread and
// no buffer: it waits in an epoll set until there is input, or for a timer. What
// is to be done is done by workers, of which there are few, turn by turn: an
// engine that is flooded lets the others have theirs. An engine that hangs in the
// kernel, in front of a disk that does not answer, counts as a worker no more:
// there is another in its place.
type Host struct {
	o     HostOptions
	boot  uint64 // of the system
	epoll *os.File
	conn  syscall.RawConn
	watch sync.Once

	shared atomic.Bool // there is more than one engine

	mu      sync.Mutex
	engines map[int32]*Engine
	last    int32 // its name in the epoll set
	work    seats // of engines
	chores  seats // of what they leave to others
	flooded bool  // Turns has been told
	kits    []*kit
}

// The states of an engine in a host.
type state int

const (
	unborn state = iota
	idle         // until it is woken up
	queued       // for a seat
	working
	waiting // in the middle of its work; it is woken up like an idle one
	over
)

// NewHost makes a host without engines.
func NewHost(o HostOptions) (*Host, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("read boot id: %w", err)
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // so that the runtime's poller takes it
		unix.Close(ep)
		return nil, fmt.Errorf("watch input: %w", err)
	}
	h := &Host{o: o, boot: boot, epoll: os.NewFile(uintptr(ep), "epoll"), engines: map[int32]*Engine{}}
	for _, b := range []*seats{&h.work, &h.chores} {
		*b = seats{mu: &h.mu, taken: map[*seat]bool{}, most: 1, room: h.room}
	}
	if h.conn, err = h.epoll.SyscallConn(); err != nil {
		h.epoll.Close()
		return nil, fmt.Errorf("watch input: %w", err)
	}
	return h, nil
}

// Close gives up a host that has no engine any more.
func (h *Host) Close() {
	h.epoll.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.kits {
		k.close()
	}
	h.kits = nil
}

// Engines is how many there are.
func (h *Host) Engines() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.engines)
}

// poll waits for input, without a thread: the runtime's poller watches the epoll
// set. The flags of an input, which others share, stay as they are.
func (h *Host) poll() {
	var events [16]unix.EpollEvent
	h.conn.Read(func(fd uintptr) bool {
		for {
			n, err := unix.EpollWait(int(fd), events[:], 0)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return true
			}
			for _, ev := range events[:max(n, 0)] {
				h.mu.Lock()
				e := h.engines[ev.Fd]
				h.mu.Unlock()
				if e != nil {
					h.wake(e)
				}
			}
			if n == 0 {
				return false
			}
		}
	})
}

// admit takes an engine's input into the epoll set. What epoll cannot watch, such
// as a file, is always ready.
func (h *Host) admit(e *Engine) error {
	h.watch.Do(func() { go h.poll() })
	h.mu.Lock()
	h.last++
	e.id = h.last
	h.engines[e.id] = e
	h.shared.Store(len(h.engines) > 1)
	h.mu.Unlock()
	ev := unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: e.id}
	err := h.control(unix.EPOLL_CTL_ADD, e.o.Input, &ev)
	if e.watched = err == nil; err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBADF) {
		h.dismiss(e)
		return fmt.Errorf("watch input: %w", err)
	}
	return nil
}

// dismiss forgets an engine.
func (h *Host) dismiss(e *Engine) {
	if e.watched {
		h.control(unix.EPOLL_CTL_DEL, e.o.Input, nil)
	}
	h.mu.Lock()
	delete(h.engines, e.id)
	h.mu.Unlock()
}

// arm has the engine woken up when there is input: once, so that a flood wakes
// nobody while it is being worked off.
func (h *Host) arm(e *Engine) {
	if e.watched {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: e.id}
		h.control(unix.EPOLL_CTL_MOD, e.o.Input, &ev)
	}
}

func (h *Host) control(op, fd int, ev *unix.EpollEvent) (err error) {
	if broken := h.conn.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, ev) }); broken != nil {
		return broken
	}
	return err
}

// wake has an engine look at what there is to do. It may be called at any time,
// by anyone.
func (h *Host) wake(e *Engine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e.state {
	case idle:
		h.enqueue(e)
		h.work.seatThem()
	case waiting:
		select {
		case e.news <- struct{}{}:
		default:
		}
	default:
		e.woken = true
	}
}

// enqueue has an engine wait for a seat. The caller has locked.
func (h *Host) enqueue(e *Engine) {
	e.state = queued
	h.work.queue = append(h.work.queue, waiter{engine: e, seat: func(s *seat) {
		e.state = working
		go h.serve(e, s)
	}})
}

// room says whether n may hang in the kernel at once. The caller has locked.
func (h *Host) room() bool {
	n := len(h.work.taken) + len(h.chores.taken) + 1
	if h.o.Room == nil || n <= h.work.most+h.chores.most {
		return true
	}
	h.mu.Unlock()
	defer h.mu.Lock()
	return h.o.Room(n)
}

// serve lets an engine do what it has to do, and then others that wait.
func (h *Host) serve(e *Engine, s *seat) {
	k := h.borrow()
	for inRow := 0; e != nil; {
		more := true
		if err := e.enter(k, s); err != nil { // others have what there is
			e.o.Report(Pausing, "unable to work", err)
			k, e.due = nil, pauseTime
			e = h.next(e, s, false)
			continue
		}
		for more {
			more = e.turn()
			s = e.seat
			if inRow++; inRow == floodSize {
				h.flood()
			}
			if more && !h.goesOn(s) {
				break
			}
		}
		k = e.leave()
		if !more && !e.ended {
			h.arm(e) // before it is idle: what comes from then on is known to wake
		}
		e = h.next(e, s, more)
	}
	h.giveBack(k)
}

// flood allows for more workers, once.
func (h *Host) flood() {
	h.mu.Lock()
	asked := h.flooded
	h.flooded = true
	h.mu.Unlock()
	if asked || h.o.Turns == nil {
		return
	}
	most := h.o.Turns()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.work.most = max(h.work.most, most)
	h.work.seatThem()
}

// goesOn says whether the owner of a seat may go on, since nobody waits for it.
func (h *Host) goesOn(s *seat) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.moved()
	return len(h.work.queue) == 0 && !h.work.overfull()
}

// next puts an engine aside whose turn is over and says who has the seat then; if
// it is nobody the seat is free.
func (h *Host) next(e *Engine, s *seat, more bool) *Engine {
	h.mu.Lock()
	switch {
	case e.ended:
		e.state = over
	case more || e.woken:
		h.enqueue(e)
	default:
		e.state = idle
		if e.due >= 0 {
			e.after(h)
		}
	}
	then := h.work.pass(s)
	h.mu.Unlock()
	if e.ended {
		h.dismiss(e)
		e.done(e.result)
	}
	return then
}

// block has an engine wait in the middle of its work: until it is woken up, or
// for d. Below 0 d is forever. It does not begin to wait if unless says so.
func (h *Host) block(e *Engine, d time.Duration, input bool, unless func() bool) {
	h.mu.Lock()
	e.news = make(chan struct{}, 1)
	e.state = waiting
	h.mu.Unlock()
	if input {
		h.arm(e)
	}
	if !unless() {
		h.work.stand(e.seat)
		e.sleep(d)
		e.seat = h.work.sit()
	}
	h.mu.Lock()
	e.state = working
	h.mu.Unlock()
}

// sleep waits for news, or d.
func (e *Engine) sleep(d time.Duration) {
	if d < 0 {
		<-e.news
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.news:
	case <-t.C:
	}
}

// after has an idle engine woken up when something becomes due.
func (e *Engine) after(h *Host) {
	if e.timer == nil {
		e.timer = time.AfterFunc(e.due, func() { h.wake(e) })
	} else {
		e.timer.Reset(e.due)
	}
}
