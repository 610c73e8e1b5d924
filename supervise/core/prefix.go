//go:build !slim

package core

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/diag"
	"runitbox/supervise/wire"
)

// prefixer hands on what services say, each line with the name of its service before it,
// in one write. One goroutine reads the pipes of all.
//
// It looks at what is in a pipe with tee(2), writes a line of it, and only then takes that
// line out of the pipe: a line that was not written when the process is killed is still
// there for the next. One that was being written then may be written twice.
type prefixer struct {
	say   func(diag.Level, string, error)
	epoll int
	ready syscall.RawConn // epoll, in the runtime's poller

	out      int        // where the lines go; -1: they wait
	outKnown *sync.Cond // that it is another

	mu      sync.Mutex
	sources map[int32]*source     // by the descriptors that are read
	pipes   map[[2]uint64]*source // by device and inode

	turn    sync.Mutex             // is held while lines of one source are handed on
	current atomic.Pointer[source] // that
	plain   bool                   // the kernel refuses tee(2)
	scratch [2]int                 // a pipe, empty between two turns
	seen    []byte                 // what a turn has seen of a source
	line    []byte                 // the line that is written
	broken  bool                   // a piece of a line was written, and its end could not be
	failed  bool                   // the last write has failed, and that was said
	lines   atomic.Int64           // how many were written
}

// source is the pipe of a service: what is written to w is read from r.
type source struct {
	name   string
	r, w   int         // w is -1 once the service does not write there any more
	pipe   [2]uint64   // its device and inode
	leaves atomic.Bool // another reader is to have it
	total  int         // how many bytes were taken out and written
	cut    int         // behind how many a line ends that has no end: who wrote it has ended
	taken  []byte      // what was taken out and is not written, where the kernel has no tee(2)
}

func newSource(name string, r, w int) *source {
	var st unix.Stat_t
	unix.Fstat(r, &st)
	return &source{name: name, r: r, w: w, pipe: [2]uint64{uint64(st.Dev), st.Ino}}
}

func newPrefixer(say func(diag.Level, string, error), out int) (*prefixer, error) {
	p := &prefixer{say: say, out: out, outKnown: sync.NewCond(new(sync.Mutex)), sources: map[int32]*source{}, pipes: map[[2]uint64]*source{}}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("unable to create epoll: %w", err)
	}
	if err := unix.Pipe2(p.scratch[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		unix.Close(p.epoll)
		return nil, fmt.Errorf("unable to create pipe: %w", err)
	}
	_, p.ready = wire.InPoller(p.epoll, "lines")
	size, err := unix.FcntlInt(uintptr(p.scratch[0]), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		size = 64 << 10
	}
	p.seen = make([]byte, size)
	go p.run()
	return p, nil
}

// add has the lines of a source handed on, and nobody else read from that pipe: a service
// that comes back writes to the one that it had before, which may not be at its end.
func (p *prefixer) add(s *source) error {
	if other := p.reader(s); other != nil {
		p.leave(other)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources[int32(s.r)], p.pipes[s.pipe] = s, s
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, s.r, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(s.r)})
	if err != nil {
		delete(p.sources, int32(s.r))
		delete(p.pipes, s.pipe)
		return fmt.Errorf("unable to poll pipe: %w", err)
	}
	return nil
}

// addUnlessRead is add for what somebody else may read already.
func (p *prefixer) addUnlessRead(s *source) bool { return p.reader(s) == nil && p.add(s) == nil }

// reader is who reads the same pipe.
func (p *prefixer) reader(s *source) *source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pipes[s.pipe]
}

// leaveTime is how long, in milliseconds, who leaves a source to another reader waits for
// the line that is just being written. One that takes longer is written again by that.
const leaveTime = 20

