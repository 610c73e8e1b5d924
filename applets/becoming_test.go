package applets

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSignalWhileBecoming: no signal is lost while runsvdir becomes another program, nor
// does one end that. Only what make build makes can be sure of it.
func TestSignalWhileBecoming(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(bin, "runsvdir")); err != nil {
		t.Fatal(err)
	}
	script(t, "../testdata/becoming.txt", bin)
}
