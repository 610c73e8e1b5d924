package supervise

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"runitbox/supervise/threads"
)

// fileLimits are the limits of descriptors: what the process was started with,
// which its children get back, and what it has raised them to.
type fileLimits struct {
	given *unix.Rlimit // nil where children get what the runtime says
	most  int
}

// raiseFiles raises the limit of descriptors to what the kernel allows, past
// the hard limit where the process may do that.
func raiseFiles() (l fileLimits) {
	if given, ok := givenFiles(); ok {
		l.given = &given
	}
	l.raise()
	return l
}

func (l *fileLimits) raise() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		l.most = math.MaxInt32
		return
	}
	most := []uint64{lim.Max}
	if b, err := os.ReadFile("/proc/sys/fs/nr_open"); err == nil {
		if n, err := strconv.ParseUint(string(b[:max(0, len(b)-1)]), 10, 64); err == nil && n > lim.Max {
			most = []uint64{n, lim.Max}
		}
	}
	for _, n := range most {
		next := unix.Rlimit{Cur: n, Max: n}
		if l.given != nil && unix.Setrlimit(unix.RLIMIT_NOFILE, &next) == nil {
			lim = next
			break
		}
	}
	l.most = int(min(lim.Cur, math.MaxInt32))
}

// lower puts the limit back that the process was started with, for a program
// that takes its place.
func (l *fileLimits) lower() {
	if l.given != nil {
		unix.Setrlimit(unix.RLIMIT_NOFILE, l.given)
	}
}

// givenFiles is the limit of descriptors that the process was started with. The
// Go runtime raises the soft one and keeps what it was to itself; but it puts
// it back before it executes a program, also where there is none.
func givenFiles() (lim unix.Rlimit, ok bool) {
	syscall.Exec("", nil, nil)
	return lim, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil
}

// awaitFirst is threads.Await for what the runtime needs for itself.
func awaitFirst(say func(error)) {
	threads.Await(threads.Runtime+runtime.GOMAXPROCS(0), say)
}

// What a service takes of the process's descriptors, at most: the directory, the
// lock, control, ok, and the pidfd of an adopted process; and with a log service
// its lock, control, ok, pidfd and the two ends of the pipe. What the limit leaves
// beyond the reserve is for what is opened for a moment: a tree that has as many
// services as it can still writes their files and takes them over.
const (
	needMain = 5
	needLog  = 6
	reserve  = 64
)

// errRoom says that there are no descriptors left for a service.
var errRoom = errors.New("too few descriptors")

// lack is the message of too few descriptors, with the numbers.
func lack(name string, limit int) error {
	return fmt.Errorf("%w: %s waits until another service is gone, and so does what comes after it: the limit is %d, each service needs %d, and %d more with a log service.",
		errRoom, name, limit, needMain, needLog)
}
