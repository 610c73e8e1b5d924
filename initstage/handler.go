//go:build amd64 || arm64

package initstage

// nothing is a signal handler that returns at once. It is never called from Go.
func nothing()

// handler is the address of nothing.
func handler() uintptr
