// Package turns gives a process that supervises, or logs, a single turn of Go's
// scheduler to begin with. What the runtime allocates it allocates for each turn apart,
// some hundred KiB, and a supervisor, which waits nearly always, has no use for a
// second; the core of a tree asks for more where they pay. That works best
// before much is allocated, so this package imports nothing: Go initialises it
// among the first. Where it comes only matters to how little memory is used.
package turns

import (
	"runtime"
	_ "unsafe" // to link by name
)

// args is what os.Args will be.
//
//go:linkname args os.runtime_args
func args() []string

func init() {
	argv := args()
	for _, arg := range argv[:min(2, len(argv))] { // runitbox runsvdir
		if isSupervisor(arg) {
			runtime.GOMAXPROCS(1)
			return
		}
	}
}

// isSupervisor says whether a program of this path supervises or logs, or is a service's
// run: of what this executable is, only what does next to nothing can be that.
func isSupervisor(path string) bool {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			path = path[i+1:]
			break
		}
	}
	switch path {
	case "runsvdir", "runsv", "svlogd", "rsvlog", "nsvlog", "run": // the last is one of these as a service's run
		return true
	}
	return false
}
