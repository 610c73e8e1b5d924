//go:build slim

package manual

// pages are none in the executable that leaves out what it can.
func pages() []string { return nil }
