package supervise

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spawner makes the children. It is a thread with a descriptor table of its own:
// a child gets a copy of the table of the thread that makes it, and the kernel
// sizes that copy after the highest descriptor open, for as long as the child
// lives. So the thousands of descriptors of a large tree stay in the other
// threads' table, and what one child needs is fetched from there
// (pidfd_getfd(2)).
//
// The children are the process's own all the same, with no helper in between.
type spawner struct {
	number int
	self   int // pidfd of the process; -1 where nothing can be fetched
	env    []string
	core   int
	files  *unix.Rlimit // the children's limit of descriptors
	clock  bool         // the start of a process can be told from the time alone
	shared bool         // the thread has the process's descriptors

	mu    sync.Mutex
	queue []order
	more  chan struct{} // of one: the queue has grown
	over  bool          // nothing more is made

	// making is held from before a process is made until its service has been
	// told of it, so that who finds a dead child under it knows whose it is,
	// and its end is never told before its beginning.
	making sync.Mutex
	made   func(o order, pid int)
}

// order is one process to be made.
type order struct {
	who     *unit
	role    role
	argv    []string
	dir     string // working directory below the service's: "log", or ""
	fds     []int  // passed on: the service directory, then stdin and stdout where they are given
	stdin   bool   // stdin is passed too
	stdout  bool   // stdout is passed too
	session bool   // in a session of its own
	life    string // path of the record that is written before and after; "" for a control script
	before  Life
	after   string // the word of the record once the process is there
	answer  chan<- event
}

// maxSpawners is how many threads make the children of a tree: one waits while
// its child becomes a program, which is most of what a start takes.
const maxSpawners = 2

// newSpawner starts the thread, which is the one of that number. It must come
// before the process opens many descriptors, since those open now stay in the
// thread's table: all but the private ones, which a child that is held up in
// exec must not keep open.
func newSpawner(number, core int, private ...int) (*spawner, error) {
	// The runtime's poller must exist before the tables part: its descriptors
	// are then the same in both.
	time.AfterFunc(0, func() {}).Stop()
	s := &spawner{number: number, self: ownPidfd(), env: os.Environ(), core: core, more: make(chan struct{}, 1)}
	ready := make(chan error)
	go s.run(private, ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("unable to part the spawner's descriptors: %w", err)
	}
	return s, nil
}

// ownPidfd is a pidfd of this process by which its descriptors can be fetched;
// -1 where that is not to be had (before Linux 5.6, or where calls are filtered).
var ownPidfd = sync.OnceValue(func() int {
	self, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return -1
	}
	fd, err := unix.PidfdGetfd(self, self, 0)
	if err != nil {
		unix.Close(self)
		return -1
	}
	unix.Close(fd)
	return self
})

