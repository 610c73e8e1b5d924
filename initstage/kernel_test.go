package initstage

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSignalStorm: process 1 is busy while CONT and INT are sent again and
// again; PWR, which comes after them, is not lost.
func TestSignalStorm(t *testing.T) {
	defer signal.Reset()
	children, signals := make(chan os.Signal, 1), make(chan os.Signal)
	askForSignals(children, signals)
	for range 200 {
		for _, sig := range []unix.Signal{unix.SIGCONT, unix.SIGINT} {
			unix.Kill(unix.Getpid(), sig)
			time.Sleep(100 * time.Microsecond) // most of them come one by one
		}
	}
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, unix.SIGPWR)
	unix.Kill(unix.Getpid(), unix.SIGPWR)
	<-seen
	signal.Stop(seen) // waits until everybody has it
	for limit := time.After(10 * time.Second); ; {
		select {
		case sig := <-signals:
			if sig == unix.SIGPWR {
				return
			}
		case <-limit:
			t.Fatal("PWR is lost")
		}
	}
}
