package scanner

import (
	"strings"
	"testing"
)

func TestRing(t *testing.T) {
	for _, tt := range []struct{ arg, add, want string }{
		{"log: ......", "abc", "log: ...abc"},
		{"log: ......", "a\x00b\n", "log: ...ab\n"},
		{"log: ......", "0123456789", "log: 456789"},
		{"abcdefg", "x", "abcdegx"},
		{"log: ......", "", "log: ......"},
	} {
		arg := strings.Clone(tt.arg) // memory that may be written
		ringOf(arg, -1).add([]byte(tt.add))
		if arg != tt.want {
			t.Errorf("%q with %q is %q, want %q", tt.arg, tt.add, arg, tt.want)
		}
	}
	if _, err := newRing("log: ."); err != errRingShort {
		t.Errorf("a short log: %v", err)
	}
}
