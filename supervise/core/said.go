//go:build !slim

package core

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// needSaid is how many descriptors that takes of the process's.
const needSaid = 2

// saying is what hands on the lines of services; it is begun when the first is to be.
func (c *Core) saying() (*prefixer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines != nil {
		return c.lines, nil
	}
	p, err := newPrefixer(c.Say, c.linesTo)
	if err == nil {
		c.lines = p
	}
	return p, err
}

// hearOut hands on what is left in the pipe of a service that an earlier core has let go.
func (c *Core) hearOut(name string, fd int) {
	r, _ := sys.ReopenEnd(fd, unix.O_RDONLY)
	if r >= 0 { // else its end is not seen
		unix.Close(fd)
		unix.FcntlInt(uintptr(r), unix.F_SETFL, unix.O_NONBLOCK)
		fd = r
	}
	if p, err := c.saying(); err != nil || !p.addUnlessRead(newSource(name, fd, -1)) {
		unix.Close(fd)
	}
}

// finishLines hands on what services have said, at the end of the process.
func (c *Core) finishLines() {
	if c.lines != nil {
		c.lines.finish(finishTime)
	}
}

// finishTime is how long the end of the process waits for a reader of the services' lines
// who reads nothing.
const finishTime = 2 * time.Second

// hasSaid says whether what is started of the service is to have its lines handed on.
func (s *service) hasSaid() bool {
	if s.core.catch.service.Load() != nil {
		return s.catches == nil
	}
	return s.core.prefix && s.log == nil && s.loan == nil
}

// holdSaid holds the service's FIFO open before another core lets go of it.
func (s *service) holdSaid(k stash) {
	if _, kept := k[wire.TagSaid]; !kept && s.hasSaid() {
		if w, err := s.dir.OpenFIFO(servicedir.Said, unix.O_RDWR, "open"); err == nil {
			k[wire.TagSaid] = w
		}
	}
}

// findSaid takes up the FIFO that the process of an earlier core writes to, if it does, and
// makes the one that the service is to have.
func (s *service) findSaid(k stash, was *priorState) error {
	w := k.take(wire.TagSaid)
	if w < 0 && was.there && was.record.Pipe != 0 && !was.keptPipe {
		if st, err := s.dir.Stat(servicedir.Said); err == nil && st.Ino == was.record.Pipe {
			w, _ = s.dir.OpenFIFO(servicedir.Said, unix.O_RDWR, "open")
		}
	}
	if w < 0 && was.there && was.record.Pipe != 0 && s.hasSaid() && s.log == nil { // one without a name
		var err error
		if w, err = s.core.openPipe(was.record, "1"); err != nil {
			return err
		}
	}
	if w >= 0 {
		if err := s.openSaid(w); err == nil || !s.hasSaid() {
			return err
		}
	}
	if !s.hasSaid() {
		return nil
	}
	return s.makeSaid()
}

// makeSaid makes the FIFO of the service, or a pipe without a name where there can be none.
func (s *service) makeSaid() error {
	w, err := s.dir.OpenSaid()
	if err == nil {
		return s.openSaid(w)
	}
	if !s.badSaid {
		s.badSaid = true
		s.warn(err)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	return s.readSaid(p[0], sys.Lasting(p[1]))
}

// openSaid has what is written to w read and handed on; w is closed if it cannot be.
func (s *service) openSaid(w int) error {
	r, err := s.dir.OpenFIFO(servicedir.Said, unix.O_RDONLY, "read")
	if err == nil && inode(true, r) != inode(true, w) { // it was removed, or made again
		unix.Close(r)
		r, err = sys.ReopenEnd(w, unix.O_RDONLY)
		if r < 0 && err == nil {
			err = unix.ENOENT
		}
	}
	if err != nil {
		unix.Close(w)
		return err
	}
	return s.readSaid(r, w)
}

// readSaid has what is written to w, and read from r, handed on.
func (s *service) readSaid(r, w int) error {
	p, err := s.core.saying()
	x := newSource(s.name, r, w)
	if err == nil && !s.core.descriptors.take(needSaid) {
		err = self.ErrShortage
	}
	if err == nil {
		unix.FcntlInt(uintptr(r), unix.F_SETFL, unix.O_NONBLOCK)
		unix.FcntlInt(uintptr(w), unix.F_SETFL, 0) // as processes expect
		if err = p.add(x); err != nil {
			s.core.descriptors.give(needSaid)
		}
	}
	if err != nil {
		unix.Close(r)
		unix.Close(w)
		return err
	}
	s.taken += needSaid
	s.said, s.renewed = x, true
	return nil
}

// closeSaid lets go of the service's pipe: what is in it is still handed on, unless another
// core takes over.
func (s *service) closeSaid() {
	if s.said == nil {
		return
	}
	s.core.awaitStash(s)
	if s.detached || !s.opened {
		s.core.lines.leave(s.said)
	} else {
		s.core.lines.retire(s.said)
	}
	s.said = nil
	s.taken -= needSaid
	s.core.descriptors.give(needSaid)
}

// settleSaid has the service write, from its next start on, to where it is to write now.
func (s *service) settleSaid() error {
	has := s.hasSaid()
	switch {
	case has == (s.said != nil):
		return nil
	case has:
		if err := s.makeSaid(); err != nil {
			return err
		}
	default:
		s.closeSaid()
	}
	s.core.stashNow(s)
	return nil
}

// saysTo says whether that is the pipe from which the service's lines are handed on.
func (s *service) saysTo(inode uint64) bool { return s.said != nil && s.said.pipe[1] == inode }
