//go:build amd64 || arm64

package initstage

// nothing is a signal handler that returns at once. It is never called from Go.
//
//lint:ignore U1000 the kernel calls it
func nothing()

// handler is the address of nothing.
func handler() uintptr

// notOwn is a signal handler that passes on, to the handler in filtered, what
// another process has sent. It is never called from Go.
//
//lint:ignore U1000 the kernel calls it
func notOwn()

// filter is the address of notOwn.
func filter() uintptr
