package reader

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"

	"runitbox/applets/slim/fmt"
)

// line is one of a block: where it ends, where its text begins behind the stamp, its
// place among the lines of all sources, and its time.
type line struct {
	begin, text, end int
	key, time        int64
}

// source is one directory of logs that is being read.
type source struct {
	number int
	dir    string
	r      *Reader

	files  []string           // finished logs to be read, the oldest first
	now    *os.File           // current, for when its turn comes
	known  [2]map[string]bool // labels of the finished logs in the last list and in that before
	left   []string           // labels of what was current from the file at hand on; "" where there is none yet
	missed bool               // the kernel has not told all of them
	away   bool               // the file that was current before had no label yet at the last look
	strays bool               // there may be finished logs that are not known and were not current since

	name  string    // of the file that is being read
	in    io.Reader // nil: the next file is to be opened
	file  *os.File
	done  func() error // ends what unpacks the file
	live  bool         // the file is current and may grow
	after int64        // of the first file: begin at this byte

	previous []*os.File // the last that were read, which another writer may still have open
	resumed  *os.File   // current, while something late is read from one of these

	buf    []byte
	have   int // bytes in buf
	parsed int // of which so many are in lines
	lines  []line
	at     int  // the next of them
	open   bool // the last of them goes on in the next block
	rest   bool // the first of them is the rest of one
	end    int64
	last   int64
	cal    calendar

	from  int64 // what is older does not count
	watch int32 // inotify's number
	gone  bool  // the directory that is watched is no more at its path
	dirty bool  // something has happened there
}

// maxLine is how much of a line is held at once; a longer one is told in pieces.
const maxLine = 1 << 20

// keptOpen is how many files that were read stay open for what is added to them late.
const keptOpen = 2

// key is the place of the source's next line among all.
func (s *source) key() int64 { return s.lines[s.at].key }

// fill reads the next lines; it is false where there are none, for the present if the
// source is being followed.
func (s *source) fill() bool {
	if s.gone {
		s.r.notify.renew(s)
	}
	s.lines, s.at = s.lines[:0], 0
	copy(s.buf, s.buf[s.parsed:s.have])
	s.have -= s.parsed
	s.parsed = 0
	s.rest, s.open = s.open, false
	for {
		if s.in == nil && !s.next() {
			return false
		}
		n, err := s.in.Read(s.buf[s.have:])
		fresh := s.buf[s.have : s.have+n]
		s.have += n
		if i := bytes.LastIndexByte(fresh, '\n'); i >= 0 {
			s.parse(s.have - n + i + 1)
			return true
		}
		switch {
		case err == nil && s.have == len(s.buf) && s.have < maxLine:
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		case err == nil && s.have == len(s.buf):
			s.open = true
			s.parse(s.have)
			return true
		case err == nil:
		case s.live && s.r.following && errors.Is(err, io.EOF):
			switch s.atEnd() {
			case waits:
				if s.have == 0 && !s.rest && (s.late() || s.stray()) {
					continue
				}
				return false
			case goesOn:
				continue
			}
			s.finish(err)
			if s.have > 0 || s.rest {
				s.parse(s.have)
				return true
			}
		default:
			s.finish(err)
			if s.have > 0 || s.rest {
				s.parse(s.have)
				return true
			}
		}
	}
}

// What there is to do at the end of current while it is followed.
const (
	waits  = iota // for what comes
	goesOn        // there is more
	isOver        // another is in its place
)

// atEnd finds that out. What was added before another took its place is read first.
func (s *source) atEnd() int {
	info, err := s.file.Stat()
	if err != nil {
		return waits
	}
	at, _ := s.file.Seek(0, io.SeekCurrent)
	if s.have > 0 && info.Size() == at-int64(s.have) { // the begin of a line goes into the next file
		at, _ = s.file.Seek(info.Size(), io.SeekStart)
		s.have = 0
	}
	if isAt(s.file, s.dir+"/"+current) {
		if info.Size() >= at {
			return waits
		}
		s.file.Seek(0, io.SeekStart) // it was cut short
		s.have = 0
		return goesOn
	}
	if info, err = s.file.Stat(); err == nil && info.Size() > at {
		return goesOn
	}
	if found, _ := s.look(false); !found { // between the two renames: the next event tells
		return waits
	}
	return isOver
}

