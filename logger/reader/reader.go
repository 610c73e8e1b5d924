// Package reader reads what loggers have written: the directories of svlogd and the
// like, with current and the finished logs beside it, merged by the stamps of their
// lines. It changes nothing there, and goes on where files are rotated, packed and
// deleted meanwhile.
package reader

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"runitbox/applets/slim/fmt"
)

// Entry is a line, or a piece of one that is very long.
type Entry struct {
	Source int    // the number of its directory
	Time   int64  // nanoseconds since 1970, where there is a stamp on this line or above it
	Timed  bool   // there is
	Text   []byte // without stamp and newline; valid until the next
	Rest   bool   // it is the rest of the line before
	More   bool   // the line goes on
}

// Reader merges directories of logs. The fields are set before the first directory is
// added.
type Reader struct {
	Since, Until time.Time // only lines of that time, where they are not zero
	Match        func(text []byte) bool
	Last         int // only so many lines of what is there already; -1 are all
	Emit         func(*Entry) error
	Unpack       func(program string, from *os.File) (plain io.Reader, done func() error, err error)
	Warn         func(error)

	sources   []*source
	heap      []*source // those with lines, the first line at the top
	following bool
	notify    *watcher
	tail      *ring
	until     int64
	entry     Entry
	chosen    bool // the line whose pieces come is one to be told
}

// blockSize is how much of each directory is held in memory, where there are few.
const blockSize = 256 << 10

// Add takes a directory in and says by which number its entries are known. Where from
// is not zero only lines of that time on count in it.
func (r *Reader) Add(dir string, from time.Time) (number int, err error) {
	s := &source{number: len(r.sources), dir: dir, r: r, watch: -1}
	if r.notify != nil {
		if err := r.notify.add(s); err != nil {
			return 0, fmt.Errorf("unable to watch %s: %w", dir, err)
		}
	}
	if _, err := s.look(true); err != nil {
		return 0, err
	}
	s.from = max(nanos(from, math.MinInt64), nanos(r.Since, math.MinInt64))
	s.files = slices.DeleteFunc(s.files, s.isOlder)
	if from.IsZero() && r.Last >= 0 && r.Since.IsZero() && r.Until.IsZero() && r.Match == nil {
		s.toTail(r.Last)
	}
	s.buf = make([]byte, max(8<<10, min(blockSize, 64<<20/(len(r.sources)+1))))
	r.sources = append(r.sources, s)
	s.dirty = true
	return s.number, nil
}

// isOlder says of a finished log that it has nothing of the time that counts: it ends before
// that by its name and, since the clock may have been set back while it was written, begins
// before that, too.
func (s *source) isOlder(name string) bool {
	if end, _ := rotated(name); end >= s.from {
		return false
	}
	f, err := openFinished(s.dir, name)
	if err != nil {
		return true
	}
	defer f.Close()
	var begin [64]byte
	n, _ := f.ReadAt(begin[:], 0)
	first, _, _ := bytes.Cut(begin[:n], []byte("\n"))
	ns, _ := s.cal.parse(first)
	return ns < s.from
}

// nanos is a time in nanoseconds, or what it is where there is none.
func nanos(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixNano()
}

// Read tells all that is there at present.
func (r *Reader) Read() error {
	r.until = nanos(r.Until, math.MaxInt64)
	if r.Last >= 0 {
		r.tail = &ring{room: r.Last}
	}
	err := r.merge()
	if r.tail != nil && err == nil {
		err = r.tail.tell(r.Emit)
		r.tail = nil
	}
	return err
}

// Close lets go of all files.
func (r *Reader) Close() {
	for _, s := range r.sources {
		s.close()
	}
	if r.notify != nil {
		r.notify.close()
	}
}

// warn tells what cannot be read; the rest is.
func (r *Reader) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}

// before says whether a's next line comes before b's.
func before(a, b *source) bool {
	return a.key() < b.key() || a.key() == b.key() && a.number < b.number
}

// merge tells the lines of all sources in which something has happened, the oldest
// first, until there are none for the present.
func (r *Reader) merge() error {
	for again := true; again; { // to look at one may tell of others
		if err := r.mergeDirty(); err != nil {
			return err
		}
		again = slices.ContainsFunc(r.sources, func(s *source) bool { return s.dirty })
	}
	return nil
}

// mergeDirty is one round of that.
func (r *Reader) mergeDirty() error {
	r.heap = r.heap[:0]
	for _, s := range r.sources {
		if s.dirty {
			s.dirty = false
			if s.fill() {
				r.heap = append(r.heap, s)
			}
		}
	}
	for i := len(r.heap)/2 - 1; i >= 0; i-- {
		r.sift(i)
	}
	for len(r.heap) > 0 {
		more, err := r.run(r.heap[0])
		if err != nil {
			return err
		}
		if !more {
			last := len(r.heap) - 1
			r.heap[0] = r.heap[last]
			r.heap = r.heap[:last]
		}
		r.sift(0)
	}
	return nil
}

