package logger

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
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
//
// As long as there is only one engine it has a goroutine that waits for input and
// works by itself: that is the fastest.
type Host struct {
	o    HostOptions
	boot uint64 // of the system

	shared atomic.Bool // there has been more than one engine

	sharing sync.Mutex // held while that is prepared
	epoll   *os.File
	waits   int // its descriptor
	conn    syscall.RawConn
	single  *Engine // the first, as long as nothing is shared

	mu        sync.Mutex
	engines   map[int32]*Engine
	last      int32 // its name in the epoll set
	work      seats // of engines
	chores    seats // of what they leave to others
	polls     int   // so many have begun to wait for input: the last of them counts
	serving   bool  // and he serves somebody instead
	served    uint64
	relieving bool // he is looked at soon
	flooded   bool // Turns has been told
	kits      []*kit
	emptying  bool // the memory of those that are full is given back soon
}

// The states of an engine in a host.
type state int

const (
	unborn state = iota
	alone        // it works by itself
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
	h := &Host{o: o, boot: boot, engines: map[int32]*Engine{}}
	for _, b := range []*seats{&h.work, &h.chores} {
		*b = seats{mu: &h.mu, taken: map[*seat]bool{}, most: 1, room: h.room}
	}
	return h, nil
}

// Close gives up a host that has no engine any more.
func (h *Host) Close() {
	if h.epoll != nil {
		h.epoll.Close()
	}
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
// set. The flags of an input, which others share, stay as they are. The first whose
// input comes is served here and now, since that is the only one as a rule; if it takes
// long somebody else waits for input in the meantime, and then for good. After a flood he
// leaves all of it to others, so that none of several processors waits for his turn's end.
func (h *Host) poll() {
	var (
		events [16]unix.EpollEvent
		n      int
		broken error
	)
	look := func(fd uintptr) bool {
		n, broken = unix.EpollWait(int(fd), events[:], 0)
		return n > 0 || broken != nil
	}
	h.mu.Lock()
	h.polls++
	mine := h.polls
	h.mu.Unlock()
	for {
		n = 0
		if err := h.conn.Read(look); err != nil || broken != nil && !errors.Is(broken, unix.EINTR) {
			return
		}
		e, s := h.arrived(events[:max(n, 0)])
		if e == nil {
			continue
		}
		h.serve(e, s)
		h.mu.Lock()
		replaced := h.polls != mine
		if !replaced {
			h.serving = false
		}
		h.mu.Unlock()
		if replaced {
			return
		}
	}
}

// relieve sees to it, as long as who waits for input serves somebody, that he is
// replaced if that takes long. Where there is one engine only nobody else waits. It looks
// at times, since a timer for each turn would cost more than the turn. The caller has
// locked.
func (h *Host) relieve() {
	if !many || h.relieving || !h.serving || len(h.engines) < 2 {
		return
	}
	h.relieving = true
	served := h.served
	time.AfterFunc(lookTime, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.relieving = false
		if h.serving && h.served == served {
			h.serving = false
			go h.poll()
		}
		h.relieve()
	})
}

// arrived wakes those up whose input has come. One may be left, with its seat, for
// the caller to serve.
func (h *Host) arrived(events []unix.EpollEvent) (first *Engine, its *seat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range events {
		e := h.engines[ev.Fd]
		switch {
		case e == nil:
		case first == nil && !h.flooded && e.state == idle && h.work.vacant():
			e.state = working
			first, its = e, h.work.take()
			h.serving = true
			h.served++
			h.relieve()
		default:
			h.rouse(e)
		}
	}
	return first, its
}

// admit takes an engine in. The first works by itself until there is another.
func (h *Host) admit(e *Engine) error {
	h.sharing.Lock()
	defer h.sharing.Unlock()
	h.mu.Lock()
	h.last++
	e.id = h.last
	h.engines[e.id] = e
	first := h.last == 1
	h.relieve()
	h.mu.Unlock()
	if first || !many {
		return h.goAlone(e)
	}
	err := h.share()
	if err == nil {
		err = h.watch(e)
	}
	if err != nil {
		h.forget(e)
		return err
	}
	h.mu.Lock()
	e.state = idle
	h.mu.Unlock()
	h.wake(e)
	return nil
}

