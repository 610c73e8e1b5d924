package self

import (
	"errors"
	"math"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/sys"
	"runitbox/supervise/threads"
)

// FileLimits are the limits of descriptors: what the process was started with,
// which its children get back, and what it has raised them to.
type FileLimits struct {
	Given *unix.Rlimit // nil where children get what the runtime says
	Most  int
}

// RaiseFiles raises the limit of descriptors to what the kernel allows, past
// the hard limit where the process may do that.
func RaiseFiles() (l FileLimits) {
	if given, ok := LowerFiles(); ok {
		l.Given = &given
	}
	l.Raise()
	return l
}

// Raise raises the limit again, as after a program could not be executed.
func (l *FileLimits) Raise() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		l.Most = math.MaxInt32
		return
	}
	most := []uint64{lim.Max}
	if b, err := sys.Slurp(unix.AT_FDCWD, "/proc/sys/fs/nr_open", 64); err == nil {
		if n, err := strconv.ParseUint(string(b[:max(0, len(b)-1)]), 10, 64); err == nil && n > lim.Max {
			most = []uint64{n, lim.Max}
		}
	}
	for _, n := range most {
		next := unix.Rlimit{Cur: n, Max: n}
		if l.Given != nil && unix.Setrlimit(unix.RLIMIT_NOFILE, &next) == nil {
			lim = next
			break
		}
	}
	l.Most = int(min(lim.Cur, math.MaxInt32))
}

// Lower puts the limit back that the process was started with, for a program
// that takes its place.
func (l *FileLimits) Lower() {
	if l.Given != nil {
		unix.Setrlimit(unix.RLIMIT_NOFILE, l.Given)
	}
}

// LowerFiles puts the limit of descriptors back that the process was started with, and
// says what it is. The
// Go runtime raises the soft one and keeps what it was to itself; but it puts
// it back before it executes a program, also where there is none.
func LowerFiles() (lim unix.Rlimit, ok bool) {
	syscall.Exec("", nil, nil)
	return lim, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil
}

// RuntimeThreads are those that the runtime of a program that catches signals has for itself.
func RuntimeThreads() int {
	if handler() == 0 {
		return threads.Runtime + threads.Signals
	}
	return threads.Runtime
}

// AwaitThreads is threads.Await for what the runtime needs for itself.
func AwaitThreads(say func(error)) (scarce bool) {
	return threads.Await(RuntimeThreads()+threads.Template+runtime.GOMAXPROCS(0), say)
}

// What a service takes of the process's descriptors, at most: the directory, the
// lock, control, ok, and the pidfd of an adopted process; and with a log service
// its lock, control, ok, pidfd and the two ends of the pipe. One that says by a pipe or a
// socket that it is ready has one more for each. What the limit leaves
// beyond the reserve is for what is opened for a moment: a tree that has as many
// services as it can still writes their files and takes them over.
const (
	NeedMain = 5
	NeedLog  = 6
	Reserve  = 64
)

// ErrShortage says that there are no descriptors left for a service.
var ErrShortage = errors.New("too few descriptors")

// Shortage is the message of too few descriptors, with the numbers.
func Shortage(name string, limit int) error {
	return fmt.Errorf("%w: %s waits until another service is gone, and so does what comes after it: the limit is %d, each service needs %d, and %d more with a log service.",
		ErrShortage, name, limit, NeedMain, NeedLog)
}

// GrowTable makes room for so many descriptors. A table that grows while the process has
// threads takes up to a hundredth of a second each time, in which nobody opens a
// descriptor for which there is no room yet: so it grows once, beside what else is done at
// the start.
func GrowTable(n int) {
	if high, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, n-1); err == nil {
		unix.Close(high)
	}
}
