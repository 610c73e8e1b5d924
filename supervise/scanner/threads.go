package scanner

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/self"
	"runitbox/supervise/threads"
)

// awaitThreads sees to the threads that the scanner needs, and where there may be too
// little room waits for them: what it starts takes of the same room. A signal ends
// that, and is to be acted on.
func (s *Scanner) awaitThreads(scarce bool) (late []unix.Signal) {
	// And what looks at directories, what makes a core or writes to standard error, and
	// the log.
	s.need = self.RuntimeThreads() + runtime.GOMAXPROCS(0) + 2
	if s.ring != nil {
		s.need++
	}
	s.reserve = sync.OnceFunc(func() { threads.Reserve(s.need) })
	if !scarce { // then there is no template: no goroutine here is locked to its thread
		time.AfterFunc(2*startTime, s.reserve) // where the first look is not over sooner
		return nil
	}
	s.need += threads.Template
	sig := threads.Wait(func() bool {
		if !threads.Reserve(s.need) {
			return false
		}
		threads.Reserve(s.need + 2) // no more are made later, and entries may hang
		return true
	}, func() { s.warn(errors.New("too few processes may be made; waiting.")) }, s.sigs)
	if sig != nil {
		return []unix.Signal{sig.(unix.Signal)}
	}
	return nil
}

// threadsFor sees to threads for so many who wait for an answer, and says whether there
// are. To make some takes all that there are first: so many are made at once.
func (s *Scanner) threadsFor(workers int) bool {
	n := s.need + workers
	return threads.Count() >= n || threads.More(n+workers/2) || threads.Count() >= n
}
