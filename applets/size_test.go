package applets

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// TestSize: the executable is small, as it is and in an initramfs.
func TestSize(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		return // the sizes are those of amd64
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(exe)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 4_600_000 {
		t.Errorf("the executable has %d bytes, want at most 4.6 MB", info.Size())
	}
	if _, err := exec.LookPath("xz"); err != nil {
		skip(t, "needs xz")
	}
	packed, err := exec.Command("xz", "-9", "--check=crc32", "--stdout", exe).Output() // as the kernel unpacks it
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) > 1_600_000 {
		t.Errorf("compressed it has %d bytes, want at most 1.6 MB", len(packed))
	}
	t.Logf("%d bytes, %d compressed", info.Size(), len(packed))
}
