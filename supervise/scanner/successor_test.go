package scanner

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHeldFor tells for which programs signals are held.
func TestHeldFor(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"script": "#!/bin/sh\nexec runsvdir \"$@\"\n", "text": "keepsblk", "empty": "", "elf": "\x7fELF\x02\x01"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what, path string
		want       uintptr
	}{
		{"a script, which may execute a runsvdir", filepath.Join(dir, "script"), heldByAll},
		{"another program of Go's", selfExe, heldByGo},
		{"another program", "/bin/sh", heldByNone},
		{"the word alone", filepath.Join(dir, "text"), heldByNone},
		{"the head of a program", filepath.Join(dir, "elf"), heldByNone},
		{"an empty file", filepath.Join(dir, "empty"), heldByNone},
		{"no file", filepath.Join(dir, "none"), heldByNone},
	} {
		if got := heldFor(tt.path); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.what, got, tt.want)
		}
	}
}
