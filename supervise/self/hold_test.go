package self

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHold: a signal that comes as it begins to be held is relayed or stays pending, one that
// comes later stays pending, and is relayed after the program has not become another.
func TestHold(t *testing.T) {
	if handler() == 0 {
		skip(t, "no handler on this machine")
	}
	const winch = 1 << (unix.SIGWINCH - 1)
	c := make(chan os.Signal)
	ways, each = nil, 0 // nobody reads those of a test before
	NotifyEach(c, unix.SIGWINCH)
	if Each() != winch {
		t.Errorf("each are %#x, want %#x", Each(), winch)
	}
	flushed := func() (sigs []os.Signal) {
		for last := Flush(); last > 0; {
			if sig := await(t, c); sig != nil {
				sigs = append(sigs, sig)
			} else {
				last--
			}
		}
		return sigs
	}
	send := func() { unix.Kill(os.Getpid(), unix.SIGWINCH) }
	for range 300 {
		go send()
		send()
		if !Hold(winch | Held) {
			t.Fatal("nothing can be held")
		}
		if sigs := flushed(); len(sigs) == 0 {
			awaitPending(t, unix.SIGWINCH)
		}
		send()
		awaitPending(t, unix.SIGWINCH)
		if err := Become(filepath.Join(t.TempDir(), "none"), os.Args, nil, winch|Held); err != unix.ENOENT {
			t.Fatal(err)
		}
		if sigs := flushed(); len(sigs) > 0 {
			t.Fatalf("%v were relayed while they were held", sigs)
		}
		awaitPending(t, unix.SIGWINCH)
		Release()
		if sig := await(t, c); sig != unix.SIGWINCH {
			t.Fatal(sig)
		}
	}
}

// awaitPending waits until a signal is pending for the process: a thread that is new may get it
// first, and sends it again.
func awaitPending(t *testing.T, sig unix.Signal) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nShdPnd:\t")
		text, _, _ := strings.Cut(rest, "\n")
		set, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if set>>(sig-1)&1 != 0 {
			return
		}
	}
	t.Fatalf("%v is lost", sig)
}
