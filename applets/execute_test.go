package applets

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCalled: the command that arguments name is the one that cobra finds.
func TestCalled(t *testing.T) {
	for _, line := range []string{"", "setup", "setup services", "setup services nginx", "setup --root /x services nginx", "setup --root=/x services", "--root /x setup services",
		"setup -f services", "setup -xy services", "setup --list services", "setup services setup", "setup -- services", "-- setup", "--help setup", "--help=true setup", "nosuch setup",
		"install /sbin", "install --no-init setup", "setup services services", "setup --root services services", "sv status web", "help setup", "- setup", "setup -"} {
		args := strings.Fields(line)
		root := newBox()
		want, rest, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		got, left := called(root, args)
		if got != want {
			t.Errorf("%q calls %s, want %s", line, got.CommandPath(), want.CommandPath())
		}
		if diff := cmp.Diff(rest, left); diff != "" && len(rest)+len(left) > 0 {
			t.Errorf("%q leaves (-want +got):\n%s", line, diff)
		}
	}
}
