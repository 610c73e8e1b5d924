//go:build !amd64 && !arm64

package initstage

// handler is SIG_IGN, which children inherit: harmless, but it can be seen.
func handler() uintptr { return 1 }

// filter is none.
func filter() uintptr { return 0 }
