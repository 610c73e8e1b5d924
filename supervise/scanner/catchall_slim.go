//go:build slim

package scanner

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// KnowsPrefix says whether this executable can do what Scanner.Prefix asks for.
const KnowsPrefix = false

// leftOut tells once that there is a log service of the whole tree, since nobody starts it.
type leftOut struct{ said bool }

func (l *leftOut) in(names []string) error {
	if l.said || !slices.Contains(names, ".log") {
		return nil
	}
	l.said = true
	return errors.New(".log is not supervised: this build (SLIM=1) knows nothing of it")
}

// A small build knows no log service of a whole tree, and no pipes of services that were
// let go: what stands here are the names by which the rest asks for them.

type unheard struct {
	name string
	fd   int
}

func (a *answer) openSaid(int)     {}
func (a *answer) closeSaid()       {}
func (s *Scanner) speakTo(*answer) {}
func (s *Scanner) speakAside()     {}
func (s *Scanner) ownStderr() int  { return -1 }
func (s *Scanner) heardOut()       {}
func (s *Scanner) sendUnheard()    {}

// letGo closes what the core has given to keep of an entry.
func (s *Scanner) letGo(e *entry) {
	for _, fd := range e.fds[1:] {
		unix.Close(fd)
	}
	e.fds, e.tags = e.fds[:1], ""
}
