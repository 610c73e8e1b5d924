package applets

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"runitbox/logger/reader"
)

// parseTime reads a moment as people write it: a date, a time of today, a stamp, or
// how long ago. It reads by itself: time.Parse and strconv.ParseFloat, which take what
// nobody types, are 30 KB of the executable.
func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, ok := parseAgo(text); ok {
		return now.Add(-ago), nil
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok && len(text) < 25 {
		if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
			return time.Unix(n, 0), nil
		}
	}
	if ns, ok := reader.ParseStamp(text); ok {
		return time.Unix(0, ns), nil
	}
	switch text {
	case "now":
		return now, nil
	case "today":
		return dayOf(now), nil
	case "yesterday":
		return dayOf(now).AddDate(0, 0, -1), nil
	}
	if t, ok := parseMoment(text, now); ok {
		return t, nil
	}
	return time.Time{}, errors.New(text + ": not a time")
}

// dayOf is when the day of t began.
func dayOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}

// parseAgo reads a number, which may have a fraction, and a unit.
func parseAgo(text string) (time.Duration, bool) {
	const day = 24 * time.Hour
	number := text[:len(text)-1]
	whole, fraction, _ := strings.Cut(number, ".")
	if whole+fraction == "" {
		return 0, false
	}
	var unit time.Duration
	switch text[len(text)-1] {
	case 's':
		unit = time.Second
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = day
	case 'w':
		unit = 7 * day
	default:
		return 0, false
	}
	n, err := strconv.ParseUint("0"+whole, 10, 32)
	parts, err2 := strconv.ParseUint("0"+fraction, 10, 32)
	if err != nil || err2 != nil || time.Duration(n) > (1<<63-1)/unit-1 {
		return 0, false
	}
	of := 1.0
	for range fraction {
		of *= 10
	}
	return time.Duration(n)*unit + time.Duration(float64(parts)/of*float64(unit)), true
}

// parseMoment reads a date, a time of the day, or both with a space or T between them. Behind
// both may stand a zone, Z or +02:00; without, it is that of now.
func parseMoment(text string, now time.Time) (t time.Time, ok bool) {
	s := scan{text, true}
	zone := now.Location()
	year, month, date := now.Date()
	dated := len(text) >= 10 && text[4] == '-'
	if dated {
		year = s.number(4, 9999)
		s.byte("-")
		month = time.Month(s.number(2, 12))
		s.byte("-")
		date = s.number(2, 31)
		if s.rest == "" {
			t = time.Date(year, month, date, 0, 0, 0, 0, zone)
			return t, s.ok && t.Day() == date && month > 0
		}
		s.byte(" T")
	}
	hour := s.number(2, 23)
	s.byte(":")
	minute, second, ns := s.number(2, 59), 0, 0
	if strings.HasPrefix(s.rest, ":") {
		s.byte(":")
		second = s.number(2, 59)
		ns = s.fraction()
	}
	if dated && s.rest != "" {
		zone = s.zone()
	}
	t = time.Date(year, month, date, hour, minute, second, ns, zone)
	return t, s.ok && s.rest == "" && t.Day() == date && month > 0
}

// scan reads a text from the left; ok tells whether all was as it should be.
type scan struct {
	rest string
	ok   bool
}

// number reads so many digits, of a number up to most.
func (s *scan) number(digits, most int) int {
	if len(s.rest) < digits {
		s.ok = false
		return 0
	}
	n, err := strconv.ParseUint(s.rest[:digits], 10, 32)
	if err != nil || int(n) > most {
		s.ok = false
	}
	s.rest = s.rest[digits:]
	return int(n)
}

// byte reads one of those in any, and tells which.
func (s *scan) byte(any string) byte {
	if s.rest == "" || strings.IndexByte(any, s.rest[0]) < 0 {
		s.ok = false
		return 0
	}
	c := s.rest[0]
	s.rest = s.rest[1:]
	return c
}

// fraction reads a point and digits of a second, if they stand there, in nanoseconds.
func (s *scan) fraction() (ns int) {
	if s.rest == "" || s.rest[0] != '.' {
		return 0
	}
	s.rest = s.rest[1:]
	n := 0
	for scale := 100_000_000; n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9'; n++ {
		ns += int(s.rest[n]-'0') * scale
		scale /= 10
	}
	s.ok = s.ok && n > 0
	s.rest = s.rest[n:]
	return ns
}

// zone reads Z or an offset from it.
func (s *scan) zone() *time.Location {
	sign := s.byte("Z+-")
	if sign == 'Z' {
		return time.UTC
	}
	offset := s.number(2, 24) * 3600
	s.byte(":")
	if offset += s.number(2, 60) * 60; sign == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset)
}
