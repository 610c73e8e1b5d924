//go:build !slim && !packed

package manual

import "embed"

//go:embed *.8
var files embed.FS

// pages are the sources of all.
func pages() (all []string) {
	entries, _ := files.ReadDir(".")
	for _, e := range entries {
		text, _ := files.ReadFile(e.Name())
		all = append(all, string(text))
	}
	return all
}
