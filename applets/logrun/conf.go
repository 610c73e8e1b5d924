// Package logrun is what a log service has to settle before it can log: what
// ./conf says, where the lines go, and to whom that belongs.
package logrun

import (
	"strings"
)

// Names are the variables that ./conf may set.
var Names = [...]string{
	"USERGROUP",
	"SV_LOGDIR",
	"CURRENT_LOG_FILE",
	"SV_TIMESTAMP",
	"SV_LOG_CHOWN",
	"SV_LOG_SYSLOG",
	"SV_LOG_SYSLOG_PRIORITY",
}

// Assignments reads a shell script that does nothing but set variables to
// constants, with the last value of each. Of any other it says that it is not
// plain: that is the shell's business.
func Assignments(script string) (values map[string]string, plain bool) {
	values = map[string]string{}
	for rest := script; ; {
		rest = strings.TrimLeft(rest, " \t\n;")
		switch {
		case rest == "":
			return values, true
		case rest[0] == '#':
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		if after, exported := strings.CutPrefix(rest, "export "); exported {
			rest = strings.TrimLeft(after, " \t")
		}
		name, after, _ := strings.Cut(rest, "=")
		if !isVariable(name) {
			return nil, false
		}
		values[name], rest, plain = constant(after)
		if !plain || rest != "" && !strings.ContainsRune(" \t\n;", rune(rest[0])) {
			return nil, false
		}
	}
}

// isVariable says whether a shell takes name for a variable's.
func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// constant reads a word that a shell would take as it stands, but for quotes.
func constant(text string) (value, rest string, plain bool) {
	for text != "" {
		switch c := text[0]; c {
		case ' ', '\t', '\n', ';':
			return value, text, true
		case '\'', '"':
			quoted, after, closed := strings.Cut(text[1:], string(c))
			if !closed || c == '"' && strings.ContainsAny(quoted, "$`\\") {
				return "", "", false
			}
			value, text = value+quoted, after
		case '$', '`', '\\', '~', '&', '|', '<', '>', '(', ')':
			return "", "", false
		default:
			value, text = value+text[:1], text[1:]
		}
	}
	return value, "", true
}
