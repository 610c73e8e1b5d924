// Package logger takes lines in and puts them into files that rotate: the
// engine of svlogd. An Engine has its own descriptors and no global state, so
// that many can run in one process; the clock, messages, signals and child
// processes are its caller's.
package logger

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Level is how much a message matters.
type Level string

// The levels, as they are shown. Pausing is said before each wait of a step
// that is tried until it succeeds.
const (
	Info    Level = "info"
	Warning Level = "warning"
	Pausing Level = "pausing"
	Fatal   Level = "fatal"
)

// Options says what an Engine is to do. All of it stays as it is.
type Options struct {
	Dirs   []string // log directories, as they are to be shown
	Root   int      // handle of the directory that they are relative to
	Input  int      // where lines come from
	Stamp  Stamp
	Head   int // so many bytes of a line are matched, replaced, shown and forwarded
	Buffer int // at least so many bytes are taken at once; more than Head

	// Replacement stands for each byte of a head that Replaced has as true;
	// nothing is replaced if that is nil.
	Replacement byte
	Replaced    *[256]bool

	Now    func() time.Time
	Report func(level Level, text string, err error) // a message, and its cause or nil
	Stderr func(lines []byte)                        // takes the lines that are selected for it
	Start  func(Child) (ended func() (unix.WaitStatus, bool), err error)

	Errors int      // what processors have as standard error; 0 is ours
	Env    []string // of processors; nil is ours
}

// ErrNoLogs is the end of an engine without a directory to write to.
var ErrNoLogs = errors.New("no functional log directories.")

// ErrKilled is the end by Kill.
var ErrKilled = errors.New("killed")

// errStopped ends whatever waits when Stop was called.
var errStopped = errors.New("stopped")

// pauseTime is between two attempts of a step that must succeed.
const pauseTime = 3 * time.Second

// lineTime is how long Stop waits for the rest of a line of which the begin
// cannot be left to the next logger.
const lineTime = time.Second

// floodSize is how many batches in a row are a flood.
const floodSize = 32

// batchSize is how much is taken at once, at least.
const batchSize = 128 << 10

// Engine writes what comes in to its logs.
type Engine struct {
	o        Options
	host     *Host
	private  bool    // which is there for this engine only
	poll     *poller // while the engine works by itself
	requests atomic.Uint32
	in       *input
	logs     []*log // one per directory, usable or not

	*kit           // what it works with; nil while it does nothing
	takes   int    // so much at once
	buf     []byte // input; the first have bytes are a line's begin that is out of the input already
	have    int
	held    []byte // those bytes, while there is no kit
	boot    uint64 // of the system
	holds   int    // so much of a line's begin a journal can hold
	out     []byte // a log's share of a batch
	stamp   []byte
	marks   []*byte
	scrap   byte
	mid     bool   // the input is inside of a line whose begin is consumed
	batch   uint64 // its number
	halfway bool   // the batch at hand is in some logs and not in others

	choring sync.Mutex // held by the chores that wait for a disk

	// What its host knows of it, under the host's lock but for what is only the
	// worker's.
	id      int32
	state   state
	woken   bool          // while it was at work
	watched bool          // its input is in the epoll set
	news    chan struct{} // wakes it up in the middle of its work
	seat    *seat         // its worker's
	timer   *time.Timer   // wakes it up when something is due
	begun   bool
	due     time.Duration // until then there is nothing to do; below 0 it is forever
	ended   bool
	result  error
	done    func(error)
}

// The requests of an engine's caller.
const (
	rotateRequest = 1 << iota
	reloadRequest
	stopRequest
	leaveRequest // stop, and do not wait for processors
	reapRequest  // a processor may have ended
	killRequest  // end at once, as if killed
	haltRequest  // do nothing
)

// New makes an engine with a host of its own; Run is its life.
func New(o Options) (*Engine, error) { return newEngine(o, batchSize) }

// newEngine makes an engine that takes batch bytes at once, at least.
func newEngine(o Options, batch int) (*Engine, error) {
	h, err := NewHost(HostOptions{})
	if err != nil {
		return nil, err
	}
	e, err := h.newEngine(o, batch)
	if err != nil {
		h.Close()
		return nil, err
	}
	e.private = true
	return e, nil
}

// Engine makes an engine in this host; Start or Run is its life.
func (h *Host) Engine(o Options) (*Engine, error) { return h.newEngine(o, batchSize) }

