package supervise

import (
	"math"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process to be made of a program.
type child struct {
	path string
	argv []string
	env  []string
	// files become the descriptors from 0 on; one that is to become i is i
	// itself or above all the others.
	files   []int
	dir     int  // descriptor of its working directory; 0 for this process's
	session bool // in a session that it leads
	// record, if not 0, is the descriptor of a file: before it becomes its program
	// the child writes its pid there, at lifePID. Only where limitsChildren.
	record int
	// table, if not 0, is how many descriptors the child is to have room for. A
	// table that grows costs a program with threads up to a hundredth of a second
	// each time, in which it opens nothing. Only where limitsChildren.
	table int
	// born, if not nil, gets the time, in the ticks of ticksNow, at which the
	// process was there, where it can say that itself.
	born *uint64
}

// dirError says that a child could not enter its working directory.
type dirError struct{ error }

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
	if !limitsChildren {
		return lim, false
	}
	syscall.Exec("", nil, nil)
	return lim, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil
}
