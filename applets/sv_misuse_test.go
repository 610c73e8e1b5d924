package applets

import (
	"strings"
	"testing"
)

// TestSvMisuse: what is wrong about the options of sv's own verbs is told in a line, with the
// usage behind it, and nothing is done.
func TestSvMisuse(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"log -n x":            `sv: invalid argument "x" for "-n, --lines"`,
		"log -n -5":           "sv: --lines: a number is expected, of 0 and up",
		"log --lines=":        `sv: invalid argument "" for "-n, --lines"`,
		"log --since":         "sv: option requires an argument -- since",
		"log --since tuesday": "sv: --since: tuesday: not a time",
		"log --until 25:61":   "sv: --until: 25:61: not a time",
		"log --grep (":        "sv: --grep: error parsing regexp: missing closing ): `(`",
		"list --jsn":          "sv: there is no option --jsn",
		"watch --follow=1":    "sv: there is no option --follow",
		"list -z":             "sv: illegal option -- z",
		"chart -o":            "sv: option requires an argument -- o",
		"why":                 "usage: sv why [--json] service ...",
		"enable":              "usage: sv enable [-w sec] service ...",
	} {
		got := ask(t, built(t), []string{"SVDIR=/nosuch"}, append([]string{"sv"}, strings.Split(line, " ")...)...)
		first, rest, _ := strings.Cut(got.Stderr, "\n")
		if first != want || got.Status != 100 || got.Stdout != "" || !strings.Contains(first+rest, "usage: sv ") {
			t.Errorf("sv %s: %+v, want %s", line, got, want)
		}
	}
}
