//go:build !slim

package scanner

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwnStderr: a core that is asked for before the scanner speaks to the log service of the
// tree, and is made then, has not that for its standard error, nor has one that is asked for
// later: the log service would read what it says itself, and never come to an end.
func TestOwnStderr(t *testing.T) {
	fifo, err := os.CreateTemp(t.TempDir(), "said")
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	ino := func(fd int) uint64 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	first, s := ino(2), new(Scanner)
	early := s.ownStderr()
	said, err := unix.FcntlInt(fifo.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.speakTo(&answer{said: int32(said)})
	late, spoken := s.ownStderr(), ino(2)
	s.speakAside()
	if spoken == first {
		t.Error("standard error does not lead to the log service")
	}
	for name, fd := range map[string]int{"before": early, "after": late} {
		if fd < 0 || ino(fd) != first {
			t.Errorf("asked for %s: descriptor %d", name, fd)
		}
	}
}
