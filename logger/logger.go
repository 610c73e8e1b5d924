// Package logger takes lines in and puts them into files that rotate: the
// engine of svlogd. An Engine has its own descriptors and no global state, so
// that many can run in one process; the clock, messages, signals and child
// processes are its caller's.
package logger

import (
	"bytes"
	"errors"
	"fmt"
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
	Start  func(Child) (wait func() unix.WaitStatus, err error)
}

// ErrNoLogs is the end of an engine without a directory to write to.
var ErrNoLogs = errors.New("no functional log directories.")

// errStopped ends whatever waits when Stop was called.
var errStopped = errors.New("stopped")

// pauseTime is between two attempts of a step that must succeed.
const pauseTime = 3 * time.Second

// lineTime is how long Stop waits for the rest of a line of which the begin
// cannot be left to the next logger.
const lineTime = time.Second

// batchSize is how much is taken at once, at least.
const batchSize = 128 << 10

// Engine writes what comes in to its logs.
type Engine struct {
	o        Options
	requests atomic.Uint32
	poll     *poller
	in       *input
	logs     []*log // one per directory, usable or not

	buf      []byte // input; the first have bytes are a line's begin, not from a pipe
	have     int
	out      []byte // a log's share of a batch
	stamp    []byte
	errs     []byte // lines for stderr
	marks    []*byte
	datagram []byte
	scrap    byte
	mid      bool   // the input is inside of a line whose begin is consumed
	batch    uint64 // its number

	halfway bool // the batch at hand is in some logs and not in others
}

// The requests of an engine's caller.
const (
	rotateRequest = 1 << iota
	reloadRequest
	stopRequest
	leaveRequest // stop, and do not wait for processors
	reapRequest  // a processor has ended
)

// New makes an engine; Run is its life.
func New(o Options) (*Engine, error) { return newEngine(o, batchSize) }

// newEngine makes an engine that takes batch bytes at once, at least.
func newEngine(o Options, batch int) (*Engine, error) {
	e := &Engine{o: o}
	size := max(batch, o.Buffer)
	var err error
	if e.in, err = newInput(o.Input, size); err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	if e.poll, err = newPoller(o.Input, e.in.pipe); err != nil {
		e.in.close()
		return nil, err
	}
	e.buf, e.out = make([]byte, size), make([]byte, 0, size+size/2)
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

func (e *Engine) request(what uint32) {
	e.requests.Or(what)
	e.poll.wake()
}

func (e *Engine) asked(what uint32) bool { return e.requests.Load()&what != 0 }

// take says whether something was asked for, and forgets it.
func (e *Engine) take(what uint32) bool { return e.requests.And(^what)&what != 0 }

// Run writes lines until the input ends or Stop is called. It returns nil
// then, and ErrNoLogs if there is no directory to write to.
func (e *Engine) Run() error {
	defer e.poll.close()
	defer e.in.close()
	plans := e.recall()
	usable := false
	for i, l := range e.logs {
		ok, err := l.open(plans[i])
		if err != nil {
			return e.end(false)
		}
		usable = usable || ok
	}
	if !usable {
		return ErrNoLogs
	}
	for {
		ended, err := e.turn()
		switch {
		case errors.Is(err, ErrNoLogs):
			return err
		case err != nil:
			return e.end(false)
		case ended:
			return e.end(true)
		}
	}
}

// turn does what is to be done now: requests, timers, a batch of input; if
// there is nothing it waits.
func (e *Engine) turn() (ended bool, err error) {
	if e.take(rotateRequest) {
		for l := range e.usable {
			if err := l.rotate(); err != nil {
				return false, err
			}
		}
	}
	if e.asked(stopRequest) {
		return false, e.lastLine()
	}
	if e.take(reloadRequest) {
		if err := e.reload(); err != nil {
			return false, err
		}
	}
	if err := e.tick(); err != nil {
		return false, err
	}
	more, ended, err := e.pump()
	if err != nil || ended || more {
		return ended, err
	}
	e.wait(e.idle(), rotateRequest|stopRequest|reloadRequest|reapRequest)
	return false, nil
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
	e.poll.wait(d, func() bool { return e.asked(requests) })
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
		e.wait(d, stopRequest)
	}
}

