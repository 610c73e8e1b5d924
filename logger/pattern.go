package logger

import "bytes"

// Match says whether text matches a pattern of the config file. It goes from
// left to right and never back: * skips to the first byte that comes next in
// the pattern, + takes one or more of the byte that follows it.
func Match(pattern string, text []byte) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			if len(pattern) == 1 {
				return true
			}
			i := bytes.IndexByte(text, pattern[1])
			if i < 0 {
				return false
			}
			pattern, text = pattern[1:], text[i:] // what was searched is next, even if special
		case '+':
			if len(pattern) == 1 || len(text) == 0 || text[0] != pattern[1] {
				return false
			}
			for len(text) > 0 && text[0] == pattern[1] {
				text = text[1:]
			}
			if len(text) == 0 {
				return true // whatever is left of the pattern
			}
			pattern = pattern[2:]
		default:
			if len(text) == 0 || text[0] != pattern[0] {
				return false
			}
			pattern, text = pattern[1:], text[1:]
		}
	}
	return len(text) == 0
}
