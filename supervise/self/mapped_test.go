package self

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMapProgram: all that is code or constant of this program is mapped afterwards.
func TestMapProgram(t *testing.T) {
	room, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(room)
	if unix.Madvise(room, unix.MADV_POPULATE_READ) == unix.EINVAL {
		skip(t, "a kernel before 5.14")
	}
	MapProgram()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	seen, here, size := 0, false, ""
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 6 && f[5] == exe:
			here = strings.HasPrefix(f[1], "r") && !strings.Contains(f[1], "w")
		case len(f) > 1 && strings.Contains(f[0], "-"):
			here = false
		case here && f[0] == "Size:":
			size = f[1]
		case here && f[0] == "Rss:":
			if seen++; f[1] != size {
				t.Errorf("%s KiB of %s are mapped", f[1], size)
			}
		}
	}
	if seen < 2 {
		t.Errorf("%d mappings of %s were found", seen, exe)
	}
}