// reload closes all logs and opens them anew.
func (e *Engine) reload() error {
	for l := range e.usable {
		l.close(!e.mid && l.skip == 0)
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
			if err := l.rotate(); err != nil {
				return err
			}
		}
		if l.lost.bytes > 0 && !now.Before(l.lost.retry) {
			l.announce(now)
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
// at once.
func (e *Engine) pump() (more, ended bool, err error) {
	n, what, err := e.in.fetch(e.buf, e.have)
	if err != nil {
		e.o.Report(Warning, "unable to read standard input", err)
	}
	if what == nothing {
		return false, false, nil
	}
	whole := bytes.LastIndexByte(e.buf[:n], '\n') + 1
	final := what == atEnd
	switch {
	case final:
		whole = n
	case whole > 0:
	case n == len(e.buf):
		whole = n // a line that is longer than the buffer goes in pieces
	case e.in.pipe:
		hungUp := e.in.hungUp() // asked first: after that nothing is added
		m, full := e.in.stuck(e.buf)
		if m == 0 {
			return false, false, nil
		}
		n = m
		whole = bytes.LastIndexByte(e.buf[:n], '\n') + 1
		if whole == 0 {
			if !hungUp && !full {
				return false, false, nil // the partial line is safe where it is
			}
			whole, final = n, hungUp && e.in.holds() == n
		}
	default:
		e.have = n
		return false, false, nil
	}
	if err := e.handle(e.buf[:whole], final); err != nil {
		return false, final, err
	}
	if !e.in.pipe {
		e.have = copy(e.buf, e.buf[whole:n])
		return true, final, nil
	}
	// Nobody will wake us for a tail whose writer is gone, or for the end.
	return whole < n || n >= 4<<10 || e.poll.hung, what == atEnd, nil
}

// handle writes a batch: whole lines, or a piece of one that is too long. What
// it got from a pipe it consumes when it is in the files. Final says that a
// line without an end ends here.
func (e *Engine) handle(data []byte, final bool) error {
	if len(data) == 0 && !(final && e.mid) {
		return nil
	}
	now := e.o.Now()
	e.stamp = appendStamp(e.stamp[:0], e.o.Stamp, now)
	if e.in.pipe && len(data) > 0 {
		e.begin(data)
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
	if e.in.pipe && len(data) > 0 {
		if err := e.consume(data); err != nil {
			e.o.Report(Warning, "unable to read standard input", err)
			return errStopped
		}
	}
	if len(e.errs) > 0 {
		e.o.Stderr(e.errs)
		e.errs = e.errs[:0]
	}
	return nil
}

// begin puts the batch down in the journals.
func (e *Engine) begin(data []byte) {
	e.batch++
	b := entry{boot: bootID(), dev: e.in.dev, ino: e.in.ino, batch: e.batch, n: uint64(len(data)), sum: checksum(data)}
	marks, i := e.markCount(len(data)), 0
	for l := range e.usable {
		b.want = 0x100
		if i < marks {
			b.want = uint64(data[len(data)-marks+i])
		}
		i++
		b.current, b.size0, b.size1 = l.inode, uint64(l.size), uint64(l.size)
		b.done = uint64(min(l.skip, len(data)))
		b.cont0 = uint64(l.continuation())
		l.guard(func(j *journal) { j.begin(b) })
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

// consume takes the batch off the pipe.
func (e *Engine) consume(data []byte) error {
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
	return e.in.consume(len(data), e.buf, e.marks)
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
// batch, and the rest of a line whose begin cannot be left in the input. What
// it does not take it leaves to the next logger, at a line's begin.
func (e *Engine) lastLine() error {
	if e.in.pipe {
		if _, _, err := e.pump(); err != nil {
			return err
		}
	}
	until := time.Now().Add(lineTime)
	for e.have > 0 || e.mid {
		var ended bool
		var err error
		if e.in.pipe {
			_, ended, err = e.pump()
		} else {
			ended, err = e.readOn()
		}
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
	if e.have > 0 {
		if err := e.handle(e.buf[:e.have], true); err != nil {
			return err
		}
		e.have = 0
	}
	return errStopped
}

// readOn reads one byte of the line that is not complete.
func (e *Engine) readOn() (ended bool, err error) {
	if e.have == len(e.buf) {
		_, ended, err = e.pump()
		return ended, err
	}
	n, what, err := e.in.fetch(e.buf[:e.have+1], e.have)
	if what == nothing {
		return false, nil
	}
	line := n > 0 && e.buf[n-1] == '\n'
	if e.have = n; !line && what != atEnd {
		return false, nil
	}
	e.have = 0
	return true, e.handle(e.buf[:n], true)
}

// recall reads the journals of a logger before us and finds out what each log
// need not write again.
func (e *Engine) recall() []plan {
	plans := make([]plan, len(e.logs))
	if !e.in.pipe {
		return plans
	}
	entries := make([]*entry, len(e.logs))
	gone := map[uint64]bool{} // the batches that were consumed
	for i, l := range e.logs {
		fd, err := unix.Openat(e.o.Root, l.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		left, ok := readEntry(fd)
		unix.Close(fd)
		if !ok || left.boot != bootID() || left.dev != e.in.dev || left.ino != e.in.ino {
			continue
		}
		entries[i] = &left
		gone[left.batch] = gone[left.batch] || left.consumed()
	}
	var there []byte // the input's begin
	for i, left := range entries {
		if left == nil {
			continue
		}
		if gone[left.batch] {
			plans[i] = plan{entry: left, cont: continuation(left.cont1)}
			e.mid = e.mid || left.cont1 != 0
			continue
		}
		if there == nil {
			if n := e.in.holds(); n > len(e.buf) && left.n > uint64(len(e.buf)) {
				e.buf = make([]byte, max(e.largest(entries), len(e.buf))) // as that logger had with its -b
			}
			n, _, _ := e.in.fetch(e.buf, 0)
			if there = e.buf[:n]; !e.in.pipe {
				e.have = n // it was read
				return make([]plan, len(e.logs))
			}
		}
		if left.n > uint64(len(there)) || checksum(there[:left.n]) != left.sum {
			continue
		}
		plans[i] = plan{entry: left, again: true, cont: continuation(left.cont0)}
		e.mid = e.mid || left.cont0 != 0
	}
	return plans
}

// largest is the size of the largest of these batches, if a pipe holds so much.
func (e *Engine) largest(entries []*entry) (size int) {
	for _, left := range entries {
		if left != nil && left.n <= uint64(e.in.holds()) {
			size = max(size, int(left.n))
		}
	}
	return size
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
		e.wait(e.idle(), news)
	}
	keep := e.mid
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
// that even a logger without our journal goes on at the right place. With more
// than one log that place is not the same for all, and the journals stay.
func (e *Engine) settleOne() bool {
	var only *log
	for l := range e.usable {
		if only != nil {
			return false
		}
		only = l
	}
	return only != nil && e.in.consume(only.done, e.buf, nil) == nil
}
