package applets

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAgain holds what make test tries once more, and what it must not.
func TestAgain(t *testing.T) {
	const group = "--- FAIL: TestScripts (0.00s)\n    --- FAIL: TestScripts/tree (5.57s)\n        main_test.go:1: exit status 1\n"
	const end = "FAIL\nFAIL\trunitbox/applets\t40.1s\nok  \trunitbox/logger\t2.1s\nFAIL\n"
	const one = "runitbox/applets ^TestScripts$/^tree$\n"
	for _, c := range []struct{ name, told, want string }{
		{"nothing", "ok  \trunitbox/logger\t2.1s\n", ""},
		{"one below another", group + end, one},
		{"what a pattern would read", "--- FAIL: TestX (0s)\n    --- FAIL: TestX/a_(b)+c.d|e$ (0s)\n" + end, `runitbox/applets ^TestX$/^a_\(b\)\+c\.d\|e\$$` + "\n"},
		{"two packages", group + end + "--- FAIL: TestScripts (0s)\nFAIL\nFAIL\trunitbox/logger\t1s\n", one + "runitbox/logger ^TestScripts$\n"},
		{"many", group + strings.Repeat("    --- FAIL: TestScripts/a (1s)\n", 9) + end, ""},
		{"a data race", "WARNING: DATA RACE\n" + group + end, ""},
		{"a panic", "panic: oh [recovered]\n" + group + end, ""},
		{"not built", group + end + "FAIL\trunitbox/logger [build failed]\n", ""},
		{"a package without a test that failed", group + end + "FAIL\trunitbox/logger\t1s\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			awk := exec.Command("awk", "-f", "../testdata/again.awk")
			awk.Stdin = strings.NewReader(c.told)
			got, err := awk.Output()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
