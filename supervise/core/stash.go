package core

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/wire"
)

// stashes are the messages by which the scanner is to keep descriptors, and go together.
type stashes struct {
	sync.Mutex
	batch int            // its number
	queue []wire.Message // for the scanner
	spare []wire.Message // room for the next
	timer *time.Timer
	sent  int        // the last batch that the scanner has
	sends sync.Mutex // is held while one is sent, which may take the scanner's time
}

// stashNow leaves copies of the service's descriptors with the scanner: bytes in
// the FIFOs, lines in the pipe and the ends of processes that the scanner will
// not see outlive this process there.
func (c *Core) stashNow(s *service) {
	c.stashSoon(s)
	c.awaitStash(s)
}

// stashSoon is stashNow, but at the latest in stashDelay, or when awaitStash asks for it,
// together with what others have to be kept by then. Until then no descriptor of
// the service may be closed.
func (c *Core) stashSoon(s *service) {
	if c.link == nil {
		return
	}
	tags, fds := s.toKeep()
	k := &c.stashes
	k.Lock()
	k.queue = append(k.queue, wire.Message{Word: "keep", Arg: s.key, Arg2: strings.Join(tags, ","), FDs: fds})
	s.stashBatch = k.batch
	n := len(k.queue)
	switch {
	case n == wire.BatchMax:
	case k.timer == nil:
		k.timer = time.AfterFunc(stashDelay, c.sendStash)
	case n == 1:
		k.timer.Reset(stashDelay)
	}
	k.Unlock()
	if n == wire.BatchMax {
		c.sendStash()
	}
}

// toKeep is what the scanner is to keep of the service: tags, and the descriptors that the
// first of them are of.
func (s *service) toKeep() (tags []string, fds []int) {
	tags, fds = make([]string, 0, 8), make([]int, 0, 8)
	add := func(tag string, fd int) {
		if fd >= 0 {
			tags, fds = append(tags, tag), append(fds, fd)
		}
	}
	for _, u := range s.units() {
		add(u.prefix+"lock", u.lock)
		add(u.prefix+"control", u.control)
		add(u.prefix+"ok", u.ok)
		if u.notify != 0 {
			add(u.prefix+"notify", u.notify)
		}
		if u.talk != nil {
			add(u.prefix+"talk", u.talk.fd)
		}
		if u.foreign {
			add(pidTag(u, u.pid), u.pidfd)
		}
	}
	if s.piped {
		add("pipe", s.pipe[1])
	}
	if s.said != nil {
		add(wire.TagSaid, s.said.w)
	}
	for _, u := range s.units() {
		if u.left {
			u.records.Lock()
			tags = append(tags, u.rec.Tag(u.prefix))
			u.records.Unlock()
		}
	}
	for i := range s.lanes {
		if l := &s.lanes[i]; l.left {
			tags = append(tags, l.rec.Tag(hookTag(l.hook)))
		}
	}
	return tags, fds
}

// stashDelay is how long what is to be kept waits for company.
const stashDelay = 5 * time.Millisecond

// awaitStash sees to it that the scanner has what it is to keep of the service.
func (c *Core) awaitStash(s *service) {
	if c.link == nil {
		return
	}
	k := &c.stashes
	k.Lock()
	waits, isSent := s.stashBatch == k.batch, s.stashBatch <= k.sent
	k.Unlock()
	switch {
	case waits:
		c.sendStash()
	case !isSent: // another is about to
		k.sends.Lock()
		k.sends.Unlock()
	}
}

// sendStash sends what is to be kept. Who has nothing in it does not wait for it.
func (c *Core) sendStash() {
	k := &c.stashes
	k.sends.Lock()
	defer k.sends.Unlock()
	k.Lock()
	queue, batch := k.queue, k.batch
	k.queue, k.spare = k.spare[:0], nil
	k.batch++
	k.Unlock()
	if sent, err := c.link.Send(queue...); err != nil {
		c.stashLater(queue[sent:], err)
	}
	clear(queue)
	k.Lock()
	k.spare, k.sent = queue, batch
	k.Unlock()
}

// stash are descriptors that the scanner has held for a service, by what they
// are: lock, control, ok, notify, talk, the same of log/, pipe and said (an end for reading and writing), and
// pidfds of processes that are no children of the scanner.
type stash map[string]int

// take moves a descriptor out of what was kept; -1 if it is not there.
func (k stash) take(tag string) int {
	fd, ok := k[tag]
	if !ok {
		return -1
	}
	delete(k, tag)
	return fd
}

func (k stash) close() {
	for tag, fd := range k {
		unix.Close(fd)
		delete(k, tag)
	}
}

// pidTag is the name of a process's pidfd among what is kept.
func pidTag(u *unit, pid int) string { return u.prefix + "pid" + strconv.Itoa(pid) }
