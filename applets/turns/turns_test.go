package turns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[2] == "tell" {
		fmt.Print(runtime.GOMAXPROCS(0))
		return
	}
	os.Exit(m.Run())
}

// TestTurns: what supervises begins with one turn, the rest as ever.
func TestTurns(t *testing.T) {
	for _, tt := range []struct {
		args string
		name string
		want int
	}{
		{"/sbin/runsvdir", "/service", 1}, {"runsv", "x", 1}, {"/bin/runitbox", "runsvdir", 1}, {"runitbox", "./runsv", 1},
		{"/sbin/runsvdirs", "x", 3}, {"svlogd", "main", 1}, {"./run", "x", 1}, {"/sbin/rsvlog", "x", 1}, {"sv", "up", 3},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{tt.args, tt.name, "tell"}
		cmd.Env = []string{"GOMAXPROCS=3", "GORACE=atexit_sleep_ms=0"}
		out, err := cmd.Output()
		if err != nil || string(out) != fmt.Sprint(tt.want) {
			t.Errorf("%s %s has %s turns, %v, want %d", tt.args, tt.name, out, err, tt.want)
		}
	}
}
