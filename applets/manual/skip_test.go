package manual

import (
	"fmt"
	"os"
	"testing"
)

// skip skips the test aloud: make test counts what it writes down here.
func skip(t *testing.T, why string) {
	t.Helper()
	if path := os.Getenv("RUNITBOX_SKIPPED"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "manual.%s: %s\n", t.Name(), why)
		f.Close()
	}
	t.Skip(why)
}