func (h *Host) newEngine(o Options, batch int) (*Engine, error) {
	e := &Engine{o: o, host: h, boot: h.boot, holds: journalSize(o.Head) - pageSize, takes: max(batch, o.Buffer)}
	if err := h.spareKit(e.takes); err != nil {
		return nil, err
	}
	e.in = &input{fd: o.Input}
	e.batch = uint64(time.Now().UnixNano()) // unlike any number a logger before us left behind
	for _, dir := range o.Dirs {
		e.logs = append(e.logs, newLog(e, dir))
	}
	return e, nil
}

// Rotate asks for a rotation of all logs.
func (e *Engine) Rotate() { e.request(rotateRequest) }

// Reload asks to close all logs and open them anew, with their config files.
func (e *Engine) Reload() { e.request(reloadRequest) }

// Stop asks for the end: no more input beyond the current line, then Run
// returns when the processors have finished. A second Stop leaves them alone.
func (e *Engine) Stop() {
	if e.asked(stopRequest) {
		e.request(leaveRequest)
	}
	e.request(stopRequest)
}

// Kill ends the engine as a kill ends a process: what it is about to do it does, but
// nothing is closed in order.
func (e *Engine) Kill() { e.request(killRequest | stopRequest | leaveRequest) }

// Halt has the engine do nothing, as a stopped process, until Resume.
func (e *Engine) Halt() { e.request(haltRequest) }

// Resume ends a Halt.
func (e *Engine) Resume() {
	e.requests.And(^uint32(haltRequest))
	e.host.wake(e)
}

// halted says that there is nothing to be done before Resume.
func (e *Engine) halted() bool { return e.asked(haltRequest) && !e.asked(killRequest) }

// Reap asks to see whether a child has ended.
func (e *Engine) Reap() { e.request(reapRequest) }

func (e *Engine) request(what uint32) {
	e.requests.Or(what)
	e.host.wake(e)
}

func (e *Engine) asked(what uint32) bool { return e.requests.Load()&what != 0 }

// take says whether something was asked for, and forgets it.
func (e *Engine) take(what uint32) bool { return e.requests.And(^what)&what != 0 }

// Start has the host write lines until the input ends or Stop is called. Then
// done is told nil, or ErrNoLogs if there is no directory to write to.
func (e *Engine) Start(done func(error)) error {
	e.done = done
	return e.host.admit(e)
}

// Run is Start, and waits for the end. A host of the engine's own ends, too.
func (e *Engine) Run() error {
	if e.private {
		defer e.host.Close()
	}
	end := make(chan error, 1)
	if err := e.Start(func(err error) { end <- err }); err != nil {
		return err
	}
	return <-end
}

// enter gives the engine what it needs to work: k, if that is what it needs, and a
// seat.
func (e *Engine) enter(k *kit, s *seat) error {
	if k == nil || k.size < e.takes {
		fresh, err := newKit(e.takes)
		if err != nil {
			e.host.giveBack(k)
			return err
		}
		e.host.giveBack(k)
		k = fresh
	}
	e.kit, e.seat = k, s
	room := k.mem[scanSize:]
	e.buf, e.out = room[:e.takes:e.takes], room[k.size:k.size:k.size+e.takes+e.takes/2]
	e.in.r, e.in.w = k.r, k.w
	copy(e.buf, e.held)
	if e.timer != nil {
		e.timer.Stop()
	}
	return nil
}

// leave gives back what the engine has worked with.
func (e *Engine) leave() *kit {
	if e.held = nil; e.have > 0 && !e.ended {
		e.held = bytes.Clone(e.buf[:e.have])
	}
	k := e.kit
	e.kit, e.buf, e.out = nil, nil, nil
	return k
}

// turn does what is to be done now. More says that there may be something to do at
// once; if not, due says when there is, unless input comes.
func (e *Engine) turn() (more bool) {
	e.host.mu.Lock()
	e.woken = false
	e.host.mu.Unlock()
	if e.halted() {
		e.due = -1
		return false
	}
	if e.asked(killRequest) {
		e.finish(errStopped, false)
		return false
	}
	if !e.begun {
		e.begun = true
		if err := e.open(); err != nil {
			e.finish(err, false)
		}
		return !e.ended
	}
	more, ended, err := e.round()
	if err != nil || ended {
		e.finish(err, ended)
		return false
	}
	if !more {
		e.due = e.idle()
	}
	return more
}

