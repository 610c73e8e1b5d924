package core

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShrinkFIFOs: they have few pages, and commands still come when one page of them was
// written while always one was left unread.
func TestShrinkFIFOs(t *testing.T) {
	page := os.Getpagesize()
	var control, ok [2]int
	for _, p := range []*[2]int{&control, &ok} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
	}
	u := &unit{control: control[0], ok: ok[0]}
	u.shrinkFIFOs()
	for fd, want := range map[int]int{control[0]: 2 * page, ok[0]: page} {
		if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil || size != want {
			t.Errorf("%d bytes, want %d: %v", size, want, err)
		}
	}
	for i := range 3 * page {
		if _, err := unix.Write(control[1], []byte("c")); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		if i > 0 {
			if _, err := unix.Read(control[0], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
