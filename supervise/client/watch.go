package client

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/policy"
	"runitbox/supervise/state"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// Result is how waiting for an order ended.
type Result int

// The results. A Notice ends nothing: there is more to come.
const (
	Notice   Result = iota // Err is to be told
	Done                   // as ordered; ErrNotRunning where that was the aim
	Failed                 // Err says why
	TimedOut               // Status is where the service got stuck
)

// Outcome is what became of an order.
type Outcome struct {
	Result Result
	Status state.Record
	Err    error
}

// waitState is what the client keeps on a service it waits for.
type waitState struct {
	due    time.Time     // when to look again, if nothing happens before
	blind  time.Duration // what to wait at most where nothing wakes us
	pause  time.Duration // what to wait for the look after that
	status state.Record  // seen at the last look

	watch int // inotify's number for supervise/, or -1
	ok    int // supervise/ok, whose last reader's end is an event; or -1

	check      *check    // ./check, while it runs
	checkOf    int       // pid of the service when it was started
	checkGood  bool      // it has passed, for that pid
	checkDue   time.Time // when to start it again
	checkPause time.Duration
	checkSick  bool // that ./check cannot be asked for now has been told
}

// notBegun is the state before the first look.
var notBegun = waitState{watch: -1, ok: -1}

// What is not told is asked for: at first soon, then at these intervals.
const (
	askWatched   = 420 * time.Millisecond // while events are expected to come first
	askUnwatched = 15 * time.Millisecond  // or more, if there are many to ask about
	askFirst     = time.Millisecond
	checkFirst   = 20 * time.Millisecond
)

// The pauses of the first looks, some 25 ms together, and for how many orders they are made.
const (
	quickFirst = 500 * time.Microsecond
	quickLast  = 10 * time.Millisecond
	quickMost  = 16
)

// Wait waits until every order has been carried out, or until the time given,
// and says at once what became of each. It wakes for what happens below
// supervise/, for the end of a runsv and for the end of a ./check; where
// nothing can be watched it asks.
func (c *Client) Wait(orders []*Order, until time.Time, say func(*Order, Outcome)) {
	orders = slices.Clone(orders)
	for _, o := range orders {
		o.blind = max(askUnwatched, time.Duration(len(orders))*100*time.Microsecond)
	}
	w := waiter{client: c, epoll: -1, inotify: -1}
	defer w.close()
	round := func(all bool) { // looks at those that are due, keeps those to wait for
		now := time.Now()
		rest := orders[:0]
		for _, o := range orders {
			if !all && o.due.After(now) || !w.look(o, say) {
				rest = append(rest, o)
				continue
			}
			w.drop(o)
		}
		orders = rest
	}
	round(true)
	if len(orders) == 0 {
		return
	}
	// Who has watched something by inotify is held up by the kernel for some ten
	// milliseconds when he ends. So what is over in less is asked for.
	for pause := quickFirst; pause < quickLast && len(orders) <= quickMost && time.Until(until) > pause; pause += pause / 2 {
		time.Sleep(pause)
		if round(true); len(orders) == 0 {
			return
		}
	}
	w.open()
	for _, o := range orders {
		w.attend(o)
	}
	round(true) // for what happened before there was a watch
	over := func(o *Order) bool { return !time.Now().Before(o.last(until)) }
	for len(orders) > 0 {
		if slices.ContainsFunc(orders, over) {
			round(true)
			orders = slices.DeleteFunc(orders, func(o *Order) bool {
				late := over(o)
				if late {
					say(o, w.late(o))
					w.drop(o)
				}
				return late
			})
			continue
		}
		next := orders[0].last(until)
		for _, o := range orders {
			w.attend(o)
			for _, t := range []time.Time{o.due, o.last(until)} {
				if t.Before(next) {
					next = t
				}
			}
		}
		w.sleep(time.Until(next))
		round(false)
	}
}

// last is when the wait for an order ends, of which all may take the time until.
func (o *Order) last(until time.Time) time.Time {
	if o.Last.After(until) {
		return o.Last
	}
	return until
}

// StopTime is the time that a service has to stop by its file timeout-kill, 0 if it tells none.
func StopTime(dir string) time.Duration {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(at)
	d, err := policy.Timeout(at, policy.TimeoutKill)
	if err != nil {
		return 0
	}
	return d
}

// waiter holds what a Wait watches with.
type waiter struct {
	client         *Client
	epoll, inotify int // -1 where the system has none to give

	fds     map[int32]*Order   // by descriptor: ok, or ./check's pidfd
	watches map[int32][]*Order // by inotify's number; one directory may be waited for twice
	oks     int                // how many descriptors are for ok
	pidfds  int                // and for the ends of checks
}

