package initstage

import (
	"runtime"
	"strings"
	"testing"
)

// TestMakeSpares: the runtime has the threads when they are made, however little
// else has run meanwhile.
func TestMakeSpares(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	makeSpares()
	text := make([]byte, 1<<20)
	text = text[:runtime.Stack(text, true)]
	for goroutine := range strings.SplitSeq(string(text), "\n\n") {
		heading, stack, _ := strings.Cut(goroutine, "\n")
		if strings.Contains(heading, "locked to thread") && strings.Contains(stack, "created by runitbox/initstage.makeSpares") {
			t.Errorf("a spare thread is still in use:\n%s", goroutine)
		}
	}
}
