// Package aloud skips tests so that nobody misses it. Only tests import it.
package aloud

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"runitbox/fmt"
)

// Skip skips the test, and writes down which and why for make test, which counts that.
func Skip(t *testing.T, why string) {
	t.Helper()
	if path := os.Getenv("RUNITBOX_SKIPPED"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%s.%s: %s\n", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"), t.Name(), why)
		f.Close()
	}
	t.Skip(why)
}