// look says what is known of an order and whether that is its end.
func (w *waiter) look(o *Order, say func(*Order, Outcome)) bool {
	end := func(r Result, err error) bool {
		say(o, Outcome{r, o.status, err})
		return true
	}
	w.reap(o)
	r, err := Reach(o.Path)
	if err != nil {
		return end(Failed, err)
	}
	defer r.Close()
	switch rec, err := r.Probe(); {
	case errors.Is(err, ErrNotRunning) && r.abandoned():
		return o.later(o.blind)
	case errors.Is(err, ErrNotRunning) && o.leaves():
		return end(Done, err)
	case o.comes && isAbsent(err) && w.client.isComing(o):
		return o.later(o.blind)
	case err != nil:
		return end(Failed, err)
	default:
		o.status = rec
		if err := w.client.begin(o); err != nil {
			return end(Failed, err)
		}
	}
	if !o.delivered() {
		return o.later(o.blind)
	}
	if !met(o.Until, o.Before, o.status) {
		return o.later(0)
	}
	if !checked(o.Until, o.status) {
		return end(Done, nil)
	}
	ready := r.Readiness()
	if ready == state.NotReady {
		return o.later(0)
	}
	if left := SteadyTime - time.Since(o.status.Since); o.Steady && ready == state.NotSaid && left > 0 {
		o.due = time.Now().Add(left)
		return false
	}
	return w.ask(r, o, end, say)
}

// isComing says whether the service of an order is still to be supervised by somebody.
func (c *Client) isComing(o *Order) bool {
	comes, early := c.coming.comes(o.Path)
	return comes || early
}

// begin sends the command of an order whose service has come to be supervised.
func (c *Client) begin(o *Order) error {
	cmd := o.unsent
	o.unsent, o.comes = "", false
	if cmd == "" {
		return nil
	}
	return c.send(o, cmd, false)
}

// leaves says whether the order is for runsv to exit.
func (o *Order) leaves() bool { return o.Until == "x" }

// later sets when to look again and is the answer that it is not over. Where
// nothing will wake us for what is missing, most says how long that is at most.
func (o *Order) later(most time.Duration) bool {
	if most == 0 {
		most = askWatched
		if o.watch < 0 {
			most = o.blind
		} else {
			o.pause = most
		}
	}
	o.pause = min(max(o.pause, askFirst), most)
	o.due = time.Now().Add(o.pause)
	o.pause *= 2
	return false
}

// ask has ./check judge a service that is otherwise as ordered.
func (w *waiter) ask(r *Remote, o *Order, end func(Result, error) bool, say func(*Order, Outcome)) bool {
	switch {
	case o.checkGood && o.checkOf == o.status.PID:
		return end(Done, nil)
	case o.check != nil && o.check.fd >= 0:
		return o.later(0)
	case o.check != nil:
		return o.later(o.blind)
	}
	if now := time.Now(); o.checkDue.After(now) {
		o.due = o.checkDue
		return false
	}
	sick := func(doing string, err error) bool {
		if !o.checkSick {
			o.checkSick = true
			say(o, Outcome{Notice, o.status, CheckError{doing, err}})
		}
		return o.later(o.blind)
	}
	exists, err := r.has("check")
	if err != nil {
		return sick("unable to stat", err)
	}
	if !exists {
		return end(Done, nil)
	}
	switch o.check, err = startCheck(o.Path, w.pidfds < maxHeld()); {
	case sys.Passing(err):
		return sick("unable to run", err)
	case err != nil:
		say(o, Outcome{Notice, o.status, CheckError{"unable to run", err}})
		return end(Done, nil)
	}
	o.checkOf = o.status.PID
	if o.check.fd < 0 { // its end has to be asked for
		return o.later(o.blind)
	}
	w.pidfds++
	return o.later(0)
}

// reap takes note of the end of an order's ./check.
func (w *waiter) reap(o *Order) {
	if o.check == nil {
		return
	}
	over, passed := o.check.ended()
	if !over {
		return
	}
	w.unwatch(o.check)
	o.check, o.checkGood = nil, passed
	if !passed {
		o.checkPause = min(max(2*o.checkPause, checkFirst), askWatched)
		o.checkDue = time.Now().Add(o.checkPause)
	}
}

// late is the outcome of an order whose time is over.
func (w *waiter) late(o *Order) Outcome {
	if r, err := Reach(o.Path); err == nil {
		defer r.Close()
		if _, err := r.Probe(); errors.Is(err, ErrNotRunning) || o.comes && isAbsent(err) { // and nobody came to replace it
			if o.leaves() {
				return Outcome{Done, o.status, err}
			}
			return Outcome{Failed, o.status, err}
		}
	}
	return Outcome{Result: TimedOut, Status: o.status}
}

