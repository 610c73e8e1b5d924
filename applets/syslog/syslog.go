// Package syslog gives lines to the machine's syslog, as the C library's
// function of that name does, but loses none while the daemon is started anew.
package syslog

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// Socket is where the daemon listens.
const Socket = "/dev/log"

// Piece is how many bytes of a line are a message: what is longer is parted.
const Piece = 1023

// Priority is who says something and how important it is.
type Priority int

// What those say who do not choose.
const (
	UserNotice   Priority = 1<<3 | 5
	DaemonNotice Priority = 3<<3 | 5
	DaemonInfo   Priority = 3<<3 | 6
)

var levels = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

var facilities = [...]string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	12: "", 16: "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

// today is what levels and facilities are called today that were called otherwise, too.
func today(name string) string {
	switch name {
	case "panic":
		return "emerg"
	case "error":
		return "err"
	case "warn":
		return "warning"
	case "security":
		return "auth"
	}
	return name
}

// Level is the name of how important it is.
func (p Priority) Level() string { return levels[p&7] }

// Facility is the name of who says it.
func (p Priority) Facility() string {
	if n := int(p >> 3); n < len(facilities) && facilities[n] != "" {
		return facilities[n]
	}
	return strconv.Itoa(int(p >> 3))
}

// ParsePriority reads "facility.level", or a level alone, which is a user's, or
// the number of both.
func ParsePriority(text string) (Priority, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n < 24<<3 {
		return Priority(n), nil
	}
	facility, level, both := strings.Cut(text, ".")
	if !both {
		facility, level = "user", text
	}
	f, l := index(facilities[:], facility), index(levels[:], level)
	switch {
	case f < 0:
		return 0, fmt.Errorf("unknown facility: %s", facility)
	case l < 0:
		return 0, fmt.Errorf("unknown priority: %s", level)
	}
	return Priority(f<<3 | l), nil
}

// index finds name or what it is an alias of, or is -1.
func index(names []string, name string) int {
	name = today(strings.ToLower(name))
	for i, n := range names {
		if n == name && name != "" {
			return i
		}
	}
	return -1
}

// Header is what stands before the text of a message: pid 0 is not told.
func Header(p Priority, at time.Time, tag string, pid int) string {
	return fmt.Sprintf("<%d>%s %s", p, at.Format(time.Stamp), Label(tag, pid))
}

// Label is who says it, as a person reads it.
func Label(tag string, pid int) string {
	if pid != 0 {
		return fmt.Sprintf("%s[%d]: ", tag, pid)
	}
	return tag + ": "
}

// Lines parts text into lines and these into pieces, and gives back what may
// be the beginning of a line: less than a piece. At the end that is one, too.
func Lines(text []byte, end bool, say func(piece []byte)) (rest []byte) {
	for len(text) > 0 {
		at := len(text)
		for i, c := range text {
			if c == '\n' {
				at = i
				break
			}
		}
		switch {
		case at > Piece:
			say(text[:Piece])
			text = text[Piece:]
		case at < len(text):
			say(text[:at])
			text = text[at+1:]
		case end:
			say(text)
			return nil
		default:
			return text
		}
	}
	return nil
}

// Conn is a connection to the daemon. Its zero value with a Path connects when
// there is something to say.
type Conn struct {
	Path   string
	fd     int
	open   bool
	stream bool
}

// Send gives a message to the daemon. If that is not the one that it was, it
// connects again, once.
func (c *Conn) Send(message []byte) error {
	before := c.open
	err := c.try(message)
	if err != nil && before {
		err = c.try(message)
	}
	return err
}

// try connects where that is needed, and sends.
func (c *Conn) try(message []byte) error {
	if !c.open {
		if err := c.connect(); err != nil {
			return err
		}
	}
	if c.stream { // where a NUL ends each
		message = append(message[:len(message):len(message)], 0)
	}
	for len(message) > 0 {
		n, err := unix.Write(c.fd, message)
		switch {
		case err == unix.EINTR:
		case err != nil:
			c.Close()
			return err
		case !c.stream:
			return nil
		default:
			message = message[n:]
		}
	}
	return nil
}

// connect finds out which kind of socket the daemon has.
func (c *Conn) connect() error {
	err := error(unix.EPROTOTYPE)
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		if !errors.Is(err, unix.EPROTOTYPE) {
			break
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: c.Path}); err == nil {
			c.fd, c.open, c.stream = fd, true, kind == unix.SOCK_STREAM
			return nil
		}
		unix.Close(fd)
	}
	return err
}

// Close ends the connection, if there is one.
func (c *Conn) Close() {
	if c.open {
		unix.Close(c.fd)
		c.open = false
	}
}
