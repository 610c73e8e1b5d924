//go:build !packed

package packed

// stream is empty: the texts are embedded where they belong.
var stream string