// finish is the engine's end. Without an error the input has ended.
func (e *Engine) finish(err error, eof bool) {
	switch {
	case e.asked(killRequest):
		for l := range e.usable {
			l.shut()
		}
		err = ErrKilled
	case !errors.Is(err, ErrNoLogs):
		err = e.end(err == nil && eof)
	}
	e.ended, e.result = true, err
}

// open goes on where a logger before us has ended.
func (e *Engine) open() error {
	e.in = newInput(e.o.Input, e.takes)
	e.in.r, e.in.w, e.in.host = e.r, e.w, e.host
	plans, err := e.recall()
	if err != nil {
		return err
	}
	usable := false
	for i, l := range e.logs {
		ok, err := l.open(plans[i])
		if err != nil {
			return err
		}
		usable = usable || ok
	}
	if !usable {
		return ErrNoLogs
	}
	return e.hold(0)
}

// round does what is asked for or due, and takes a batch of input.
func (e *Engine) round() (more, ended bool, err error) {
	if e.take(rotateRequest) {
		for l := range e.usable {
			if err := l.rotate(e.mid && l.selects); err != nil {
				return false, false, err
			}
		}
	}
	if e.asked(stopRequest) {
		return false, false, e.lastLine()
	}
	if e.take(reloadRequest) {
		if err := e.reload(); err != nil {
			return false, false, err
		}
	}
	if err := e.tick(); err != nil {
		return false, false, err
	}
	return e.pump()
}

// usable goes through the logs that are open.
func (e *Engine) usable(yield func(*log) bool) {
	for _, l := range e.logs {
		if l.fd >= 0 && !yield(l) {
			return
		}
	}
}

// wait waits for input, d, or one of the requests.
func (e *Engine) wait(d time.Duration, requests uint32) {
	if e.poll != nil {
		e.poll.wait(d, func() bool { return e.asked(requests) })
	} else if many {
		e.host.block(e, d, true, func() bool { return e.asked(requests) })
	}
}

// rest waits for d or one of the requests.
func (e *Engine) rest(d time.Duration, requests uint32) {
	if e.poll != nil {
		e.poll.rest(d, func() bool { return e.asked(requests) })
	} else if many {
		e.host.block(e, d, false, func() bool { return e.asked(requests) })
	}
}

// pause reports a failed step and waits before the next attempt; Stop ends it.
func (e *Engine) pause(text string, cause error) error {
	e.o.Report(Pausing, text, cause)
	for until := time.Now().Add(pauseTime); ; {
		if e.asked(stopRequest) {
			return errStopped
		}
		d := time.Until(until)
		if d <= 0 {
			return nil
		}
		e.rest(d, stopRequest)
	}
}

// reload closes all logs and opens them anew.
func (e *Engine) reload() error {
	for l := range e.usable {
		l.close(!e.mid && e.have == 0 && l.skip == 0)
	}
	usable := false
	for _, l := range e.logs {
		ok, err := l.open(plan{})
		if err != nil {
			return err
		}
		usable = usable || ok
	}
	if !usable {
		return ErrNoLogs
	}
	e.hold(0)
	return nil
}

// tick does what has become due.
func (e *Engine) tick() error {
	e.take(reapRequest)
	now := e.o.Now()
	for _, l := range e.logs {
		l.proc.step(now)
		if l.fd < 0 {
			continue
		}
		if !l.deadline.IsZero() && now.After(l.deadline) {
			l.deadline = now.Add(l.conf.Age)
			if err := l.rotate(e.mid && l.selects); err != nil {
				return err
			}
		}
		if l.lost.bytes > 0 && !now.Before(l.lost.retry) {
			l.announce(now)
		}
		if !l.reread.IsZero() && !now.Before(l.reread) {
			l.configure()
		}
	}
	return nil
}

// idle is the time until something becomes due; negative if nothing will.
func (e *Engine) idle() time.Duration {
	var due time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, l := range e.logs {
		sooner(l.proc.retry)
		if l.fd >= 0 {
			sooner(l.deadline)
			sooner(l.reread)
			if l.lost.bytes > 0 {
				sooner(l.lost.retry)
			}
		}
	}
	if due.IsZero() {
		return -1
	}
	return max(0, due.Sub(e.o.Now())) + time.Microsecond // due is when it has passed
}

