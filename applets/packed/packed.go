// Package packed holds the texts that ship inside the executable as make build packs them:
// the manual pages and what runitbox setup writes, in one stream. A plain go build embeds
// each as it is, and leaves this package empty.
package packed

import "strings"

// Text is the text of that name, which is its path below applets; empty if there is none.
func Text(name string) string {
	for at, text := range all() {
		if at == name {
			return text
		}
	}
	return ""
}

// Below are the texts in that directory.
func Below(dir string) (texts []string) {
	for name, text := range all() {
		if strings.HasPrefix(name, dir+"/") {
			texts = append(texts, text)
		}
	}
	return texts
}

// all are the names and texts. Each ends with a zero byte in the stream.
func all() func(yield func(name, text string) bool) {
	return func(yield func(name, text string) bool) {
		for rest := inflate(stream); rest != ""; {
			var name, text string
			name, rest, _ = strings.Cut(rest, "\x00")
			text, rest, _ = strings.Cut(rest, "\x00")
			if !yield(name, text) {
				return
			}
		}
	}
}
