package sys

import (
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Through calls do with a path of /proc that leads to what fd has open.
//
// The kernel keeps each such path, of several hundred bytes, as long as this process lives,
// and who collects the process waits until all are gone: a tenth of a second for a thousand,
// where the machine is busy. So all descriptors go by a few numbers, which nothing else has.
func Through(fd int, do func(path string)) {
	number := numbers.take()
	if number < 0 || unix.Dup3(fd, number, unix.O_CLOEXEC) != nil {
		numbers.give(number)
		do(selfPath(fd))
		return
	}
	do(selfPath(number))
	numbers.give(number)
}

func selfPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// numbers are those by which descriptors go.
var numbers places

type places struct {
	mu   sync.Mutex
	rest int   // what has a number that is not used open: nothing that matters; 0: there is none yet
	free []int // numbers
}

// take gives a number that nobody else uses; -1 where none can be had.
func (p *places) take() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		number := p.free[n-1]
		p.free = p.free[:n-1]
		return number
	}
	if p.rest == 0 {
		fd, err := Open(unix.AT_FDCWD, "/", unix.O_PATH, 0)
		if err != nil {
			return -1
		}
		p.rest = fd
	}
	number, err := unix.FcntlInt(uintptr(p.rest), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1
	}
	return number
}

// give gives it back, and closes what has gone by it.
func (p *places) give(number int) {
	if number < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if unix.Dup3(p.rest, number, unix.O_CLOEXEC) == nil { // else it has something open that is another's
		p.free = append(p.free, number)
		return
	}
	unix.Close(number)
}
