package state

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Notice is what a ./run that has a socket for it has said of itself, as
// supervise/notify.said tells it: a line KEY=VALUE for each field that is not zero, with
// the keys of sd_notify(3) and, for times, nanoseconds since 1970. When the file was
// changed last is when ./run said last that it works.
type Notice struct {
	Status    string        // STATUS: what it does, in its own words
	Reloading bool          // RELOADING=1
	Stopping  bool          // STOPPING=1
	Watchdog  time.Duration // WATCHDOG_USEC: in place of what the file watchdog says
	Extended  time.Time     // EXTENDED: until when a timeout does not count
	Hung      time.Time     // HUNG: when it was sent ABRT
}

// NoticeMost is more than all of supervise/notify.said, and statusMost than the text in it.
const (
	NoticeMost = 1024
	statusMost = 512
)

// Bytes is n as the whole of supervise/notify.said.
func (n *Notice) Bytes() []byte {
	text := ""
	if n.Status != "" {
		text += "STATUS=" + n.Status + "\n"
	}
	if n.Reloading {
		text += "RELOADING=1\n"
	}
	if n.Stopping {
		text += "STOPPING=1\n"
	}
	return []byte(text + number("WATCHDOG_USEC=", int64(n.Watchdog/1000)) + instant("EXTENDED=", n.Extended) + instant("HUNG=", n.Hung))
}

// number is a line of a number that is not 0, and instant one of a time.
func number(key string, n int64) string {
	if n == 0 {
		return ""
	}
	return key + strconv.FormatInt(n, 10) + "\n"
}

func instant(key string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return number(key, t.UnixNano())
}

// ParseNotice is what b, the whole of supervise/notify.said, tells; lines that are
// garbage tell nothing.
func ParseNotice(b []byte) (n Notice) {
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		nanos, err := strconv.ParseInt(value, 10, 64)
		switch {
		case key == "EXTENDED" && err == nil:
			n.Extended = time.Unix(0, nanos)
		case key == "HUNG" && err == nil:
			n.Hung = time.Unix(0, nanos)
		default:
			n.take(key, value, time.Time{})
		}
	}
	return n
}

// Said is what there is to be done about a message.
type Said struct {
	Ready  bool   // it is ready
	Works  bool   // it works
	Hangs  bool   // it wants to be treated as one that does not
	Main   string // it wants another process to count as ./run
	Change bool   // the Notice is another
}

// Take takes a message of ./run, which came at that time: lines KEY=VALUE. Those that are
// not understood count for nothing.
func (n *Notice) Take(message string, now time.Time) (s Said) {
	before := *n
	for line := range strings.Lines(message) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch {
		case key == "READY" && value == "1":
			s.Ready = true
			n.Reloading = false
		case key == "WATCHDOG" && value == "1":
			s.Works = true
		case key == "WATCHDOG" && value == "trigger":
			s.Hangs = true
		case key == "MAINPID":
			s.Main = value
		default:
			n.take(key, value, now)
		}
	}
	s.Change = *n != before
	return s
}

// take takes one line that changes the Notice.
func (n *Notice) take(key, value string, now time.Time) {
	switch key {
	case "STATUS":
		if utf8.ValidString(value) {
			n.Status = shorten(value)
		}
	case "RELOADING":
		n.Reloading = value == "1"
	case "STOPPING":
		n.Stopping = value == "1"
	case "WATCHDOG_USEC":
		if d, ok := microseconds(value); ok && d > 0 {
			n.Watchdog = d
		}
	case "EXTEND_TIMEOUT_USEC":
		if d, ok := microseconds(value); ok && !now.IsZero() {
			n.Extended = now.Add(d)
		}
	}
}

// microseconds is a time of less than a year.
func microseconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return time.Duration(n) * time.Microsecond, err == nil && n < 366*24*3600*1e6
}

// shorten cuts a text where it is too long, between two characters.
func shorten(text string) string {
	if len(text) <= statusMost {
		return text
	}
	n := statusMost
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
