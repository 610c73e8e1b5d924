package logger

import (
	"bytes"
	"testing"
	"time"
)

func TestStamp(t *testing.T) {
	at := time.Date(2026, 11, 22, 20, 7, 53, 593987654, time.FixedZone("east", 3600))
	for form, want := range map[Stamp]string{
		NoStamp:    "",
		TAI64N:     "@400000006b033d9323678846 ",
		Underscore: "2026-11-22_19:07:53.59398 ",
		ISO8601:    "2026-11-22T19:07:53.59398 ",
	} {
		if got := string(appendStamp(nil, form, at)); got != want {
			t.Errorf("form %d: %q, want %q", form, got, want)
		}
	}
}

func TestLabel(t *testing.T) {
	first := labelOf(time.Unix(1000, 999999999))
	next := first.after()
	if bytes.Compare(first[:], next[:]) >= 0 || next != labelOf(time.Unix(1001, 0)) {
		t.Errorf("after %x comes %x", first, next)
	}
	got, ok := parseLabel(string(first.appendTo(nil)))
	if !ok || got != first {
		t.Errorf("parsed %x, %v, want %x", got, ok, first)
	}
	for _, bad := range []string{"", "@", "@40000000zz034ba322cffacc", "x400000006b034ba322cffacc"} {
		if _, ok := parseLabel(bad); ok {
			t.Errorf("%q is taken for a label", bad)
		}
	}
}
