//go:build !slim

package scanner

import (
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/policy"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// KnowsPrefix says whether this executable can do what Scanner.Prefix asks for.
const KnowsPrefix = true

// leftOut tells of names that mean nothing to this executable: there are none.
type leftOut struct{}

func (*leftOut) in([]string) error { return nil }

// Where there is a log service of the whole tree, what the scanner has to say goes into the
// FIFO that it reads, which takes the place of standard error.

// openSaid opens that FIFO.
func (a *answer) openSaid(at int) {
	if a.state != isFresh && a.state != isKnown {
		return
	}
	fd, err := sys.Open(at, a.name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return // it is asked for again
	}
	defer unix.Close(fd)
	w, err := makeSaid(servicedir.Dir{FD: fd})
	if root := statedir.Root(); err != nil && root != "" {
		var state int
		if state, err = statedir.Make(root, fd, ".", -1); err == nil {
			defer unix.Close(state)
			w, err = makeSaid(servicedir.Dir{FD: fd, State: state, Moved: true})
		}
	}
	if err == nil {
		a.said = int32(w)
	}
}

// makeSaid opens that FIFO of a service directory, made before the core comes to it.
func makeSaid(d servicedir.Dir) (int, error) {
	if _, err := d.MakeSupervise(""); err != nil {
		return -1, err
	}
	return d.OpenSaid()
}

func (a *answer) closeSaid() {
	if a.said != 0 {
		unix.Close(int(a.said))
		a.said = 0
	}
}

// speakTo has what this process says go to the log service that was found.
func (s *Scanner) speakTo(a *answer) {
	if a.said == 0 || s.stderr != 0 {
		a.closeSaid()
		return
	}
	own, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		err = unix.Dup3(int(a.said), 2, 0)
	}
	a.closeSaid()
	if err != nil {
		s.warn(fmt.Errorf("unable to write to %s: %w", policy.CatchAll, err))
		return
	}
	s.stderr = own
	s.ring.setQuiet(true)
}

// speakAside has what this process says go to where it went first.
func (s *Scanner) speakAside() {
	if s.stderr == 0 {
		return
	}
	unix.Dup3(s.stderr, 2, 0)
	unix.Close(s.stderr)
	s.stderr = 0
	s.ring.setQuiet(false)
}

// ownStderr is a copy of what standard error was first; -1 where there is none to be had. It
// is one also where standard error is that now: it may lead elsewhere when the copy is used.
func (s *Scanner) ownStderr() int {
	own := 2
	if s.stderr != 0 {
		own = s.stderr
	}
	fd, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 16)
	if err != nil {
		return -1
	}
	return fd
}
