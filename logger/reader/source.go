package reader

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"

	"runitbox/fmt"
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

	files []string // finished logs to be read, the oldest first
	now   *os.File // current, for when its turn comes
	seen  string   // the newest finished log when current was opened

	name  string    // of the file that is being read
	in    io.Reader // nil: the next file is to be opened
	file  *os.File
	done  func() error // ends what unpacks the file
	live  bool         // the file is current and may grow
	after int64        // of the first file: begin at this byte

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
	watch int   // inotify's number
	dirty bool  // something has happened there
}

// maxLine is how much of a line is held at once; a longer one is told in pieces.
const maxLine = 1 << 20

// key is the place of the source's next line among all.
func (s *source) key() int64 { return s.lines[s.at].key }

// fill reads the next lines; it is false where there are none, for the present if the
// source is being followed.
func (s *source) fill() bool {
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
	names, now, err := survey(s.dir)
	if err != nil || now == nil { // between the two renames: the next event tells
		return waits
	}
	s.files = s.unseen(names)
	if i := slices.IndexFunc(s.files, s.isOurs); i >= 0 {
		s.files = s.files[i+1:]
	}
	s.now = now
	return isOver
}

// unseen are those finished logs that came after current was opened.
func (s *source) unseen(names []string) (fresh []string) {
	for _, name := range names {
		if name[:25] > s.seen {
			fresh = append(fresh, name)
		}
	}
	if len(names) > 0 {
		s.seen = max(s.seen, names[len(names)-1][:25])
	}
	return fresh
}

// isOurs says whether the finished log of that name is the file that was just read:
// itself, or what a processor has made of it.
func (s *source) isOurs(name string) bool {
	f, err := openFinished(s.dir, name)
	if err != nil {
		return false
	}
	defer f.Close()
	if isAt(s.file, f.Name()) {
		return true
	}
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
	s.file.Close()
	s.file, s.in, s.done, s.live = nil, nil, nil, false
}

// next opens the next file of the source.
func (s *source) next() bool {
	for {
		var err error
		switch {
		case len(s.files) > 0:
			s.name, s.files = s.files[0], s.files[1:]
			s.file, err = openFinished(s.dir, s.name)
		case s.now != nil:
			s.name, s.file, s.now, s.live = current, s.now, nil, true
		case !s.r.following || !s.begun():
			return false
		default:
			continue
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

// begun says whether there is a current where there was none.
func (s *source) begun() bool {
	names, now, err := survey(s.dir)
	if err != nil || now == nil {
		return false
	}
	s.files = s.unseen(names)
	s.now = now
	return true
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
	if s.now != nil {
		s.now.Close()
		s.now = nil
	}
}
