package logger

import "testing"

// patterns is the rule table of the config file's patterns.
var patterns = []struct {
	pattern, text string
	match         bool
}{
	{"abc", "abc", true}, {"abc", "abcd", false}, {"abc", "ab", false},
	{"", "", true}, {"", "x", false},
	{"*", "", true}, {"*", "anything", true},
	{"*c", "abc", true}, {"*c", "acbc", false}, {"*c", "ab", false},
	{"a*b*c", "a1b2b3c", true}, {"a*bc", "axbxbc", false},
	{"a?c", "abc", false}, {"[ab]", "a", false}, {"a?c", "a?c", true},
	{"+ab", "aaa", true}, {"+ab", "aaab", true}, {"+ab", "b", false},
	{"a+bc", "abb", true}, {"a+bc", "abbc", true}, {"a+bc", "ac", false},
	{"+*x", "***x", true}, {"+*x", "x", false},
	{"*+x", "foo+xxx", false}, {"*+x", "fooxxx", false},
	{"**x", "foo*barx", true}, {"**x", "foobarx", false},
	{"++a", "+++a", true}, {"++", "+++", true},
	{"*: *: pid *", "tcpsvd: info: pid 1 x", true},
	{"*: *: pid *", "2026-11-22_20:07:53.59398 tcpsvd: info: pid 1 x", false},
	{"+a", "", false}, {"a+b", "a", false}, {"+", "", false}, {"+", "+", false}, {"a+", "a", false},
}

func TestMatch(t *testing.T) {
	for _, tt := range patterns {
		if got := Match(tt.pattern, []byte(tt.text)); got != tt.match {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.pattern, tt.text, got, tt.match)
		}
	}
}

// slowMatch reads the rule table word by word.
func slowMatch(pattern, text string) bool {
	switch {
	case pattern == "": // end: match iff the text is used up
		return text == ""
	case pattern == "*": // last: match
		return true
	case pattern[0] == '*': // skip to the first of what follows, then go on at it
		for i := range len(text) {
			if text[i] == pattern[1] {
				return slowMatch(pattern[1:], text[i:])
			}
		}
		return false
	case pattern == "+": // undefined in the original
		return false
	case pattern[0] == '+': // one needed, all consumed; at the end of the text a match at once
		rest := text
		for rest != "" && rest[0] == pattern[1] {
			rest = rest[1:]
		}
		return rest != text && (rest == "" || slowMatch(pattern[2:], rest))
	}
	return text != "" && text[0] == pattern[0] && slowMatch(pattern[1:], text[1:])
}

func FuzzMatch(f *testing.F) {
	for _, tt := range patterns {
		f.Add(tt.pattern, tt.text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 1000 {
			t.Skip()
		}
		if got, want := Match(pattern, []byte(text)), slowMatch(pattern, text); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}
