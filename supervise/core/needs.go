package core

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/policy"
	"runitbox/supervise/state"
)

// needs is what is known of services that need others, and of those that are needed.
// Trees without such have nothing in it.
type needs struct {
	mu   sync.Mutex
	own  map[string]*needing // by the name of who needs
	of   map[string]*needed  // by the name of what is needed
	left chan struct{}       // of one: a service was let go
}

// needing is a service that needs others.
type needing struct {
	edges []edge
	said  string // of what it was last said that it waits for that
	late  bool   // it waits for so long that it is to be said
}

// edge is that one service needs another. A broken one is of a circle, and nobody waits
// for it.
type edge struct {
	name   string // what is needed
	broken bool
}

// needed is a service that others need, whether there is one of that name or not.
type needed struct {
	standing machine.Standing
	by       map[string]bool // names of those that wait
}

// lack is what a service waits for.
type lack struct {
	name     string
	standing machine.Standing
}

// used says whether there have been services that need others.
func (n *needs) used() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.own != nil
}

// circle is what was found by set: services that need each other, in their order, and which
// of them does no longer wait for the next.
type circle struct {
	names []string
	who   string
	what  string
}

// set takes what a service needs, as its directory says it. Circles that are in it are
// broken, each where its youngest entry is; made tells when that was made by which one
// needs the other.
func (n *needs) set(name string, list []string, made func(who, what string) int64) (found []circle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.own[name]
	n.forgetWait(name)
	if len(list) == 0 {
		delete(n.own, name)
		return nil
	}
	if n.own == nil {
		n.own, n.of, n.left = map[string]*needing{}, map[string]*needed{}, make(chan struct{}, 1)
	}
	now := &needing{}
	n.own[name] = now
	if before != nil {
		now.said, now.late = before.said, before.late
	}
	for _, need := range list {
		e := edge{name: need}
		if before != nil && slices.Contains(before.edges, edge{need, true}) {
			e.broken = n.path(need, name) != nil // it may be none any more
		}
		now.edges = append(now.edges, e)
	}
	for i := range now.edges {
		for !now.edges[i].broken {
			way := n.path(now.edges[i].name, name)
			if way == nil {
				break
			}
			found = append(found, n.breakUp(append([]string{name}, way...), made))
		}
	}
	return found
}

// forgetWait takes a service out of those that wait. n.mu is locked.
func (n *needs) forgetWait(name string) {
	if o := n.own[name]; o != nil {
		for _, e := range o.edges {
			if x := n.of[e.name]; x != nil {
				delete(x.by, name)
			}
		}
	}
}

// path is the way by which one service needs another, from the one to the other; nil if
// it does not.
func (n *needs) path(from, to string) []string {
	came := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			var way []string
			for ; at != ""; at = came[at] {
				way = append(way, at)
			}
			slices.Reverse(way)
			return way
		}
		if o := n.own[at]; o != nil {
			for _, e := range o.edges {
				if _, been := came[e.name]; !been && !e.broken {
					came[e.name] = at
					queue = append(queue, e.name)
				}
			}
		}
	}
	return nil
}

// breakUp breaks the youngest edge of a circle, whose first name is also its last.
func (n *needs) breakUp(names []string, made func(who, what string) int64) circle {
	var youngest *edge
	var when int64
	c := circle{names: names}
	for i, name := range names[:len(names)-1] {
		edges := n.own[name].edges
		e := &edges[slices.IndexFunc(edges, func(e edge) bool { return e.name == names[i+1] })]
		if t := made(name, e.name); youngest == nil || t > when {
			youngest, when, c.who, c.what = e, t, name, e.name
		}
	}
	youngest.broken = true
	return c
}

