//go:build mutants

package applets

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

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

// noticed are the lines of a run that tell which test has failed, or what has ended all.
var noticed = regexp.MustCompile(`--- FAIL: \S+|(?m:^panic: .*)`)

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
			all := sources(t, tree)
			file, err := m.place(all)
			if err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(file, []byte(all[file]), 0o644)
			if err := os.WriteFile(file, []byte(strings.Replace(all[file], m.old, m.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, s := range m.tests {
				if ok, out := s.passes(t, tree); !ok {
					t.Logf("caught by %s", strings.Join(noticed.FindAllString(out, -1), ", "))
					return
				}
			}
			t.Errorf("not caught by %v", m.tests)
		})
	}
}
