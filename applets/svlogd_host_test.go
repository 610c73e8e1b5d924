package applets

import (
	"strings"
	"testing"
)

// TestHostOptions: a host reads the arguments of those that come to it as svlogd does, and
// refuses those of one that would not log.
func TestHostOptions(t *testing.T) {
	o, verbose, ok := parseLogger([]string{"-ttv", "-r", "_", "-R", "x", "-l100", "-b", "2048", "main", "-v"})
	if !ok || !verbose || o.Stamp != 2 || o.Head != 100 || o.Buffer != 2048 || o.Replacement != '_' || !o.Replaced['x'] || o.Replaced['y'] || strings.Join(o.Dirs, " ") != "main -v" {
		t.Errorf("%+v, %t, %t", o, verbose, ok)
	}
	for _, args := range []string{"", "-tt", "-x main", "-V main", "--help main", "-l 100 -b 100 main", "-r __ main", "-l"} {
		if _, _, ok := parseLogger(strings.Fields(args)); ok {
			t.Errorf("%q is taken", args)
		}
	}
}

func FuzzHostOptions(f *testing.F) {
	f.Add("-tt\x00-b\x002048\x00main")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, text string) {
		o, _, ok := parseLogger(strings.Split(text, "\x00"))
		if ok && (o.Stamp > 3 || o.Head < 1 || o.Buffer <= o.Head || len(o.Dirs) == 0) {
			t.Errorf("%+v", o)
		}
	})
}
