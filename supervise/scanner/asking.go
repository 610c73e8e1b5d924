package scanner

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/wire"
)

// An entry whose file system does not answer holds up nobody but who has asked about it:
// another goes on behind it, and what it answers in the end is for a later look.

// sharedDir is an open directory that is closed when nobody uses it any more: who
// hangs on an entry keeps it open.
type sharedDir struct {
	file  *os.File
	fd    int
	users atomic.Int32
}

func (d *sharedDir) leave() {
	if d.users.Add(-1) == 0 {
		d.file.Close()
	}
}

// asking is one round of questions, a name after the other.
type asking struct {
	d     *directory
	dir   *sharedDir
	names []string
	one   func(name string) answer
	next  atomic.Int32 // the name that nobody has begun with
	found chan numbered
	over  bool // of d.mu: who has yet to answer does so for the next look
}

// numbered is the answer for the name of that number.
type numbered struct {
	i int
	answer
}

// ask asks about all names. Who does not get an answer in time is left waiting, and
// another goes on with the next name. What is found first is told by some.
func (d *directory) ask(dir *sharedDir, names []string, one func(string) answer, some func([]answer)) (answers []answer) {
	names, answers = d.askedBefore(names)
	k := &asking{d: d, dir: dir, names: names, one: one, found: make(chan numbered, min(len(names), wire.BatchMax))}
	answers = slices.Grow(answers, min(len(names), wire.BatchMax))
	answered := make([]bool, len(names))
	var told []answer // while the scanner is busy with it
	enough := firstFound
	take := func(n numbered) {
		answered[n.i] = true
		if answers = append(answers, n.answer); some != nil && len(answers) >= enough {
			some(answers)
			enough = min(2*enough, wire.BatchMax)
			if told == nil {
				told = make([]answer, 0, wire.BatchMax)
			}
			answers, told = told[:0], answers
		}
	}
	done, before, workers := 0, 0, d.hangers()
	if workers == 0 || d.mayBegin(workers+1) {
		k.begin()
		workers++
	}
	patience := func() time.Duration {
		if workers > 4 {
			return hangNext
		}
		return hangTime
	}
	timer := time.NewTimer(patience())
	defer timer.Stop()
	for done < len(names) {
		select {
		case n := <-k.found:
			done++
			take(n)
			continue
		case <-timer.C:
		}
		if done == before { // all who are at work hang
			if int(k.next.Load()) >= len(names) || !d.mayBegin(workers+1) {
				break
			}
			k.begin()
			workers++
		}
		before = done
		timer.Reset(patience())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k.over = true
	begun := min(int(k.next.Swap(int32(len(names)))), len(names))
	for len(k.found) > 0 {
		take(<-k.found)
	}
	for i, name := range names {
		if !answered[i] {
			if i < begun {
				d.hanging[name] = &hang{since: time.Now()}
			}
			answers = append(answers, answer{name: name, state: isHung})
		}
	}
	return answers
}

// firstFound is how many answers are told together at first, and twice as many each time
// behind that: the core shall have something to do when this process stands still because
// its table of descriptors, of 64 at the start, grows (self.GrowTable).
const firstFound = 16

// hang is what somebody waits for.
type hang struct {
	since time.Time
	said  bool // that it does not answer
}

// hungTime is how long an entry may take to answer until that is said: where the
// machine is busy any takes longer than the others wait for it.
const hungTime = time.Second

// errHung says that a file system does not answer.
var errHung = errors.New("it does not answer; the others are not concerned.")

// begin has another goroutine ask.
func (k *asking) begin() {
	k.dir.users.Add(1)
	go func() {
		defer k.d.touch()()
		defer k.dir.leave()
		for {
			i := int(k.next.Add(1)) - 1
			if i >= len(k.names) {
				return
			}
			k.put(i, k.one(k.names[i]))
			if i%wire.BatchMax == wire.BatchMax-1 {
				runtime.Gosched() // there may be one processor only
			}
		}
	}()
}

// put tells an answer, in this round or, if that is over, in the next.
func (k *asking) put(i int, a answer) {
	for !k.tryPut(i, a) {
		runtime.Gosched()
	}
}

func (k *asking) tryPut(i int, a answer) bool {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	if k.over {
		delete(k.d.hanging, a.name)
		k.d.late[a.name] = a
		ring(k.d.watcher.seen)
		return true
	}
	select {
	case k.found <- numbered{i, a}:
		return true
	default:
		return false
	}
}

// mayBegin says whether so many may wait for an answer at once: each holds a thread.
func (d *directory) mayBegin(workers int) bool {
	return workers <= hangMax && (d.threads == nil || d.threads(workers))
}

// hangers is how many wait for an answer since an earlier look.
func (d *directory) hangers() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.hanging)
}

// askedBefore takes out of names those of which an earlier look has got an answer
// too late, or that it still waits for.
func (d *directory) askedBefore(names []string) (rest []string, answers []answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.late)+len(d.hanging) == 0 {
		return names, nil
	}
	for _, name := range names {
		if a, ok := d.late[name]; ok {
			answers = append(answers, a)
			delete(d.late, name)
		} else if h := d.hanging[name]; h != nil {
			a := answer{name: name, state: isHung}
			if !h.said && time.Since(h.since) >= hungTime {
				h.said, a.err = true, fmt.Errorf("unable to stat %s: %w", name, errHung)
			}
			answers = append(answers, a)
		} else {
			rest = append(rest, name)
		}
	}
	for name, a := range d.late { // it is gone
		a.close()
		delete(d.late, name)
	}
	return rest, answers
}
