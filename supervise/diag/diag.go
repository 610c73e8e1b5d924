// Package diag says what there is to be said on standard error without that anybody waits
// for its reader.
package diag

import (
	"sync"
	"time"

	"runitbox/applets/slim/fmt"
)

// Level is the weight of what a supervisor has to say.
type Level byte

// The levels of runsv's and runsvdir's messages.
const (
	Warning Level = iota
	Fatal
)

// Queue says what there is to be said, one message after the other, and has
// nobody wait for it: standard error may lead to one who does not read it.
type Queue struct {
	Say func(level Level, service string, err error)

	mu    sync.Mutex
	queue []words
	talks bool
	lost  int           // messages that there was no room for
	quiet chan struct{} // is closed when all is said
	begun time.Time     // when the last message was begun
}

// words are one message.
type words struct {
	level   Level
	service string
	err     error
}

// wordsMax is how many messages wait for a reader of standard error; what comes
// beyond that is counted only.
const wordsMax = 1000

// FinishTime is how long the end of the process waits for what is still to be said.
const FinishTime = time.Second

// Tell has a message said, soon.
func (v *Queue) Tell(level Level, service string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) >= wordsMax {
		v.lost++
		return
	}
	v.queue = append(v.queue, words{level, service, err})
	if !v.talks {
		v.talks, v.quiet, v.begun = true, make(chan struct{}), time.Now()
		go v.talk()
	}
}

// talk says all there is.
func (v *Queue) talk() {
	for {
		w, ok := v.next()
		if !ok {
			return
		}
		v.Say(w.level, w.service, w.err)
	}
}

// next is the next message, and how many were lost where that was the last.
func (v *Queue) next() (w words, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case len(v.queue) > 0:
		w, v.queue, v.begun = v.queue[0], v.queue[1:], time.Now()
	case v.lost > 0:
		w = words{Warning, "", fmt.Errorf("standard error was not read for a while: %d messages are lost.", v.lost)}
		v.lost = 0
	default:
		v.queue, v.talks = nil, false
		close(v.quiet)
		return w, false
	}
	return w, true
}

// Settle waits until what was told is said, where somebody reads it: so it comes
// before what follows it.
func (v *Queue) Settle() {
	v.mu.Lock()
	held := v.talks && time.Since(v.begun) > patient
	v.mu.Unlock()
	if !held {
		v.Finish(patient)
	}
}

// patient is how long what follows a message waits for it to be said.
const patient = 500 * time.Millisecond

// Finish waits until all is said, but no longer than limit.
func (v *Queue) Finish(limit time.Duration) {
	v.mu.Lock()
	talks, quiet := v.talks, v.quiet
	v.mu.Unlock()
	if !talks {
		return
	}
	select {
	case <-quiet:
	case <-time.After(limit):
	}
}