// share makes what engines that share the process wait in, and has the one that has
// worked by itself so far do as the others.
func (h *Host) share() error {
	if h.shared.Load() {
		return nil
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(ep, true); err != nil { // so that the runtime's poller takes it
		unix.Close(ep)
		return fmt.Errorf("watch input: %w", err)
	}
	h.waits, h.epoll = ep, os.NewFile(uintptr(ep), "epoll")
	if h.conn, err = h.epoll.SyscallConn(); err != nil {
		h.epoll.Close()
		return fmt.Errorf("watch input: %w", err)
	}
	go h.poll()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shared.Store(true)
	if h.single != nil {
		h.rouse(h.single)
	}
	return nil
}

// watch takes an engine's input into the epoll set. What epoll cannot watch, such as a
// file, is always ready.
func (h *Host) watch(e *Engine) error {
	ev := unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: e.id}
	err := h.control(unix.EPOLL_CTL_ADD, e.o.Input, &ev)
	if e.watched = err == nil; err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBADF) {
		return fmt.Errorf("watch input: %w", err)
	}
	return nil
}

// goAlone has the first engine work by itself.
func (h *Host) goAlone(e *Engine) (err error) {
	if e.poll, err = newPoller(e.o.Input); err != nil {
		h.forget(e)
		return err
	}
	h.mu.Lock()
	h.single, e.state = e, alone
	h.mu.Unlock()
	go h.workAlone(e)
	return nil
}

// workAlone serves the first engine as long as there is no other. It keeps what it works
// with.
func (h *Host) workAlone(e *Engine) {
	for k := h.borrow(); e.enter(k, nil) != nil; k = nil { // there is one, but for a buffer of unusual size
		e.o.Report(Pausing, "unable to work", unix.ENOMEM)
		e.poll.rest(pauseTime, func() bool { return e.asked(stopRequest) })
	}
	more := true
	for inRow := 0; !e.ended && !h.shared.Load(); {
		if more = e.turn(); more {
			if inRow++; inRow == floodSize {
				h.flood()
			}
			continue
		}
		switch inRow = 0; {
		case e.ended:
		case e.halted():
			e.poll.rest(-1, func() bool { return h.shared.Load() || !e.halted() })
		default:
			e.poll.wait(e.due, func() bool { return h.shared.Load() || e.requests.Load() != 0 })
		}
	}
	h.join(e)
}

// join has the first engine do as the others, or end.
func (h *Host) join(e *Engine) {
	h.mu.Lock()
	h.single = nil
	poll := e.poll
	e.poll = nil
	e.state = working
	h.mu.Unlock()
	poll.close()
	h.giveBack(e.leave())
	if e.ended {
		h.mu.Lock()
		e.state = over
		h.mu.Unlock()
		h.dismiss(e)
		e.done(e.result)
		return
	}
	if !many { // it only comes here when it has ended
		return
	}
	for h.watch(e) != nil {
		time.Sleep(pauseTime)
	}
	h.mu.Lock()
	e.state = idle
	h.mu.Unlock()
	h.wake(e)
}

// dismiss forgets an engine.
func (h *Host) dismiss(e *Engine) {
	if e.watched {
		h.control(unix.EPOLL_CTL_DEL, e.o.Input, nil)
	}
	h.forget(e)
}

func (h *Host) forget(e *Engine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.engines, e.id)
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
	h.rouse(e)
}

// rouse is wake. The caller has locked.
func (h *Host) rouse(e *Engine) {
	switch e.state {
	case alone:
		e.poll.wake()
	case idle:
		if many {
			h.enqueue(e)
			h.work.seatThem()
		}
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
			begun := e.begun
			more = e.turn()
			s = e.seat
			if more && begun { // that an engine begins, or that a few lines come to each of many, is none
				if inRow++; inRow == floodSize {
					h.flood()
				}
			}
			if more && !h.goesOn(s) {
				break
			}
		}
		k = e.leave()
		if !more && !e.ended && !e.halted() {
			h.arm(e) // before it is idle: what comes from then on is known to wake
		}
		e = h.next(e, s, more)
	}
	h.giveBack(k)
}

// flood allows for more workers, once and soon: to get ready for that takes time, in
// which nobody is to wait.
func (h *Host) flood() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flooded || h.o.Turns == nil {
		return
	}
	h.flooded = true
	go func() {
		most := h.o.Turns()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.work.most = max(h.work.most, most)
		h.work.seatThem()
	}()
}

// goesOn says whether the owner of a seat may go on, since nobody waits for it.
func (h *Host) goesOn(s *seat) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.moved()
	return len(h.work.queue) == 0 && !h.work.overfull()
}

// look wakes those up whose input has come, between two turns: where all processors have
// work Go's runtime tells of that ten milliseconds late.
func (h *Host) look() {
	if !many {
		return
	}
	var events [16]unix.EpollEvent
	n, _, no := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(h.waits), uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
	if no != 0 || n == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range events[:n] {
		if e := h.engines[ev.Fd]; e != nil {
			h.rouse(e)
		}
	}
}

// next puts an engine aside whose turn is over and says who has the seat then; if
// it is nobody the seat is free.
func (h *Host) next(e *Engine, s *seat, more bool) *Engine {
	h.look()
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
