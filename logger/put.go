package logger

import (
	"bytes"

	"runitbox/applets/slim/fmt"
)

// plain says that lines go into the file as they come.
func (l *log) plain() bool {
	return len(l.lead) == 0 && len(l.conf.ForLog) == 0 && len(l.conf.ForStderr) == 0 && l.udp == nil
}

// early is the size from which on a line's end is a place to rotate; negative
// if none is.
func (l *log) early() int64 {
	if l.conf.Size == 0 || l.conf.Size < int64(l.e.o.Head) {
		return -1
	}
	return l.conf.Size - int64(l.e.o.Head)
}

// slack is how many bytes the batch may add before anything is to be looked
// at: rotation, or the room in out.
func (l *log) slack(room int) int {
	if l.conf.Size == 0 {
		return room
	}
	if early := l.early(); early >= 0 {
		return int(max(0, min(int64(room), early-1-l.size)))
	}
	return 0
}

// put writes a batch to the file, to UDP and to stderr, as the config has it.
// The batch is whole lines or a piece of one; final ends it as a line. Only
// Stop can be in the way: what then is not written is still in the pipe, if
// the input is one.
func (l *log) put(data []byte, final bool) error {
	err := l.take(data, final)
	if err != nil && !l.e.in.pipe {
		l.warn(fmt.Sprintf("%d bytes of input are lost", len(data)-l.done), nil)
	}
	return err
}

// take does the work of put.
func (l *log) take(data []byte, final bool) error {
	mid := l.e.mid
	l.done = min(l.skip, len(data))
	l.lead = append(append(l.lead[:0], l.e.stamp...), l.conf.Prefix...)
	if l.skip == 0 && l.plain() {
		l.selects = true
		if n := len(data); n > 0 && data[n-1] == '\n' && n <= l.slack(n) {
			return l.write(data, n)
		}
	}
	out := l.e.out[:0]
	slack := l.slack(cap(out))
	stampsOnly := l.skip == 0 && len(l.conf.ForLog) == 0 && len(l.conf.ForStderr) == 0 && l.udp == nil
	for at, first := 0, true; at < len(data) || first; first = false {
		if stampsOnly && !mid {
			l.selects = true
			var n int
			if out, n = prefixed(out, l.lead, data[at:], slack); n > 0 {
				at += n
				continue
			}
		}
		s := line{lead: l.lead, text: data[at:], at: at, end: len(data), starts: !mid, ends: final}
		if i := bytes.IndexByte(s.text, '\n'); i >= 0 {
			s.text, s.end, s.ends, s.inside = s.text[:i], at+i+1, true, 1
		}
		todo := s.end > l.skip || len(data) == 0 // nothing, but the end of the line before
		if mid {
			s.lead = nil
		} else {
			out = l.route(s.text, todo, out)
		}
		mid = !s.ends
		at = s.end
		if !l.selects || !todo {
			continue
		}
		if done := l.skip - s.at; done > 0 {
			s.starts, s.lead, s.text = false, nil, s.text[min(done, len(s.text)):]
		}
		if n := len(s.lead) + len(s.text) + 1; s.ends && len(out)+n <= slack {
			out = append(append(append(out, s.lead...), s.text...), '\n')
			continue
		}
		if s.ends {
			s.newline = newline
		}
		var err error
		if out, err = l.add(out, s); err != nil {
			return err
		}
		slack = l.slack(cap(out))
	}
	l.skip -= min(l.skip, len(data))
	return l.write(out, len(data))
}

// prefixed appends lead and a line to out, for each whole line of data as long
// as out does not get larger than limit; it says how much of data that was.
func prefixed(out, lead, data []byte, limit int) ([]byte, int) {
	at := 0
	for {
		n := bytes.IndexByte(data[at:], '\n') + 1
		if n == 0 || len(out)+len(lead)+n > limit {
			return out, at
		}
		out = append(append(out, lead...), data[at:at+n]...)
		at += n
	}
}

// newline ends a line.
var newline = []byte("\n")

// line is a line of a batch, or a piece of one, on its way into the file.
type line struct {
	lead, text, newline []byte
	at, end             int // its place in the batch
	starts, ends        bool
	inside              int // how many bytes of newline come from the batch
}

// add appends a line to out where it is not certain that it fits: it writes
// out and rotates as needed. A line that fits into one file is not parted.
func (l *log) add(out []byte, s line) ([]byte, error) {
	flush := func(next int) error {
		err := l.write(out, next)
		out = out[:0]
		return err
	}
	limit, n := l.conf.Size, int64(len(s.lead)+len(s.text)+len(s.newline))
	size := l.size + int64(len(out))
	if limit > 0 && size > 0 && (size >= limit || s.starts && size+n > limit) {
		if err := flush(s.at); err != nil {
			return out, err
		}
		if err := l.rotate(!s.starts); err != nil {
			return out, err
		}
	}
	for i, part := range [...][]byte{s.lead, s.text, s.newline} {
		for len(part) > 0 {
			room := int64(cap(out) - len(out))
			if limit > 0 {
				room = min(room, limit-l.size-int64(len(out)))
			}
			if room > 0 {
				k := min(int(min(room, 1<<30)), len(part))
				out, part = append(out, part[:k]...), part[k:]
				continue
			}
			next := [...]int{s.at, s.end - len(part) - s.inside, s.end - s.inside}[i]
			if err := flush(next); err != nil {
				return out, err
			}
			if limit > 0 && l.size >= limit {
				if err := l.rotate(true); err != nil {
					return out, err
				}
			}
		}
	}
	if early := l.early(); s.ends && early >= 0 && l.size+int64(len(out)) >= early {
		if err := flush(s.end); err != nil {
			return out, err
		}
		return out, l.rotate(false)
	}
	return out, nil
}

// route decides where a line goes, and sends it to stderr and UDP. What comes
// of a failure to send goes into the log.
func (l *log) route(text []byte, send bool, out []byte) []byte {
	head := text[:min(len(text), l.e.o.Head)]
	l.selects = selected(l.conf.ForLog, head, true)
	more := "\n"
	if len(head) == l.e.o.Head {
		more = "...\n"
	}
	if send && selected(l.conf.ForStderr, head, false) {
		l.e.errs = append(append(append(l.e.errs, l.lead...), head...), more...)
		if len(l.e.errs) >= batchSize {
			l.e.o.Stderr(l.e.errs)
			l.e.errs = l.e.errs[:0]
		}
	}
	if !l.selects || l.udp == nil {
		return out
	}
	l.selects = !l.conf.UDPOnly
	if !send {
		return out
	}
	return l.forward(head, more, out)
}

// forward sends a line by UDP.
func (l *log) forward(head []byte, more string, out []byte) []byte {
	l.e.packet = append(append(append(l.e.packet[:0], l.lead...), head...), more...)
	if l.udp.open() != nil {
		out = append(append(append(out, "warning: no udp socket available: "...), l.lead...), head...)
		return append(out, '\n')
	}
	if l.udp.send(l.e.packet) != nil {
		out = append(append(out, "warning: failure sending through udp: "...), l.e.packet...)
	}
	return out
}