// sift moves the source at i down to its place in the heap.
func (r *Reader) sift(i int) {
	for {
		least := 2*i + 1
		if least >= len(r.heap) {
			return
		}
		if right := least + 1; right < len(r.heap) && before(r.heap[right], r.heap[least]) {
			least = right
		}
		if !before(r.heap[least], r.heap[i]) {
			return
		}
		r.heap[i], r.heap[least] = r.heap[least], r.heap[i]
		i = least
	}
}

// run tells lines of s as long as they come before those of all others. It is false
// when s has no more.
func (r *Reader) run(s *source) (more bool, err error) {
	var next *source
	if len(r.heap) > 1 {
		next = r.heap[1]
	}
	if len(r.heap) > 2 && before(r.heap[2], next) {
		next = r.heap[2]
	}
	for {
		if err := r.tell(s); err != nil {
			return false, err
		}
		s.at++
		goesOn := false
		if s.at == len(s.lines) {
			goesOn = s.open
			if !s.fill() {
				return false, nil
			}
		}
		if !goesOn && next != nil && !before(s, next) {
			return true, nil
		}
	}
}

// tell emits the next line of s, if it is one to be told.
func (r *Reader) tell(s *source) error {
	l := &s.lines[s.at]
	rest := s.rest && s.at == 0
	text := s.buf[l.text:l.end]
	if !rest {
		at := l.time
		if at == noTime {
			at = l.key
		}
		r.chosen = at >= s.from && at <= r.until && (r.Match == nil || r.Match(text))
	}
	if !r.chosen {
		return nil
	}
	r.entry = Entry{s.number, l.time, l.time != noTime, text, rest, s.open && s.at == len(s.lines)-1}
	if r.tail != nil {
		r.tail.add(&r.entry)
		return nil
	}
	return r.Emit(&r.entry)
}

// ring keeps the last lines.
type ring struct {
	room  int
	kept  []Entry
	first int
}

// add keeps a line, and drops the oldest where there is no room.
func (k *ring) add(e *Entry) {
	if e.Rest && len(k.kept) > 0 { // a piece goes to its line
		last := &k.kept[(k.first+len(k.kept)-1)%len(k.kept)]
		last.Text = append(last.Text, e.Text...)
		return
	}
	if len(k.kept) < k.room {
		kept := *e
		kept.Text = append([]byte(nil), e.Text...)
		k.kept = append(k.kept, kept)
		return
	}
	if k.room == 0 {
		return
	}
	old := &k.kept[k.first]
	text := append(old.Text[:0], e.Text...)
	*old = *e
	old.Text = text
	k.first = (k.first + 1) % k.room
}

// tell emits what is kept, the oldest first.
func (k *ring) tell(emit func(*Entry) error) error {
	for i := range k.kept {
		e := &k.kept[(k.first+i)%len(k.kept)]
		e.More = false
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// toTail has the source begin with the last n of its lines, or a little before.
func (s *source) toTail(n int) {
	files := s.files
	s.files = nil
	if s.now != nil {
		found, at := tailOf(s.now, &n)
		if s.after = at; found {
			return
		}
	}
	for i := len(files) - 1; i >= 0 && n > 0; i-- {
		s.files = files[i:]
		s.after = 0
		f, err := openFinished(s.dir, files[i])
		if err != nil {
			continue
		}
		begin := make([]byte, 8)
		k, _ := f.ReadAt(begin, 0)
		if program := packedBy(begin[:k]); program != "" {
			n -= s.r.countPacked(program, f)
		} else if found, at := tailOf(f, &n); found {
			f.Close()
			s.after = at
			return
		}
		f.Close()
	}
}

// countPacked is how many lines are in a packed file; its beginning is read again then.
func (r *Reader) countPacked(program string, f *os.File) (lines int) {
	in, done, err := r.Unpack(program, f)
	if err != nil {
		return 0
	}
	defer done()
	b := make([]byte, 64<<10)
	for {
		n, err := in.Read(b)
		for _, c := range b[:n] {
			if c == '\n' {
				lines++
			}
		}
		if err != nil {
			return lines
		}
	}
}

// tailOf looks for where the last n lines of a file begin. Where it has not so many, n
// is what is missing.
func tailOf(f *os.File, n *int) (found bool, at int64) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return *n == 0, 0
	}
	if *n == 0 {
		return true, end
	}
	b := make([]byte, 64<<10)
	left := *n + 1 // newlines: the last line ends with one
	for at = end; at > 0; {
		size := min(int64(len(b)), at)
		at -= size
		k, err := f.ReadAt(b[:size], at)
		if err != nil && !errors.Is(err, io.EOF) || int64(k) < size {
			return false, 0
		}
		if at+size == end && b[size-1] != '\n' {
			left--
		}
		for i := int(size) - 1; i >= 0; i-- {
			if b[i] == '\n' {
				if left--; left == 0 {
					return true, at + int64(i) + 1
				}
			}
		}
	}
	*n = max(0, left-1)
	return *n == 0, 0
}