// lacks is what the service waits for, and has it told when that changes. What nobody has
// asked for yet is asked for by ask, which says whether it is there.
func (n *needs) lacks(s *service, ask func(name string) bool) (all []lack) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.own[s.name]
	if o == nil {
		return nil
	}
	for _, e := range o.edges {
		if e.broken {
			continue
		}
		x := n.of[e.name]
		if x == nil {
			x = &needed{by: map[string]bool{}}
			n.of[e.name] = x
			if ask(e.name) {
				x.standing = machine.Coming
			}
		}
		if x.standing != machine.Reached {
			all = append(all, lack{e.name, x.standing})
			x.by[s.name] = true
		}
	}
	if len(all) == 0 {
		n.forgetWait(s.name)
		o.said, o.late = "", false
	}
	return all
}

// told takes the standing of a service that others may need, and gives those that wait.
func (n *needs) told(name string, now machine.Standing) (who []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x := n.of[name]
	if x == nil || x.standing == now {
		return nil
	}
	was := x.standing
	if x.standing = now; was == machine.Absent && now == machine.Coming { // nobody goes on by that
		return nil
	}
	return slices.Collect(maps.Keys(x.by))
}

// leave says that the service does not wait any more.
func (n *needs) leave(s *service) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.own[s.name]; o != nil {
		o.said, o.late = "", false
	}
	n.forgetWait(s.name)
}

// trouble is what is to be said of a service that waits, if that is not what was said
// last. What may yet change by itself is given some time first, if late is not set.
func (n *needs) trouble(name string, lacks []lack, late bool) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.own[name]
	if o == nil {
		return ""
	}
	o.late = o.late || late
	var parts []string
	for _, l := range lacks {
		text := map[machine.Standing]string{
			machine.Absent: ", which is not supervised", machine.Stopped: ", which is down", machine.GivenUp: ", which was given up",
		}[l.standing]
		if text != "" && (o.late || l.standing == machine.GivenUp) {
			parts = append(parts, l.name+text)
		}
	}
	text := strings.Join(parts, "; ")
	if text == o.said {
		return ""
	}
	o.said = text
	return text
}

// readNeeds reads what the service needs.
func (s *service) readNeeds() {
	var list []string
	if s.names.Needs {
		var err error
		if list, err = policy.Needs(s.dir.FD); err != nil {
			s.warn(err)
		}
		if len(list) > 0 && s.core.link == nil {
			s.warn(errors.New("./needs is for services of one runsvdir: it is not waited for"))
			list = nil
		}
	} else if !s.needs {
		return
	}
	s.needs = len(list) > 0
	for _, c := range s.core.needs.set(s.name, list, s.core.needMade) {
		s.core.Say(diag.Warning, c.who, errors.New("needs: "+strings.Join(c.names, " needs ")+", in a circle: "+c.who+" does not wait for "+c.what))
		if other := s.core.services.named(c.who); other != nil && other != s {
			other.post(event{kind: evNeeds, who: &other.main})
		}
	}
}

// needMade is when the entry of needs/ was made, or last changed, by which one service
// needs the other.
func (c *Core) needMade(who, what string) int64 {
	var st unix.Stat_t
	if unix.Lstat(c.dir+"/"+who+"/needs/"+what, &st) != nil {
		return 0
	}
	return st.Mtim.Nano()
}

// lacks is what the service waits for before it is started.
func (s *service) lacks() []lack {
	if !s.needs {
		return nil
	}
	return s.core.needs.lacks(s, func(name string) bool {
		other := s.core.services.named(name)
		if other != nil {
			other.post(event{kind: evAsked, who: &other.main})
		}
		return other != nil
	})
}

// lacksAny says whether something that it needs is not ready.
func (s *service) lacksAny() bool { return len(s.lacks()) > 0 || s.lacksLog() }

// lacksLog says whether the service is to write to another's log service that is not there.
func (s *service) lacksLog() bool { return s.loan != nil && s.core.loans.waits(s.loan, s.name) }

// needsBrief is how long a service waits before others are told: in a tree that begins most
// do for a moment.
const needsBrief = 50 * time.Millisecond

// lookNeeds looks whether the service, which waits, has what it needs.
func (s *service) lookNeeds() {
	if s.lacksAny() {
		s.tellNeeds(false)
		return
	}
	s.looked = s.main.rec.Word != state.ProcWaits // a moment ago
	s.feed(&s.main, machine.Met)
	s.looked = false
}

