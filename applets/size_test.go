package applets

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// TestSize: the executable is small, as it is and in an initramfs, and the one without
// what is embedded is smaller.
func TestSize(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		return // the sizes are those of amd64
	}
	for _, tt := range []struct {
		name         string
		build        func() (string, error)
		most, packed int
	}{
		{"whole", binary, 4_710_000, 1_610_000},
		{"slim", slim, 3_550_000, 1_215_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exe, err := tt.build()
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(exe)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > int64(tt.most) {
				t.Errorf("the executable has %d bytes, want at most %d", info.Size(), tt.most)
			}
			if _, err := exec.LookPath("xz"); err != nil {
				skip(t, "needs xz")
			}
			packed, err := exec.Command("xz", "-9", "--check=crc32", "--stdout", exe).Output() // as the kernel unpacks it
			if err != nil {
				t.Fatal(err)
			}
			if len(packed) > tt.packed {
				t.Errorf("compressed it has %d bytes, want at most %d", len(packed), tt.packed)
			}
			t.Logf("%d bytes, %d compressed", info.Size(), len(packed))
		})
	}
}
