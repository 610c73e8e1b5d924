//go:build !amd64 && !arm64

package self

// handler is none: signals are caught by os/signal.
func handler() uintptr { return 0 }

// holder is none.
func holder() uintptr { return 0 }

// fromOthers is none.
func fromOthers() uintptr { return 0 }