// leave leaves a source, with what is in it, to another reader.
func (p *prefixer) leave(s *source) {
	s.leaves.Store(true)
	for i := 0; i < leaveTime && p.current.Load() == s; i++ {
		time.Sleep(time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(s)
}

// retire reads a source to its end, which comes when nobody has it open for writing.
func (p *prefixer) retire(s *source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reads(s) && s.w >= 0 {
		unix.Close(s.w)
		s.w = -1
	}
}

// reads says whether the source is still read. p.mu is locked.
func (p *prefixer) reads(s *source) bool { return p.sources[int32(s.r)] == s }

// forget closes a source. p.mu is locked.
func (p *prefixer) forget(s *source) {
	if !p.reads(s) {
		return
	}
	delete(p.sources, int32(s.r))
	if p.pipes[s.pipe] == s {
		delete(p.pipes, s.pipe)
	}
	unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, s.r, nil)
	unix.Close(s.r)
	if s.w >= 0 {
		unix.Close(s.w)
	}
}

// all are the sources.
func (p *prefixer) all() (all []*source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sources {
		all = append(all, s)
	}
	return all
}

// end ends the line that is in a source, if it has no end: nobody is left to write that.
func (p *prefixer) end(s *source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reads(s) {
		return
	}
	n, err := unix.IoctlGetInt(s.r, unix.TIOCINQ)
	if n += len(s.taken); err != nil || n == 0 {
		return
	}
	if asked := s.cut > s.total; !asked {
		go func() {
			for p.takeTurn(s, false) {
			}
		}()
	}
	s.cut = s.total + n
}

// cutBehind is behind how many bytes of what can be seen of a source a line is to end; 0
// where that is not to be seen to.
func (p *prefixer) cutBehind(s *source) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, s.cut-s.total)
}

// find is the source of that descriptor, if it is still read.
func (p *prefixer) find(fd int32) *source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sources[fd]
}

// run hands on lines as they come: of each source that has some as many as are seen at
// once, by turns.
func (p *prefixer) run() {
	events := make([]unix.EpollEvent, 64)
	var queue []int32
	for {
		n := 0
		p.ready.Read(func(fd uintptr) bool {
			var err error
			if n, err = unix.EpollWait(int(fd), events, 0); err != nil { // EINTR
				n = -1
			}
			return n != 0 || len(queue) > 0
		})
		for _, ev := range events[:max(n, 0)] {
			if !slices.Contains(queue, ev.Fd) {
				queue = append(queue, ev.Fd)
			}
		}
		again := queue[:0]
		for _, fd := range queue {
			if s := p.find(fd); s != nil && p.takeTurn(s, false) {
				again = append(again, fd)
			}
		}
		queue = again
	}
}

// takeTurn hands on lines of a source, and says whether there may be more. What is no
// whole line stays where it is, unless it is the last of the source or fills the pipe; it
// then is a line of its own. With all it is as if the source had come to its end.
func (p *prefixer) takeTurn(s *source, all bool) (more bool) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.current.Store(s)
	defer p.current.Store(nil)
	for rest := p.look(s); len(rest) > 0 && !s.leaves.Load(); {
		n := bytes.IndexByte(rest, '\n') + 1
		if cut := p.cutBehind(s); cut > 0 && cut <= len(rest) && (n == 0 || n > cut) {
			n = cut
		}
		if n == 0 {
			if !all && (more || !p.isPiece(s, len(rest))) {
				break
			}
			n = len(rest)
		}
		p.write(s.name, rest[:n])
		if !p.drop(s, n) {
			return false
		}
		rest, more = rest[n:], true
	}
	return more
}

// look is what can be seen of a source, without taking it out. One that is at its end is
// forgotten.
func (p *prefixer) look(s *source) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reads(s) {
		return nil
	}
	if p.plain {
		return p.lookPlain(s)
	}
	n, err := unix.Tee(s.r, p.scratch[1], len(p.seen), unix.SPLICE_F_NONBLOCK)
	switch {
	case err == unix.ENOSYS, err == unix.EPERM, err == unix.EINVAL:
		p.plain = true
		return p.lookPlain(s)
	case err != nil:
		return nil
	case n == 0:
		p.forget(s)
	}
	return p.seen[:readAll(p.scratch[0], p.seen[:n])]
}

