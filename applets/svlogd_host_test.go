package applets

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runitbox/logger"
)

// TestHostOptions: what is packed is unpacked, and what nobody has packed is refused.
func TestHostOptions(t *testing.T) {
	o := logger.Options{Dirs: []string{"main", "/var/log/x y"}, Stamp: logger.Stamp(2), Head: 100, Buffer: 2048, Replacement: '_', Replaced: replaced("x")}
	got, verbose, err := unpackOptions(packOptions(o, true))
	if diff := cmp.Diff(o.Dirs, got.Dirs); err != nil || !verbose || diff != "" {
		t.Errorf("%v, %t (-want +got):\n%s", err, verbose, diff)
	}
	if got.Stamp != o.Stamp || got.Head != o.Head || got.Buffer != o.Buffer || got.Replacement != o.Replacement || *got.Replaced != *o.Replaced {
		t.Errorf("%+v", got)
	}
	good := packOptions(o, false)
	for _, tt := range []struct {
		name string
		at   int
		word string
	}{
		{"a stamp that there is not", 0, "4"}, {"a negative stamp", 0, "-1"}, {"no head", 1, "0"}, {"a head beyond the buffer", 1, "2048"},
		{"a buffer beyond all", 2, "1073741825"}, {"no number", 2, "x"}, {"no truth", 3, "maybe"}, {"more than a byte", 4, "256"}, {"a short set", 5, "01"},
	} {
		words := slices.Clone(good)
		words[tt.at] = tt.word
		if _, _, err := unpackOptions(words); err == nil {
			t.Errorf("%s is taken", tt.name)
		}
	}
	if _, _, err := unpackOptions(good[:6]); err == nil {
		t.Error("options without a directory are taken")
	}
}

func FuzzHostOptions(f *testing.F) {
	f.Add(strings.Join(packOptions(logger.Options{Dirs: []string{"main"}, Head: 10, Buffer: 20, Replaced: replaced("")}, true), "\x00"))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		o, verbose, err := unpackOptions(strings.Split(text, "\x00"))
		if err != nil {
			return
		}
		again, same, err := unpackOptions(packOptions(o, verbose))
		if err != nil || same != verbose || again.Buffer != o.Buffer || again.Head != o.Head || !slices.Equal(again.Dirs, o.Dirs) {
			t.Errorf("%+v becomes %+v, %v", o, again, err)
		}
	})
}
