//go:build mutants

package applets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is a fault that somebody could make, as a file of testdata/mutants:
//
//	# what goes wrong
//	test ./supervise ^TestStep$
//	-- old --
//	the text, once in all Go files of the tree that are no tests
//	-- new --
//	what is there instead
//
// Each of the tests named must pass without it and one of them must fail with it.
type mutant struct {
	tests    []suite
	old, new string
}

// suite is a package and which of its tests.
type suite struct{ pkg, tests string }

// readMutant reads one file of testdata/mutants.
func readMutant(path string) (mutant, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	head, parts := unpack(string(text))
	m := mutant{old: parts["old"], new: parts["new"]}
	for line := range strings.Lines(head) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
		case len(f) == 3 && f[0] == "test":
			m.tests = append(m.tests, suite{f[1], f[2]})
		default:
			return m, fmt.Errorf("%s: what is %q?", path, line)
		}
	}
	if m.old == "" || len(m.tests) == 0 {
		return m, fmt.Errorf("%s: test or old is missing", path)
	}
	return m, nil
}

// place finds the one file that has the old text, wherever it has moved.
func (m mutant) place(t *testing.T, tree string) (file string, sound []byte) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if found := strings.Count(string(text), m.old); found > 0 {
			n += found
			file, sound = path, text
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 {
		t.Fatalf("does not apply: the old text is there %d times", n)
	}
	return file, sound
}

// passes runs the tests in the tree at dir. Anything but a test that fails, such as
// that there is none of that name, ends all.
func (s suite) passes(t *testing.T, dir string) (ok bool, out string) {
	t.Helper()
	cmd := exec.Command("go", "test", "-trimpath", "-count", "1", "-timeout", "5m", "-run", s.tests, s.pkg)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	out = string(text)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, trouble := range []string{"[no tests to run]", "[build failed]", "[setup failed]"} {
		if strings.Contains(out, trouble) {
			t.Fatalf("%v:\n%s", s, out)
		}
	}
	return err == nil, out
}

// copyTree copies this source tree, without what make has built.
func copyTree(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "tree")
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, strings.TrimPrefix(path, ".."))
		switch {
		case d.Name() == ".git" || path == "../build":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.Mkdir(at, 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(at, text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestMutants plants each fault in a copy of the tree: one that no test notices
// fails, and so does one that does not apply any more.
func TestMutants(t *testing.T) {
	peers, err := filepath.Abs(peersDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RUNITBOX_PEERS", peers)
	t.Setenv("RUNITBOX_SKIPPED", "")
	paths, err := filepath.Glob("../testdata/mutants/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no mutants:", err)
	}
	tree := copyTree(t)
	healthy := map[suite]bool{} // what has passed without a fault
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			m, err := readMutant(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range m.tests {
				if !healthy[s] {
					if ok, out := s.passes(t, tree); !ok {
						t.Fatalf("%v fails without any fault:\n%s", s, out)
					}
					healthy[s] = true
				}
			}
			file, sound := m.place(t, tree)
			defer os.WriteFile(file, sound, 0o644)
			if err := os.WriteFile(file, []byte(strings.Replace(string(sound), m.old, m.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, s := range m.tests {
				if ok, _ := s.passes(t, tree); !ok {
					t.Logf("caught by %s", s.tests)
					return
				}
			}
			t.Errorf("not caught by %v", m.tests)
		})
	}
}
