package self

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestTitle: what ps shows is the text, longer and shorter than the arguments, and Go's
// copy of the environment stays as it was.
func TestTitle(t *testing.T) {
	before := os.Environ()
	shown := func() string {
		b, err := os.ReadFile("/proc/self/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimRight(b, "\x00"))
	}
	room := len(shown()) + len(strings.Join(before, " "))
	for _, text := range []string{"a title", strings.Repeat("long ", room/10), "short"} {
		if err := Title(text); err != nil {
			t.Fatal(err)
		}
		if got := shown(); got != text[:min(len(text), 4095)] {
			t.Errorf("ps shows %q, want %q", got, text)
		}
	}
	if after := os.Environ(); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the environment is %q, and was %q", after, before)
	}
}
