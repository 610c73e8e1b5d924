package applets

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// machines are those that the executable is built for, by the name that Go has for them:
// they differ in the size and order of words, in the kernel's structures and in what is
// assembly here. Each is built once.
var machines = map[string]func() (dir string, err error){
	"amd64": builtFor("amd64"), "arm": builtFor("arm"), "arm64": builtFor("arm64"), "mips": builtFor("mips"), "riscv64": builtFor("riscv64"),
}

// builtFor gives the directory in which make build has put the executable for a machine.
func builtFor(arch string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir := filepath.Join(suiteDir, "for", arch)
		if text, err := exec.Command("make", "-C", "..", "build", "OUT="+dir, "GOARCH="+arch).CombinedOutput(); err != nil {
			return "", fmt.Errorf("make build: %w: %s", err, text)
		}
		return dir, nil
	})
}

// TestMachines: the executable can be built for each.
func TestMachines(t *testing.T) {
	for arch, build := range machines {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			if _, err := build(); err != nil {
				t.Error(err)
			}
		})
	}
}
