package applets

import (
	"slices"
	"strings"
	"testing"
)

// TestHostOptions: the arguments of another svlogd mean what they mean to it, and those
// that it would not log with are refused.
func TestHostOptions(t *testing.T) {
	o, verbose, ok := parseLogger([]string{"-ttv", "-l", "100", "-b", "2048", "-r", "_", "-R", "x", "main", "-v"})
	if !ok || !verbose || !slices.Equal(o.Dirs, []string{"main", "-v"}) || o.Stamp != 2 || o.Head != 100 || o.Buffer != 2048 ||
		o.Replacement != '_' || *o.Replaced != *replaced("x") {
		t.Errorf("%+v, %t, %t", o, verbose, ok)
	}
	for _, line := range []string{"", "-t", "-V main", "--help main", "-x main", "-r ab main", "-l 2048 -b 1024 main", "-l"} {
		if o, _, ok := parseLogger(strings.Fields(line)); ok {
			t.Errorf("%q: %+v", line, o)
		}
	}
}

func FuzzHostOptions(f *testing.F) {
	f.Add("-tt\x00main")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if o, _, ok := parseLogger(strings.Split(text, "\x00")); ok && (len(o.Dirs) == 0 || o.Stamp > 3 || o.Head <= 0 || o.Buffer <= o.Head) {
			t.Errorf("%+v", o)
		}
	})
}
