package threads

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReserve: there are as many threads as are asked for, and none more the next time.
func TestReserve(t *testing.T) {
	n := Count() + 6
	if !Reserve(n) || Count() < n {
		t.Errorf("%d threads, want %d", Count(), n)
	}
	n = Count()
	if !Reserve(n) || Count() != n {
		t.Errorf("%d threads, and %d were enough", Count(), n)
	}
}

// That there is little room is seen in each cgroup above, in either form of the
// hierarchy, and nothing else looks like it.
func TestScarce(t *testing.T) {
	root := t.TempDir()
	for dir, limits := range map[string][2]string{
		"a":          {"1000", "990"},
		"a/b":        {"max", "5"},
		"pids/c":     {"20", "3"},
		"pids/wide":  {"5000", "100"},
		"wide":       {"max", "5"},
		"nowhere":    {"", ""},
		"space here": {"3", "3"},
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"pids.max", "pids.current"} {
			if err := os.WriteFile(filepath.Join(root, dir, name), []byte(limits[i]+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for cgroups, want := range map[string]bool{
		"":                                   false,
		"0::/\n":                             false,
		"0::/wide\n":                         false,
		"0::/a\n":                            true,
		"0::/a/b\n":                          true,
		"0::/a/gone\n":                       true,
		"0::/space here\n":                   true,
		"0::/nowhere\n":                      false,
		"4:memory:/a\n":                      false,
		"4:memory:/a\n3:pids:/c\n0::/wide\n": true,
		"3:pids:/wide\n":                     false,
		"3:pids:/../../a\n":                  false,
		"garbage":                            false,
	} {
		if got := scarceIn(root, cgroups); got != want {
			t.Errorf("%q: %v, want %v", cgroups, got, want)
		}
	}
}