// pump takes a batch of input and writes it. More says that there may be more
// at once. It leaves nothing in the input that could be taken.
func (e *Engine) pump() (more, ended bool, err error) {
	n, what, err := e.in.fetch(e.buf[e.have:])
	if err != nil {
		e.o.Report(Warning, "unable to read standard input", err)
	}
	if what == nothing {
		return false, false, nil
	}
	e.kit.full = e.kit.full || n > scanSize
	n += e.have
	final := what == atEnd
	whole := bytes.LastIndexByte(e.buf[e.have:n], '\n') + 1
	switch {
	case final, whole == 0 && (e.mid || n > e.room()):
		whole = n // all there is, or a piece of a line that is longer than what can be held
	case whole > 0:
		whole += e.have
	default:
		return !e.in.pipe, false, e.hold(n - e.have) // a file wakes nobody
	}
	tail := n - whole
	if err := e.handle(e.buf[:whole], final); err != nil {
		return false, final, err
	}
	if !e.in.pipe {
		e.have = copy(e.buf, e.buf[whole:n])
	}
	return tail > 0 || n >= 4<<10 || !e.in.pipe, final, nil
}

// room is how much of a line's begin can be held.
func (e *Engine) room() int {
	if e.in.pipe {
		return min(e.holds, len(e.buf)-1)
	}
	return len(e.buf) - 1
}

// hold takes n more bytes of a line's begin out of the input, after those that
// are held already. With 0 it writes down what is held.
func (e *Engine) hold(n int) error {
	held := e.buf[:e.have+n]
	if e.in.pipe && len(held) > 0 {
		e.note(held, n, len(held))
		if err := e.consume(held[e.have:], e.out[:cap(e.out)]); err != nil {
			return err
		}
	}
	e.have = len(held)
	return nil
}

// handle writes a batch, which begins with what is held: whole lines, or a
// piece of one that is too long. What it got from a pipe it consumes when it is
// in the files. Final says that a line without an end ends here.
func (e *Engine) handle(data []byte, final bool) error {
	if len(data) == 0 && !(final && e.mid) {
		return nil
	}
	now := e.o.Now()
	e.stamp = appendStamp(e.stamp[:0], e.o.Stamp, now)
	if e.in.pipe && len(data) > 0 {
		e.note(data, len(data)-e.have, 0)
	}
	if e.o.Replaced != nil {
		e.replace(data)
	}
	e.halfway = true
	var stop error
	for l := range e.usable {
		if err := l.put(data, final); err != nil {
			if stop = err; e.in.pipe {
				return err
			}
		}
	}
	if stop != nil {
		return stop
	}
	e.halfway = false
	e.mid = len(data) > 0 && !final && data[len(data)-1] != '\n'
	if e.in.pipe {
		if err := e.consume(data[e.have:], e.buf); err != nil {
			return err
		}
	}
	if e.have = 0; e.in.pipe && final {
		e.note(nil, 0, 0) // what was held is no more, also if another writer comes
	}
	if len(e.errs) > 0 {
		e.o.Stderr(e.errs)
		e.errs = e.errs[:0]
	}
	return nil
}

// note puts a batch down in the journals: data, of which the last n bytes are
// in the pipe, and the number of its bytes that are held when those are consumed.
func (e *Engine) note(data []byte, n, held int) {
	fresh := data[len(data)-n:]
	b := entry{boot: e.boot, dev: e.in.dev, ino: e.in.ino, batch: e.batch, n: uint64(n), sum: checksum(fresh), prefix: prefixSum(fresh),
		held0: uint64(e.have), held1: uint64(held)}
	marks, i := e.markCount(n), 0
	for l := range e.usable {
		if n == 0 && l.skip > 0 {
			continue // its journal tells of a batch that is still in the pipe, and what is held before that
		}
		b.want = 0x100
		if i < marks {
			b.want = uint64(data[len(data)-marks+i])
		}
		i++
		b.current, b.size0, b.size1 = l.inode, uint64(l.size), uint64(l.size)
		b.done = uint64(min(l.skip, len(data)))
		b.next = b.done
		b.cont0 = uint64(l.continuation())
		b.cont1 = b.cont0
		l.guard(func(j *journal) { j.begin(b, data[:max(e.have, held)]) })
	}
}

// markCount is how many of the logs have a mark in a batch of n bytes.
func (e *Engine) markCount(n int) int {
	count := 0
	for range e.usable {
		count++
	}
	return min(count, n, maxMarks)
}

