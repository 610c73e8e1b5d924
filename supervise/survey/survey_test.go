package survey

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"nginx", "sshd", "postgresql", "cron", "a"}
	for word, want := range map[string]string{
		"ngnix": "nginx", "nginxx": "nginx", "shsd": "sshd", "postgres": "postgresql", "corn": "cron",
		"completely": "", "": "a", "b": "a", "xy": "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// FuzzFormat reads programs of any bytes.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"#!/bin/sh\n", "#!", "\x7fELF\x02\x01", "#! /usr/bin/env -S x\r\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) { format("/nosuch", "run", head) })
}
