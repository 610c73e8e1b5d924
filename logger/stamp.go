package logger

import (
	"encoding/binary"
	"strconv"
	"time"
)

// taiEpoch is the TAI64 label of the Unix epoch as runit counts it: 2^62 and
// ten seconds, without leap seconds since.
const taiEpoch = 1<<62 + 10

// Stamp is the form of the time before each line.
type Stamp int

// The forms of -t, -tt and -ttt.
const (
	NoStamp Stamp = iota
	TAI64N
	Underscore
	ISO8601
)

// label is a TAI64N label, the time in old logs' names.
type label [12]byte

func labelOf(t time.Time) (l label) {
	binary.BigEndian.PutUint64(l[:], uint64(t.Unix()+taiEpoch))
	binary.BigEndian.PutUint32(l[8:], uint32(t.Nanosecond()))
	return l
}

// after is the label one nanosecond later.
func (l label) after() label {
	s, ns := binary.BigEndian.Uint64(l[:]), binary.BigEndian.Uint32(l[8:])
	if ns >= 1e9-1 {
		s, ns = s+1, 0
	} else {
		ns++
	}
	binary.BigEndian.PutUint64(l[:], s)
	binary.BigEndian.PutUint32(l[8:], ns)
	return l
}

// appendTo appends @ and 24 hexadecimal digits to b.
func (l label) appendTo(b []byte) []byte {
	const digits = "0123456789abcdef"
	text := [25]byte{'@'}
	for i, c := range l {
		text[2*i+1], text[2*i+2] = digits[c>>4], digits[c&15]
	}
	return append(b, text[:]...)
}

// parseLabel reads what appendTo wrote. From 2^63 on TAI64 has no labels: a
// name like that says nothing of a time.
func parseLabel(text string) (l label, ok bool) {
	if len(text) != 25 || text[0] != '@' {
		return l, false
	}
	s, err := strconv.ParseUint(text[1:17], 16, 63)
	ns, err2 := strconv.ParseUint(text[17:], 16, 32)
	binary.BigEndian.PutUint64(l[:], s)
	binary.BigEndian.PutUint32(l[8:], uint32(ns))
	return l, err == nil && err2 == nil
}

// appendStamp appends the time and a space to b; nothing for NoStamp.
func appendStamp(b []byte, s Stamp, t time.Time) []byte {
	switch s {
	case TAI64N:
		return append(labelOf(t).appendTo(b), ' ')
	case Underscore:
		return t.UTC().AppendFormat(b, "2006-01-02_15:04:05.00000 ")
	case ISO8601:
		return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.00000 ")
	}
	return b
}
