package self

import (
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the program of TestNotEnded.
func TestMain(m *testing.M) {
	if os.Getenv("CATCH_REST") == "" {
		os.Exit(m.Run())
	}
	CatchRest()
	IgnorePipe()
	c := make(chan os.Signal, 1)
	Catch(c, unix.SIGTERM)
	os.Stdout.WriteString("ready\n")
	<-c
	var p [2]int
	unix.Pipe(p[:])
	unix.Close(p[0])
	unix.Dup2(p[1], 2)
	if _, err := os.Stderr.WriteString("nobody reads\n"); err == nil {
		os.Exit(3)
	}
	func() { // a fault is the runtime's still
		defer func() { recover() }()
		var none *int
		*none = 1
	}()
	os.Exit(7)
}

// TestCatch: each signal comes through, once for those that come together, to all who have
// asked for it, and nobody has a thread for that.
func TestCatch(t *testing.T) {
	if handler() == 0 {
		skip(t, "no handler on this machine")
	}
	a, b, other := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	Catch(a, unix.SIGUSR1, unix.SIGHUP)
	Catch(b, unix.SIGUSR1)
	Catch(other, unix.SIGUSR2)
	for range 200 {
		unix.Kill(os.Getpid(), unix.SIGUSR1)
		for _, c := range []chan os.Signal{a, b} {
			if sig := await(t, c); sig != unix.SIGUSR1 {
				t.Fatal(sig)
			}
		}
	}
	for range 10000 { // a storm costs no other its place
		unix.Kill(os.Getpid(), unix.SIGUSR1)
	}
	unix.Kill(os.Getpid(), unix.SIGUSR2)
	if sig := await(t, other); sig != unix.SIGUSR2 {
		t.Fatal(sig)
	}
	var text strings.Builder
	pprof.Lookup("goroutine").WriteTo(&text, 2)
	if strings.Contains(text.String(), "os/signal") {
		t.Error("os/signal has goroutines, and so threads:\n", text.String())
	}
}

func await(t *testing.T, c chan os.Signal) os.Signal {
	t.Helper()
	select {
	case sig := <-c:
		return sig
	case <-time.After(time.Minute):
		t.Fatal("a signal has not come")
		return nil
	}
}

// TestNotEnded: what others send ends nobody who has caught the rest, nor does a lost standard
// error; the program's own faults are still the runtime's.
func TestNotEnded(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CATCH_REST=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	for sig := unix.Signal(1); sig < 32; sig++ {
		switch sig {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGTERM:
		default:
			unix.Kill(cmd.Process.Pid, sig)
		}
	}
	unix.Kill(cmd.Process.Pid, unix.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it has ended so: %v", cmd.ProcessState)
	}
}