// consume takes a batch off the pipe; waste is room for bytes that nobody needs.
func (e *Engine) consume(data, waste []byte) error {
	marks, i := e.markCount(len(data)), 0
	e.marks = e.marks[:0]
	for l := range e.usable {
		l.guard(func(j *journal) { j.ends(l.continuation()) })
		if i++; i <= marks {
			mark := &e.scrap // for a log without a journal
			if l.journal != nil && l.journal.entry() != nil {
				mark = &l.journal.entry().mark[0]
			}
			e.marks = append(e.marks, mark)
		}
	}
	if err := e.in.consume(len(data), waste, e.marks); err != nil {
		return e.unread(err)
	}
	if len(data) > 0 {
		e.batch++
	}
	return nil
}

// replace puts the replacement into the heads of data.
func (e *Engine) replace(data []byte) {
	for mid := e.mid; len(data) > 0; mid = false {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			end = len(data)
		}
		if !mid {
			for i, c := range data[:min(end, e.o.Head)] {
				if e.o.Replaced[c] {
					data[i] = e.o.Replacement
				}
			}
		}
		data = data[min(end+1, len(data)):]
	}
}

// lastLine is what Stop still reads: what is there, but no more than one
// batch, and the rest of a line whose begin is out of the input. What it does
// not take it leaves to the next logger, at a line's begin.
func (e *Engine) lastLine() error {
	if e.in.pipe && (e.have == 0 && !e.mid || e.skips()) {
		return e.lastBatch()
	}
	until := time.Now().Add(lineTime)
	for e.have > 0 || e.mid {
		ended, err := e.readOn()
		if err != nil || ended {
			return errors.Join(err, errStopped)
		}
		d := time.Until(until)
		if d <= 0 {
			break
		}
		if (e.have > 0 || e.mid) && ready(e.in.fd, unix.POLLIN) == 0 {
			e.wait(d, leaveRequest)
		}
	}
	if e.have > 0 && !e.journaled() {
		if err := e.handle(e.buf[:e.have], true); err != nil {
			return err
		}
		e.have = 0
	}
	return errStopped
}

// skips says that a logger before us has written a batch into a file that is still in the
// pipe. It is consumed as a whole, or not: of a part nobody would know that it is written.
func (e *Engine) skips() bool {
	for l := range e.usable {
		if l.skip > 0 {
			return true
		}
	}
	return false
}

// lastBatch writes the whole lines that are in the pipe, but no more than one
// batch.
func (e *Engine) lastBatch() error {
	n, what, err := e.in.fetch(e.buf[e.have:])
	if err != nil {
		e.o.Report(Warning, "unable to read standard input", err)
	}
	whole := bytes.LastIndexByte(e.buf[e.have:e.have+n], '\n') + 1
	if what == atEnd {
		whole = n
	}
	if whole > 0 || what == atEnd {
		whole += e.have
	}
	return errors.Join(e.handle(e.buf[:whole], what == atEnd), errStopped)
}

// readOn takes what there is of the line whose begin is out of the input.
func (e *Engine) readOn() (ended bool, err error) {
	room := e.buf[e.have:]
	if !e.in.pipe {
		room = room[:1] // what is read cannot be left to others
	}
	n, what, err := e.in.fetch(room)
	if err != nil {
		e.o.Report(Warning, "unable to read standard input", err)
	}
	end := bytes.IndexByte(room[:n], '\n') + 1
	switch {
	case what == nothing:
		return false, nil
	case what == atEnd:
		return true, e.handle(e.buf[:e.have+n], true)
	case end > 0:
		return true, e.handle(e.buf[:e.have+end], false)
	case e.mid || e.have+n > e.room():
		return false, e.handle(e.buf[:e.have+n], false)
	}
	return false, e.hold(n)
}

// journaled says that a journal has what is held.
func (e *Engine) journaled() bool {
	for l := range e.usable {
		if e.in.pipe && l.journal != nil {
			return true
		}
	}
	return false
}

