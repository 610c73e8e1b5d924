package applets

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
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
	t.Parallel()
	for arch, build := range machines {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			if _, err := build(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFileNames: no file is for several machines by its build line and for one of them by
// its name, which the go command heeds too: it would be missing on the others.
func TestFileNames(t *testing.T) {
	arch := regexp.MustCompile(`_(386|amd64|arm|arm64|loong64|mips|mips64|mips64le|mipsle|ppc64|ppc64le|riscv64|s390x)(_test)?\.go$`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "build" || d.Name() == ".git") {
			return cmp.Or(err, fs.SkipDir)
		}
		if !arch.MatchString(path) {
			return nil
		}
		text, err := os.ReadFile(path)
		if line, _, _ := strings.Cut(string(text), "\n"); strings.HasPrefix(line, "//go:build") && strings.Contains(line, "||") {
			t.Errorf("%s: %s", path, line)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCallNumbers: a system call that a file names without saying for which machines it is
// has a number on each of them. Go builds the executable without the tests' files, and the
// tests only for the machine that they run on: neither would find a number that another lacks.
func TestCallNumbers(t *testing.T) {
	list, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	defined := regexp.MustCompile(`(?m)^\s*(SYS_\w+)\s*=`)
	numbers := map[string]map[string]bool{} // of each machine, by the name that Go has for it
	for _, arch := range []string{"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(list)), "unix", "zsysnum_linux_"+arch+".go"))
		if err != nil {
			t.Fatal(err)
		}
		numbers[arch] = map[string]bool{}
		for _, m := range defined.FindAllSubmatch(text, -1) {
			numbers[arch][string(m[1])] = true
		}
	}
	limited := regexp.MustCompile(`(?m)^//go:build .*|_(386|amd64|arm|arm64|loong64|mips|mips64|mips64le|mipsle|ppc64|ppc64le|riscv64|s390x)(_test)?\.go$`)
	named := regexp.MustCompile(`\bunix\.(SYS_\w+)`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "build" || d.Name() == ".git") {
			return cmp.Or(err, fs.SkipDir)
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if limited.MatchString(path) || limited.Match(text) {
			return err
		}
		for _, m := range named.FindAllSubmatch(text, -1) {
			for arch, has := range numbers {
				if !has[string(m[1])] {
					t.Errorf("%s: %s has no unix.%s", path, arch, m[1])
				}
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