// look lists what is to be read next: the finished logs that have come since the last look,
// in the order in which they were current, and current. But for the first look it is false
// as long as there is no current.
//
// By their names alone it could not tell which these are: where the clock was set back a log
// gets a lower name than those before it. So the labels that were there are remembered, and
// the kernel tells in which order what was current got which name. A name that it has not
// yet told of is the last; where there was too much to tell it was among the first.
func (s *source) look(first bool) (found bool, err error) {
	names, now, name, err := survey(s.dir, s.r.drain)
	if err != nil || now == nil && !first {
		return false, err
	}
	if !s.r.following {
		s.files, s.now = names, now
		return true, nil
	}
	later := len(s.left)
	if name != "" { // current has been renamed already
		if i := slices.Index(s.left, name[:25]); i >= 0 {
			later = i
		}
	}
	order := s.left[:later]
	fresh := s.unseen(names)
	ours := s.ours(fresh, order)
	if ours >= 0 {
		fresh = slices.Delete(fresh, ours, ours+1)
	}
	s.away = ours < 0 && s.file != nil && len(order) > 0 && order[0] == ""
	place := func(name string) int {
		i := slices.Index(order, name[:25])
		if i < 0 && !s.missed {
			return len(order)
		}
		return i
	}
	slices.SortStableFunc(fresh, func(a, b string) int { return place(a) - place(b) })
	s.files, s.now = fresh, now
	s.left, s.missed, s.strays = slices.Clone(s.left[later:]), false, false
	return true, nil
}

// ours is which of the finished logs was current and has just been read, or what a processor
// has made of it; -1 if none is.
func (s *source) ours(names, order []string) int {
	if s.file == nil {
		return -1
	}
	if i := indexOf(s.file, s.dir, names); i >= 0 {
		return i
	}
	if s.missed {
		return slices.IndexFunc(names, s.isLike)
	}
	return slices.IndexFunc(names, func(name string) bool { return len(order) > 0 && name[:25] == order[0] })
}

// late turns to one of the files before, where another writer has added something to it.
func (s *source) late() bool {
	for _, f := range s.previous {
		info, err := f.Stat()
		at, _ := f.Seek(0, io.SeekCurrent)
		if err == nil && info.Size() > at {
			if s.file != nil {
				s.resumed = s.file
			}
			s.file, s.in, s.live = f, f, false
			return true
		}
	}
	return false
}

// stray turns to finished logs that were called previous, and had no name else, when those
// after them were read.
func (s *source) stray() bool {
	if !s.strays {
		return false
	}
	names, err := listFiles(s.dir)
	if err != nil || !isAt(s.file, s.dir+"/"+current) { // current itself may be one of them
		return false
	}
	s.strays = false
	if s.files = s.unseen(names); len(s.files) == 0 {
		return false
	}
	s.resumed, s.file, s.in, s.live = s.file, nil, nil, false
	return true
}

// unseen are those finished logs that were in neither of the last two lists. One list may
// lack a log that gets another suffix meanwhile.
func (s *source) unseen(names []string) (fresh []string) {
	listed := make(map[string]bool, len(names))
	for _, name := range names {
		label := name[:25]
		if listed[label] = true; !s.known[0][label] && !s.known[1][label] {
			fresh = append(fresh, name)
		}
	}
	s.known = [2]map[string]bool{listed, s.known[0]}
	return fresh
}

// isLike says whether the finished log of that name seems to be the file that was just read,
// or what a processor has made of it.
func (s *source) isLike(name string) bool {
	f, err := openFinished(s.dir, name)
	if err != nil {
		return false
	}
	defer f.Close()
	var ours, theirs [256]byte
	n, _ := s.file.ReadAt(ours[:], 0)
	m, _ := f.ReadAt(theirs[:], 0)
	return packedBy(theirs[:m]) != "" || n > 0 && n == m && ours == theirs
}