// run is the thread. It touches descriptors by system calls only.
func (s *spawner) run(private []int, ready chan<- error) {
	runtime.LockOSThread() // for ever: no other goroutine may meet this thread's table
	if unix.Gettid() == unix.Getpid() {
		// The first thread's table is what /proc/self/fd shows, and what is
		// fetched from: it stays the process's. While this thread is locked the
		// next is another.
		other := make(chan error)
		go s.run(private, other)
		err, failed := <-other
		runtime.UnlockOSThread()
		if failed {
			ready <- err
		} else {
			close(ready)
		}
		return
	}
	if err := s.part(private); err != nil {
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	close(ready)
	for range s.more {
		for o, ok := s.next(); ok; o, ok = s.next() {
			s.serve(o)
		}
	}
}

// part gives the thread a descriptor table of its own, without the private ones.
// Containers may forbid that. The thread then has the others' table, and all it
// is worse for is the memory of children in a large tree.
func (s *spawner) part(private []int) error {
	err := error(unix.ENOSYS)
	if s.self >= 0 {
		err = unix.Unshare(unshared)
	}
	if err != nil {
		s.shared = true
		if rest := unshared &^ unix.CLONE_FILES; rest != 0 {
			return unix.Unshare(rest)
		}
		return nil
	}
	for _, fd := range private {
		unix.Close(fd)
	}
	return nil
}

// start puts o in the queue, however long that is; the answer comes to its
// service as an event, and until then o.fds must stay open.
func (s *spawner) start(o order) {
	s.mu.Lock()
	s.queue = append(s.queue, o)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// next takes an order out of the queue.
func (s *spawner) next() (o order, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		o, s.queue = s.queue[0], s.queue[1:]
		if !s.over {
			return o, true
		}
		o.answer <- event{kind: evUnmade, who: o.who, role: o.role, err: errOver}
	}
	s.queue = nil
	return o, false
}

// serve fetches the descriptors of one order and makes its process.
func (s *spawner) serve(o order) {
	fds := o.fds
	if !s.shared {
		fds = make([]int, 0, 3)
		for _, fd := range o.fds {
			fd, err := unix.PidfdGetfd(s.self, fd, 0)
			if err != nil {
				o.answer <- event{kind: evUnmade, who: o.who, role: o.role, err: fmt.Errorf("unable to pass descriptors, sleeping: %w", err)}
				return
			}
			defer unix.Close(fd)
			fds = append(fds, fd)
		}
	}
	s.make(o, fds)
}

// errOver answers the orders that came too late.
var errOver = errors.New("the supervisor is about to be replaced")

// quit has nothing more made; what waits is answered.
func (s *spawner) quit() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
}

// make makes one process. The record of it is written here too: what is to be
// made before that is done, its pid by the process itself, and its start
// between the fork and any other. So even where that fails,
// one process of each thread's at the most is not recorded.
func (s *spawner) make(o order, fds []int) {
	defer o.who.svc.crash()
	fail := func(kind evKind, text string, err error) {
		o.answer <- event{kind: kind, who: o.who, role: o.role, err: fmt.Errorf("%s: %w", text, err)}
	}
	var recordErr error
	record := making{fd: -1}
	life := o.before
	if o.life != "" {
		life.Boot, life.Core, life.Ticks = bootID(), s.core, ticksNow()
		record, recordErr = writeMaking(fds[0], o.life, life)
		defer record.close()
	}
	dir, where := fds[0], "unable to change directory"
	if o.dir != "" {
		var err error
		where += " to ./" + o.dir
		if dir, err = open(dir, o.dir, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
			fail(evUnexecuted, where, err)
			return
		}
		defer unix.Close(dir)
	}
	c := child{path: o.argv[0], argv: o.argv, env: s.env, files: []int{0, 1, 2}, dir: dir, record: max(record.fd, 0), slot: s.number}
	next := 1
	if o.stdin {
		c.files[0] = fds[next]
		next++
	}
	if o.stdout {
		c.files[1] = fds[next]
	}
	s.making.Lock()
	defer s.making.Unlock()
	start := c.start
	if o.session {
		start = c.startInSession
	}
	var by uint64
	c.born = &by
	begun := ticksNow()
	pid, err := start(s.files)
	switch err {
	case nil:
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		fail(evUnmade, "unable to fork, sleeping", err)
		return
	default:
		if d, ok := err.(dirError); ok {
			fail(evUnexecuted, where, d.error)
		} else {
			o.answer <- event{kind: evUnexecuted, who: o.who, role: o.role, err: err}
		}
		return
	}
	s.made(o, pid)
	if o.life != "" && recordErr == nil {
		life.Word, life.PID, life.Ticks = o.after, pid, begun
		if by == 0 {
			by = ticksNow()
		}
		if by != begun || !s.clock {
			st, ok := statOf(pid)
			life.Ticks = st.ticks
			s.clock = ok && begun <= st.ticks && st.ticks <= by
		}
		recordErr = record.made(o.life, life)
	}
	o.answer <- event{kind: evSpawned, who: o.who, role: o.role, pid: pid, err: recordErr}
}