// open prepares for events.
func (w *waiter) open() {
	w.fds, w.watches = map[int32]*Order{}, map[int32][]*Order{}
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		w.epoll = -1
		return
	}
	if w.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		w.inotify = -1
		return
	}
	w.expect(w.inotify, unix.EPOLLIN, nil)
}

// close lets go of everything.
func (w *waiter) close() {
	for _, fd := range []int{w.epoll, w.inotify} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// attend watches an order's service: the directory where runsv renames its
// status into place, and supervise/ok, where its end is seen. It renews what
// has been lost.
func (w *waiter) attend(o *Order) {
	dir := o.Path
	if w.inotify >= 0 && o.watch < 0 || w.epoll >= 0 && o.ok < 0 && w.oks < maxHeld() {
		dir = statedir.Of(o.Path)
	}
	if w.inotify >= 0 && o.watch < 0 {
		n, err := unix.InotifyAddWatch(w.inotify, dir+"/supervise", unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		if err == nil {
			o.watch = n
			w.watches[int32(n)] = append(w.watches[int32(n)], o)
			o.due = time.Time{}
		}
	}
	if w.epoll >= 0 && o.ok < 0 && w.oks < maxHeld() {
		fd, err := unix.Open(dir+"/supervise/ok", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			o.ok = fd
			w.oks++
			w.expect(fd, 0, o) // EPOLLERR, without a reader, comes unasked
		}
	}
	if o.check != nil && o.check.fd >= 0 && w.fds[int32(o.check.fd)] == nil && !w.expect(o.check.fd, unix.EPOLLIN, o) {
		w.unwatch(o.check)
	}
}

// expect has epoll tell of events on fd, for o, and says whether it will.
func (w *waiter) expect(fd int, events uint32, o *Order) bool {
	if w.epoll < 0 || unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}) != nil {
		return false
	}
	w.fds[int32(fd)] = o
	return true
}

// forget closes a descriptor, of which epoll then tells no more.
func (w *waiter) forget(fd int) {
	if fd >= 0 {
		delete(w.fds, int32(fd))
		unix.Close(fd)
	}
}

// unwatch closes the descriptor of a check.
func (w *waiter) unwatch(c *check) {
	if c.fd >= 0 {
		w.forget(c.fd)
		c.fd = -1
		w.pidfds--
	}
}

// drop ends the wait for an order.
func (w *waiter) drop(o *Order) {
	o.release()
	if o.ok >= 0 {
		w.forget(o.ok)
		w.oks--
	}
	if o.check != nil {
		o.check.kill()
		w.unwatch(o.check)
	}
	o.waitState = waitState{status: o.status, watch: -1, ok: -1}
}

// sleep returns when something has happened to a service waited for, which is
// due for a look then, or when the time is over.
func (w *waiter) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	if w.epoll < 0 {
		time.Sleep(d)
		return
	}
	var events [64]unix.EpollEvent
	n, err := unix.EpollWait(w.epoll, events[:], int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30)))
	if err != nil {
		return // a signal
	}
	for _, ev := range events[:n] {
		switch o := w.fds[ev.Fd]; {
		case int(ev.Fd) == w.inotify:
			w.drain()
		case o == nil:
		case int(ev.Fd) == o.ok: // runsv is gone
			w.forget(o.ok)
			o.ok = -1
			w.oks--
			o.due, o.pause = time.Time{}, 0
		default: // ./check is over
			o.due = time.Time{}
		}
	}
}

// drain reads inotify's events and makes the orders due that they concern.
func (w *waiter) drain() {
	var buf [4096]byte
	for {
		n, err := unix.Read(w.inotify, buf[:])
		if err != nil || n < unix.SizeofInotifyEvent {
			return
		}
		for ev := range sys.InotifyEvents(buf[:n]) {
			orders := w.watches[ev.Watch]
			if ev.Mask&unix.IN_Q_OVERFLOW != 0 {
				for _, some := range w.watches {
					wake(some)
				}
				continue
			}
			wake(orders)
			if ev.Mask&unix.IN_IGNORED != 0 { // the directory is gone, perhaps replaced
				delete(w.watches, ev.Watch)
				for _, o := range orders {
					o.watch = -1
				}
			}
		}
	}
}

// wake makes orders due.
func wake(orders []*Order) {
	for _, o := range orders {
		o.due = time.Time{}
	}
}