// recall reads the journals of a logger before us and finds out what is held,
// and what each log need not write again. What is held for an input that is no
// more becomes a line.
func (e *Engine) recall() ([]plan, error) {
	plans := make([]plan, len(e.logs))
	lefts := make([]*leftover, len(e.logs))
	for i, l := range e.logs {
		left, err := l.leftover()
		if err != nil {
			return nil, err
		}
		if lefts[i] = left; left != nil {
			left.gone = left.consumed()
		}
	}
	last, err := e.believed(lefts)
	if err != nil {
		return nil, err
	}
	if last != nil {
		if e.batch = last.batch; last.gone {
			e.batch++
		}
		size := len(last.now())
		if !last.gone {
			size += int(last.n)
		}
		e.fit(size)
		e.have = copy(e.buf, last.now())
		e.holds = max(e.holds, e.have)
	}
	for i, left := range lefts {
		switch {
		case left == nil:
		case !left.believed || !bytes.Equal(left.now(), e.buf[:e.have]):
			plans[i] = plan{held: left.now()}
		case left.gone:
			plans[i] = plan{entry: &left.entry, cont: continuation(left.cont1)}
		default:
			plans[i] = plan{entry: &left.entry, again: true, cont: continuation(left.cont0)}
		}
		e.mid = e.mid || plans[i].cont != atLine
	}
	return plans, nil
}

// believed finds out which journals are of our input and begin where it does,
// and which of them is the last.
func (e *Engine) believed(lefts []*leftover) (last *leftover, err error) {
	gone := map[uint64]bool{} // the batches that were consumed
	size := 0
	for _, left := range lefts {
		if left == nil {
			continue
		}
		left.ours = e.in.pipe && left.boot == e.boot && left.dev == e.in.dev && left.ino == e.in.ino
		if left.ours {
			gone[left.batch] = gone[left.batch] || left.gone
			size = max(size, int(min(left.n, uint64(max(e.in.holds(), 0)))))
		}
	}
	var there []byte // the input's begin
	for _, left := range lefts {
		if left == nil || !left.ours {
			continue
		}
		left.gone = gone[left.batch]
		if !left.gone && left.n > 0 && there == nil {
			e.fit(size) // as that logger had with its -b
			n, _, err := e.in.fetch(e.buf)
			if err != nil {
				return nil, e.unread(err)
			}
			if there = e.buf[:n]; !e.in.pipe { // it was read
				e.have = n
				return nil, nil
			}
		}
		left.believed = left.gone || left.begins(there, e.in.holds())
		if left.believed && (last == nil || left.batch > last.batch) {
			last = left
		}
	}
	for _, left := range lefts { // a batch that another was begun after was consumed
		if left != nil && left.ours && last != nil && left.batch < last.batch {
			left.gone, left.believed = true, true
		}
	}
	return last, nil
}

// fit makes buf large enough for n bytes and what comes after them, for good.
func (e *Engine) fit(n int) {
	if n >= len(e.buf) {
		e.buf = append(make([]byte, 0, n+1), e.buf...)[:n+1]
		e.out = make([]byte, 0, max(cap(e.out), n+n/2))
		e.takes = n + 1
	}
}

// unread says why there is no more input: that is its end, as for runit.
func (e *Engine) unread(err error) error {
	e.o.Report(Warning, "unable to read standard input", err)
	return errStopped
}

// end closes everything. At the input's end the processors do their work, as
// long as it takes; Stop waits for those that run.
func (e *Engine) end(eof bool) error {
	for !e.asked(leaveRequest) {
		e.take(reapRequest)
		busy := false
		for _, l := range e.logs {
			l.proc.last = e.asked(stopRequest) || !eof
			l.proc.step(e.o.Now())
			busy = busy || l.proc.busy()
		}
		if !busy {
			break
		}
		news := uint32(reapRequest | leaveRequest)
		if !e.asked(stopRequest) {
			news |= stopRequest
		}
		e.rest(e.idle(), news)
	}
	keep := e.mid || e.have > 0
	if e.halfway && e.in.pipe {
		keep = !e.settleOne()
	}
	for l := range e.usable {
		l.close(!keep && l.skip == 0)
		if l.lost.bytes > 0 {
			l.warn(l.lost.String(), nil) // there still is no room to say so in the log
		}
	}
	return nil
}

// settleOne consumes what is written of a batch that Stop has cut short, so
// that even a logger without our journal goes on at the right place. It says
// whether the journal is of no use any more. With more than one log, or inside
// of a line, it is.
func (e *Engine) settleOne() bool {
	var only *log
	for l := range e.usable {
		if only != nil {
			return false
		}
		only = l
	}
	switch {
	case only == nil || only.torn:
		return false
	case only.done == 0:
		return e.have == 0
	case only.done < e.have || e.buf[only.done-1] != '\n':
		return false
	}
	if err := e.in.consume(only.done-e.have, e.buf, nil); err != nil {
		e.unread(err)
		return false
	}
	e.have = 0
	return true
}
