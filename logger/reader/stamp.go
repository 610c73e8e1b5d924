package reader

import "time"

// noTime is of lines that have no stamp.
const noTime = -1 << 63

// taiEpoch is the TAI64 label of the Unix epoch as runit counts it.
const taiEpoch = 1<<62 + 10

// maxSeconds is the last second whose nanoseconds an int64 holds.
const maxSeconds = 1<<63/1_000_000_000 - 1

// calendar reads stamps; it keeps the date that it has read last, since most lines
// have the same.
type calendar struct {
	date [10]byte
	base int64 // the seconds at which that day begins
}

// parse reads the stamp that a line begins with, in any of svlogd's forms: the time in
// nanoseconds since 1970, and where the text behind it begins. Without a stamp it is
// noTime and 0.
func (c *calendar) parse(line []byte) (ns int64, text int) {
	if len(line) >= 25 && line[0] == '@' {
		return parseTAI(line)
	}
	if len(line) >= 19 && line[4] == '-' && (line[10] == '_' || line[10] == 'T') {
		return c.parseUTC(line)
	}
	return noTime, 0
}

// digits are the values of lower-case hexadecimal digits, plus one; 0 is everything else.
var digits = [256]int8{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10,
	'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

// parseTAI reads @ and the 24 digits of a TAI64N label.
func parseTAI(line []byte) (ns int64, text int) {
	var seconds, nanos uint64
	bad := int8(0)
	for _, c := range line[1:17] {
		d := digits[c] - 1
		bad |= d
		seconds = seconds<<4 | uint64(d&15)
	}
	for _, c := range line[17:25] {
		d := digits[c] - 1
		bad |= d
		nanos = nanos<<4 | uint64(d&15)
	}
	if bad < 0 || nanos > 999_999_999 || seconds < taiEpoch || seconds-taiEpoch > maxSeconds {
		return noTime, 0
	}
	if text = 25; len(line) > text {
		if line[text] != ' ' {
			return noTime, 0
		}
		text++
	}
	return int64(seconds-taiEpoch)*1_000_000_000 + int64(nanos), text
}

// parseUTC reads 2006-01-02_15:04:05.00000 or the same with a T.
func (c *calendar) parseUTC(line []byte) (ns int64, text int) {
	if [10]byte(line[:10]) != c.date {
		base, ok := parseDate(line)
		if !ok {
			return noTime, 0
		}
		c.date, c.base = [10]byte(line[:10]), base
	}
	h, ok1 := two(line[11:])
	m, ok2 := two(line[14:])
	s, ok3 := two(line[17:])
	if !ok1 || !ok2 || !ok3 || line[13] != ':' || line[16] != ':' || h > 23 || m > 59 || s > 60 {
		return noTime, 0
	}
	ns = (c.base + int64(h)*3600 + int64(m)*60 + int64(s)) * 1_000_000_000
	at := 19
	if at < len(line) && line[at] == '.' {
		unit := int64(100_000_000)
		for at++; at < len(line) && '0' <= line[at] && line[at] <= '9'; at++ {
			ns += int64(line[at]-'0') * unit
			unit /= 10
		}
	}
	if at < len(line) {
		if line[at] != ' ' {
			return noTime, 0
		}
		at++
	}
	return ns, at
}

// parseDate reads 2006-01-02: the second at which that day begins.
func parseDate(line []byte) (seconds int64, ok bool) {
	century, ok1 := two(line)
	year, ok2 := two(line[2:])
	month, ok3 := two(line[5:])
	day, ok4 := two(line[8:])
	if !ok1 || !ok2 || !ok3 || !ok4 || line[4] != '-' || line[7] != '-' {
		return 0, false
	}
	t := time.Date(century*100+year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	ok = t.Day() == day && int(t.Month()) == month && t.Unix() >= 0 && t.Unix() < maxSeconds-86400
	return t.Unix(), ok
}

// two reads two decimal digits.
func two(b []byte) (n int, ok bool) {
	tens, ones := b[0]-'0', b[1]-'0'
	return 10*int(tens) + int(ones), tens < 10 && ones < 10
}

// ParseStamp reads a stamp in any of svlogd's forms, and nothing else.
func ParseStamp(text string) (ns int64, ok bool) {
	var c calendar
	ns, n := c.parse([]byte(text))
	return ns, n > 0 && n == len(text)
}