// waitsOn has a service that waits for more than a moment seen to do so, and after a while
// said for what.
func (s *service) waitsOn() {
	if s.published && s.main.rec.Word == state.ProcWaits {
		s.tellNeeds(true)
		if s.lacksLog() {
			s.warn(errors.New("it waits for the service whose log ./log leads to, which is not supervised"))
		}
		return
	}
	l := state.Process{Word: state.ProcWaits, Status: s.main.ws}
	if s.main.hasEnded {
		l.Ticks = 1
	}
	s.record(&s.main, l)
	s.showWaiting()
	s.main.restFor(time.Second)
}

// tellNeeds says what the service waits for and will not be ready by itself.
func (s *service) tellNeeds(late bool) {
	if text := s.core.needs.trouble(s.name, s.lacks(), late); text != "" {
		s.warn(errors.New("it waits for " + text))
	}
}

// tellStanding tells those that wait for the service what it is.
func (s *service) tellStanding() {
	if s.needed {
		now := s.main.st.Standing()
		s.core.wakeNeeding(s.core.needs.told(s.name, now))
	}
}

// expect takes note of a service that is about to be opened, and that others may need.
func (n *needs) expect(s *service) {
	n.mu.Lock()
	x := n.of[s.name]
	if x != nil {
		x.standing = machine.Coming
	}
	n.mu.Unlock()
	if x != nil {
		s.post(event{kind: evAsked, who: &s.main})
	}
}

// forgetNeeds takes the service out of what is known.
func (c *Core) forgetNeeds(s *service) {
	if !c.needs.used() {
		return
	}
	c.needs.set(s.name, nil, nil)
	c.wakeNeeding(c.needs.told(s.name, machine.Absent))
	select {
	case c.needs.left <- struct{}{}:
	default:
	}
}

func (c *Core) wakeNeeding(who []string) {
	for _, name := range who {
		if s := c.services.named(name); s != nil {
			s.post(event{kind: evNeeds, who: &s.main})
		}
	}
}

// exitAll has every service exit: those first that need others, and these when they have
// ended, or when their share of the time is over.
func (c *Core) exitAll(limit time.Duration) {
	if c.isOrphaned() { // else the scanner says it of what is left with it
		c.services.exitAllLeft()
	}
	if !c.needs.used() {
		c.services.post(event{kind: evCommand, cmd: machine.CmdExit})
		return
	}
	begin := time.Now()
	rest := map[string]*service{}
	for _, s := range c.services.all() {
		rest[s.name] = s
	}
	by := c.needs.dependents()
	depth := map[string]int{}
	deepest := 0
	for name := range rest {
		deepest = max(deepest, depthOf(name, by, depth))
	}
	for len(rest) > 0 {
		next := limit
		for name, s := range rest {
			share := limit * time.Duration(depth[name]) / time.Duration(deepest+1)
			late := ""
			for _, other := range by[name] {
				if c.services.named(other) != nil {
					late = other
				}
			}
			if late != "" {
				if time.Since(begin) < share {
					next = min(next, share)
					continue
				}
				s.warn(errors.New("it is told to exit, though " + late + ", which needs it, has not ended"))
			}
			s.post(event{kind: evCommand, who: &s.main, cmd: machine.CmdExit})
			delete(rest, name)
		}
		if len(rest) > 0 {
			select {
			case <-c.needs.left:
			case <-time.After(time.Until(begin.Add(next))):
			}
		}
	}
}

// dependents are those that need each service, by its name.
func (n *needs) dependents() map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	by := map[string][]string{}
	for name, o := range n.own {
		for _, e := range o.edges {
			if !e.broken {
				by[e.name] = append(by[e.name], name)
			}
		}
	}
	return by
}

// depthOf is how many services in a row need the one of that name.
func depthOf(name string, by map[string][]string, known map[string]int) int {
	d, ok := known[name]
	if ok {
		return d
	}
	for _, other := range by[name] {
		d = max(d, 1+depthOf(other, by, known))
	}
	known[name] = d
	return d
}