// finish ends the file that is being read.
func (s *source) finish(err error) {
	if !errors.Is(err, io.EOF) {
		s.r.warn(fmt.Errorf("unable to read %s/%s: %w", s.dir, s.name, err))
	}
	if s.done != nil {
		if err := s.done(); err != nil {
			s.r.warn(fmt.Errorf("unable to unpack %s/%s: %w", s.dir, s.name, err))
		}
	}
	switch {
	case slices.Contains(s.previous, s.file):
	case s.in == s.file && s.r.following:
		if len(s.previous) == keptOpen {
			s.previous[0].Close()
			s.previous = slices.Delete(s.previous, 0, 1)
		}
		s.previous = append(s.previous, s.file)
	default:
		s.file.Close()
	}
	s.file, s.in, s.done, s.live = nil, nil, nil, false
}

// next opens the next file of the source.
func (s *source) next() bool {
	for {
		var err error
		switch {
		case s.late():
			return true
		case len(s.files) > 0:
			s.name, s.files = s.files[0], s.files[1:]
			s.file, err = openFinished(s.dir, s.name)
		case s.resumed != nil:
			s.name, s.file, s.in, s.live, s.resumed = current, s.resumed, s.resumed, true, nil
			return true
		case s.now != nil:
			s.name, s.file, s.now, s.live = current, s.now, nil, true
		default:
			if s.r.following {
				if found, _ := s.look(false); found {
					continue
				}
			}
			return false
		}
		if err == nil {
			err = s.begin()
		}
		if err == nil {
			return true
		}
		if !os.IsNotExist(err) { // one that is gone was deleted, being the oldest
			s.r.warn(fmt.Errorf("unable to read %s/%s: %w", s.dir, s.name, err))
		}
		if s.file != nil {
			s.file.Close()
			s.file, s.live = nil, false
		}
	}
}

// begin prepares for reading the file that has been opened.
func (s *source) begin() error {
	s.end, s.last = endOf(s.name, s.file), noTime
	s.in = s.file
	after := s.after
	s.after = 0
	if s.name == current {
		_, err := s.file.Seek(after, io.SeekStart)
		return err
	}
	begin := make([]byte, 8)
	n, err := s.file.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		s.in = nil
		return err
	}
	if program := packedBy(begin[:n]); program != "" {
		s.in, s.done, err = s.r.Unpack(program, s.file)
		if err != nil {
			s.in = nil
		}
		return err
	}
	_, err = s.file.Seek(after, io.SeekStart)
	return err
}

// parse takes the first so many bytes of the buffer apart. Lines keep the order of the
// file: one that is older than the line before it, after a clock was set back, draws
// that forward, not the other way round.
func (s *source) parse(size int) {
	for at := 0; at < size || s.rest && len(s.lines) == 0; {
		end := bytes.IndexByte(s.buf[at:size], '\n')
		next := at + end + 1
		if end < 0 {
			next = size
			end = size - at
		}
		l := line{begin: at, text: at, end: at + end}
		if !s.rest || len(s.lines) > 0 {
			if ns, text := s.cal.parse(s.buf[at : at+end]); ns != noTime {
				s.last = ns
				l.text += text
			}
		}
		l.time, l.key = s.last, s.last
		if l.key == noTime {
			l.key = s.end
		}
		s.lines = append(s.lines, l)
		if next == at {
			break
		}
		at = next
	}
	s.parsed = size
	for i := len(s.lines) - 2; i >= 0; i-- {
		s.lines[i].key = min(s.lines[i].key, s.lines[i+1].key)
	}
}

// close ends the reading of the source.
func (s *source) close() {
	if s.file != nil {
		s.finish(io.EOF)
	}
	for _, f := range append(s.previous, s.now, s.resumed) {
		if f != nil {
			f.Close()
		}
	}
	s.now, s.previous, s.resumed = nil, nil, nil
}
