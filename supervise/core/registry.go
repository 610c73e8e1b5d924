package core

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
	"runitbox/supervise/state"
)

// registry knows which services the core has, by their keys, and what is known of those
// that it is to have.
type registry struct {
	mu       sync.Mutex
	services map[string]*service
	byName   map[string]*service // the same by their names; nil until somebody asks
	added    int                 // since addedSince was last asked for
	// unwritten are records that could not be written and are nowhere but with the
	// scanner: of a service by key, of a unit by prefix, of a script by its tag.
	unwritten map[string]map[string]state.Process
	refusals  map[string]string // why services cannot be opened at present
	lefts     map[string]*left  // those that were left to a later try, by key
	turn      string            // which of them the core itself tries to open; "" for none
	turnAt    time.Time         // since when
}

func newRegistry() registry {
	return registry{services: map[string]*service{}, unwritten: map[string]map[string]state.Process{}, refusals: map[string]string{}, lefts: map[string]*left{}}
}

// add takes a service in, and says how many have been added since addedSince.
func (r *registry) add(s *service) (added int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services[s.key] = s
	r.dropLeft(s.key)
	if r.byName != nil {
		r.byName[s.name] = s
	}
	r.added++
	return r.added
}

// addedSince says how many services were added since it was asked for the last time.
func (r *registry) addedSince() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.added
	r.added = 0
	return n
}

// find is the service of that key; nil where there is none.
func (r *registry) find(key string) *service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.services[key]
}

// remove takes a service out that is gone.
func (r *registry) remove(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(s)
}

// take is remove. The registry is locked.
func (r *registry) take(s *service) {
	if r.byName[s.name] == s {
		delete(r.byName, s.name)
	}
	delete(r.services, s.key)
}

// exit has a service exit, and says whether there is one of that key.
func (r *registry) exit(key string, how int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.services[key]
	if s != nil {
		s.post(event{kind: evCommand, cmd: machine.CmdExit, number: how})
	}
	return s != nil
}

// named is the service of that name; nil where there is none.
func (r *registry) named(name string) *service {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = map[string]*service{}
		for _, s := range r.services {
			r.byName[s.name] = s
		}
	}
	return r.byName[name]
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.services)
}

func (r *registry) all() []*service {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.services))
}

// post sends an event to every service.
func (r *registry) post(ev event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.services {
		ev.who = &s.main
		s.post(ev)
	}
}

// setUnwritten takes the records of a service that is about to be added and that are
// with the scanner alone.
func (r *registry) setUnwritten(key string, records map[string]state.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwritten[key] = records
}

// unwrittenOf is the record of a service that goes by that tag, if there is one that is
// with the scanner alone: it is newer than what is in the file.
func (r *registry) unwrittenOf(key, tag string) (record state.Process, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	record, ok = r.unwritten[key][tag]
	return record, ok
}

// opened forgets what was known of a service before it was opened.
func (r *registry) opened(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unwritten, key)
	delete(r.refusals, key)
}

// refuse notes why a service cannot be opened at present, and says whether that is new.
func (r *registry) refuse(key, why string) (isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.refusals[key]
	r.refusals[key] = why
	return before != why
}

// leave takes a service out that is left to a later try. What it was told to do by the scanner,
// and has not heard, is not forgotten.
func (r *registry) leave(s *service, l left) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.exits = l.exits || s.inbox.hasExit()
	r.take(s)
	r.lefts[s.key] = &l
}

// refuseAs is leave for a service that was not even taken in.
func (r *registry) refuseAs(key string, l left) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLeft(key)
	r.lefts[key] = &l
}

// dropLeft forgets it, since the service is tried again, or is gone. The registry is locked.
func (r *registry) dropLeft(key string) {
	if l := r.lefts[key]; l != nil && l.dir >= 0 {
		unix.Close(l.dir)
	}
	delete(r.lefts, key)
}

func (r *registry) forgetLeft(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endTurn(key)
	r.dropLeft(key)
}

// exitLeft notes that a service that is left is to exit, and says whether there is one.
func (r *registry) exitLeft(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lefts[key]
	if l != nil {
		l.exits = true
	}
	return l != nil
}

// tryLeft is what is left of that key, for who alone tries it again. Another that is being
// tried is to be waited for.
func (r *registry) tryLeft(key string) (_ left, ok, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lefts[key]
	if l == nil || l.trying {
		return left{}, false, false
	}
	if r.turn != "" && time.Since(r.turnAt) < leftSlow {
		return left{}, false, true
	}
	l.trying, r.turn, r.turnAt = true, key, time.Now()
	return *l, true, false
}

// tried says that who had the turn has tried.
func (r *registry) tried(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endTurn(key)
}

// endTurn is tried. The registry is locked.
func (r *registry) endTurn(key string) {
	if r.turn == key {
		r.turn = ""
	}
}

// untried says that it could not be tried.
func (r *registry) untried(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endTurn(key)
	if l := r.lefts[key]; l != nil {
		l.trying = false
	}
}

// exitAllLeft notes that all that is left is to exit.
func (r *registry) exitAllLeft() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lefts {
		l.exits = true
	}
}

// allLeft are the keys of what is left.
func (r *registry) allLeft() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.lefts))
}

// isEmpty says whether there is no service, and none is left.
func (r *registry) isEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.services)+len(r.lefts) == 0
}
