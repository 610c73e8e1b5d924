package logger

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"
)

// Config is what the file config in a log directory says.
type Config struct {
	Size      int64         // rotate when current has this many bytes; 0: never
	Keep      int64         // so many old logs stay; 0: all
	KeepFull  int64         // so many stay when the disk is full, if fewer than Keep
	Total     int64         // the old logs together have at most so many bytes; 0: any
	Age       time.Duration // rotate after this time; 0: never
	Command   string        // the processor of rotated logs
	UDP       Address
	UDPOnly   bool // lines go by UDP and not into the file
	Prefix    string
	Drop      bool // a full disk drops lines instead of stopping the writer
	ForLog    []Rule
	ForStderr []Rule
}

// Rule selects the lines that match its pattern, or deselects them.
type Rule struct {
	Select  bool
	Pattern string
}

// defaults is the configuration of a directory without a config file.
func defaults() Config {
	return Config{Size: 1000000, Keep: 10, KeepFull: 10}
}

// ParseConfig reads the text of a config file. What it cannot make sense of it
// ignores, as runit does, but for addresses: the problems say which.
func ParseConfig(text []byte) (c Config, problems []string) {
	c = defaults()
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		line, _, _ := strings.Cut(string(line), "\x00")
		if line == "" {
			continue
		}
		value := line[1:]
		switch line[0] {
		case 's':
			c.Size = scaled(value, map[byte]int64{'k': 1 << 10, 'm': 1 << 20})
		case 'S':
			c.Total = scaled(value, map[byte]int64{'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30})
		case 'n':
			c.Keep = scaled(value, nil)
		case 'N':
			c.KeepFull = scaled(value, nil)
		case 't':
			c.Age = seconds(scaled(value, map[byte]int64{'m': 60, 'h': 3600}))
		case 'o':
			switch value {
			case "drop":
				c.Drop = true
			case "wait":
				c.Drop = false
			}
		case '!':
			if value != "" {
				c.Command = value
			}
		case 'p':
			if value != "" {
				c.Prefix = value
			}
		case 'U', 'u':
			c.UDPOnly = c.UDPOnly || line[0] == 'U'
			var err error
			if c.UDP, err = parseAddr(value); err != nil {
				problems = append(problems, err.Error())
			}
		case '+', '-':
			c.ForLog = append(c.ForLog, Rule{line[0] == '+', value})
		case 'e', 'E':
			c.ForStderr = append(c.ForStderr, Rule{line[0] == 'e', value})
		}
	}
	return c, problems
}

// selected says what the rules make of head: the last that matches decides.
func selected(rules []Rule, head []byte, unless bool) bool {
	for _, r := range slices.Backward(rules) {
		if Match(r.Pattern, head) {
			return r.Select
		}
	}
	return unless
}

// scaled is the number that text begins with, times the unit that follows at
// once; 0 without a digit. What does not fit is the largest number.
func scaled(text string, units map[byte]int64) int64 {
	n, digits := Digits(text)
	unit, ok := units[0], false
	if digits < len(text) {
		unit, ok = units[text[digits]]
	}
	if !ok {
		return n
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return n * unit
}

// Digits is the decimal number that text begins with and the count of its
// digits, as runit reads numbers; what follows is the caller's.
func Digits(text string) (n int64, digits int) {
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		d := int64(text[digits] - '0')
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
		digits++
	}
	return n, digits
}

// seconds is n seconds, or the longest time there is.
func seconds(n int64) time.Duration {
	if n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Second
}
