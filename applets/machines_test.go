package applets

import (
	"os"
	"os/exec"
	"testing"
)

// TestMachines builds for machines that differ in the size and order of words, in
// the kernel's structures and in what is assembly here.
func TestMachines(t *testing.T) {
	for _, arch := range []string{"arm64", "mips", "riscv64"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("go", "build", "-o", t.TempDir(), "..")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