// lookPlain takes out what it sees, which a kill of the process loses.
func (p *prefixer) lookPlain(s *source) []byte {
	n, err := unix.Read(s.r, p.seen[:len(p.seen)-len(s.taken)])
	s.taken = append(s.taken, p.seen[:max(n, 0)]...)
	if n == 0 && err == nil && len(s.taken) == 0 {
		p.forget(s)
	}
	return p.seen[:copy(p.seen, s.taken)]
}

// readAll fills buf from a pipe, as far as that has something.
func readAll(fd int, buf []byte) (got int) {
	for got < len(buf) {
		n, err := unix.Read(fd, buf[got:])
		if n <= 0 && err != unix.EINTR {
			break
		}
		got += max(n, 0)
	}
	return got
}

// isPiece says whether, of a line of which n bytes are seen, no more can be seen until these
// are taken out: the pipe is full, or nobody has it open for writing.
func (p *prefixer) isPiece(s *source, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reads(s) {
		return false
	}
	polls := []unix.PollFd{{Fd: int32(s.r)}, {Fd: int32(s.w), Events: unix.POLLOUT}}
	if _, err := unix.Poll(polls, 0); err != nil {
		return false
	}
	if polls[0].Revents&unix.POLLHUP != 0 {
		return true
	}
	size, _ := unix.FcntlInt(uintptr(s.r), unix.F_GETPIPE_SZ, 0)
	if p.plain || s.w < 0 || size > len(p.seen) { // it cannot be told that the pipe is full
		return n >= len(p.seen)/4
	}
	return polls[1].Revents&unix.POLLOUT == 0
}

// drop takes what was written out of a source, unless that was left to another reader
// meanwhile.
func (p *prefixer) drop(s *source, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reads(s) {
		return false
	}
	s.total += n
	if p.plain {
		s.taken = s.taken[n:]
		return true
	}
	return readAll(s.r, p.seen[:n]) == n // it is what it was
}

// turnTo says where lines go from the next on.
func (p *prefixer) turnTo(out int) {
	p.outKnown.L.Lock()
	defer p.outKnown.L.Unlock()
	p.out = out
	p.outKnown.Broadcast()
}

// whereTo is where the next line goes; it waits until there is such a place.
func (p *prefixer) whereTo() int {
	p.outKnown.L.Lock()
	defer p.outKnown.L.Unlock()
	for p.out < 0 {
		p.outKnown.Wait()
	}
	return p.out
}

// write writes one line with its name. Only this waits for whoever reads the lines.
func (p *prefixer) write(name string, line []byte) {
	b := p.line[:0]
	if p.broken {
		b = append(b, '\n')
	}
	b = append(append(append(b, name...), ": "...), line...)
	if b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	p.line = b
	out := p.whereTo()
	for len(b) > 0 {
		n, err := unix.Write(out, b)
		switch {
		case n > 0:
			b, p.broken, p.failed = b[n:], true, false
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(out), Events: unix.POLLOUT}}, -1)
		case err != unix.EINTR:
			if !p.failed {
				p.failed = true
				p.say(diag.Warning, "", fmt.Errorf("unable to write to standard output: %w; what services say is dropped until that is possible.", err))
			}
			return
		}
	}
	p.broken = false
	p.lines.Add(1)
}

// finish hands on all that is left, at the end of the process. It gives up when nothing
// could be written for so long.
func (p *prefixer) finish(patience time.Duration) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, s := range p.all() {
			p.takeTurn(s, true)
		}
	}()
	for {
		before := p.lines.Load()
		select {
		case <-over:
			return
		case <-time.After(patience):
			if p.lines.Load() == before {
				return
			}
		}
	}
}
