package procenv

import "unsafe"

// What little of package strings is needed here: that package would have to
// wait for package unicode, and with it the program for most of the suite (see
// runitbox/applets/loaders).

// cut parts text at the first sep.
func cut(text string, sep byte) (before, after string, found bool) {
	for i := range len(text) {
		if text[i] == sep {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// contains says whether there is a c in text.
func contains(text string, c byte) bool {
	_, _, found := cut(text, c)
	return found
}

// split parts text at each sep. There is always one part.
func split(text string, sep byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for found := true; found; {
			var part string
			if part, text, found = cut(text, sep); !yield(part) {
				return
			}
		}
	}
}

// fields is split, as a slice.
func fields(text string, sep byte) []string {
	var all []string
	for part := range split(text, sep) {
		all = append(all, part)
	}
	return all
}

// text is a file's content as a string, without a copy: nobody changes it.
func text(content []byte) string {
	return unsafe.String(unsafe.SliceData(content), len(content))
}
