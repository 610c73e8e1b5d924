package applets

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPolicyFiles: each file that the table of supervise/README.md has, which says what a
// service directory may say beyond runit, is in the manual page of runsv, among those that
// sv lint is tried with, and among those of TestPolicyMatrix.
func TestPolicyFiles(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	_, table, found := strings.Cut(read("../supervise/README.md"), "\n## What a directory may say beyond runit\n")
	if !found {
		t.Fatal("there is no table")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	manual := strings.ReplaceAll(read("manual/runsv.8"), `\-`, "-")
	lint := read("../testdata/scripts/sv-lint.txt")
	rows := regexp.MustCompile("(?m)^\\| `([a-z/.-]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(rows) < 18 {
		t.Fatalf("the table has %d files", len(rows))
	}
	tried := map[string]bool{".log": slices.ContainsFunc(policyWays, func(w policyWay) bool { return w.catchAll })}
	for _, f := range policyFiles {
		for name := range f.files {
			first, _, _ := strings.Cut(strings.TrimSuffix(name, "@"), "/")
			tried[first] = true
		}
	}
	for _, row := range rows {
		if first, _, _ := strings.Cut(row[1], "/"); !tried[first] {
			t.Errorf("%s is not tried by TestPolicyMatrix", row[1])
		}
		name := strings.TrimSuffix(row[1], "/")
		if row[1] == "log" || row[1] == ".log/" { // which lint knows as directories
			continue
		}
		for where, text := range map[string]string{"the manual page of runsv": manual, "testdata/scripts/sv-lint.txt": lint} {
			if !strings.Contains(text, name) {
				t.Errorf("%s is not in %s", name, where)
			}
		}
	}
}
