package applets

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestParseTime: a moment is what it is for package time, by the forms that are allowed.
func TestParseTime(t *testing.T) {
	zone := time.FixedZone("east", 3*3600)
	now := time.Date(2026, 2, 28, 13, 14, 15, 16, zone)
	at := func(form, text string) time.Time {
		t.Helper()
		m, err := time.ParseInLocation(form, text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for text, want := range map[string]time.Time{
		"": {}, "now": now, "today": at("2006-01-02", "2026-02-28"), "yesterday": at("2006-01-02", "2026-02-27"),
		"90s": now.Add(-90 * time.Second), "1.5h": now.Add(-90 * time.Minute), "2d": now.Add(-48 * time.Hour), "1w": now.Add(-7 * 24 * time.Hour), "0.25m": now.Add(-15 * time.Second), ".5h": now.Add(-30 * time.Minute),
		"@1700000000": time.Unix(1700000000, 0), "@400000005f5e10ff00000000": time.Unix(0x5f5e10ff-10, 0),
		"13:14": at("2006-01-02 15:04", "2026-02-28 13:14"), "13:14:59": at("2006-01-02 15:04:05", "2026-02-28 13:14:59"),
		"2024-02-29": at("2006-01-02", "2024-02-29"), "2024-02-29 01:02": at("2006-01-02 15:04", "2024-02-29 01:02"),
		"2024-02-29 01:02:03.5": at("2006-01-02 15:04:05", "2024-02-29 01:02:03.5"), "2024-02-29T01:02": at("2006-01-02 15:04", "2024-02-29 01:02"),
		"2024-02-29T01:02:03Z": at(time.RFC3339, "2024-02-29T01:02:03Z"), "2024-02-29T01:02:03.123456789-05:30": at(time.RFC3339, "2024-02-29T01:02:03.123456789-05:30"),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "s", ".s", "1.2.3s", "5y", "-5s", "+5s", "1e9s", "99999999999w", "4294967295w", "@x", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "2024-01-32",
		"24:00", "12:60", "12:00:60", "1:2", "12:", "12", "2024-1-1", "2024-01-01 ", "2024-01-01 12", "2024-01-01T12:00:00+", "2024-01-01T12:00:00+01", "2024-01-01T12:00:00z",
		"2024-01-01 12:00 x", "12:00Z", "tomorrow"} {
		if got, err := parseTime(text, now); err == nil || err.Error() != text+": not a time" {
			t.Errorf("%q is %v (%v), want no time", text, got, err)
		}
	}
	for range 100_000 { // what has a form's length and is no time of package time is none
		form := []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "15:04:05", "15:04"}[rand.IntN(5)]
		text := []byte(form)
		for i, c := range text {
			if c >= '0' && c <= '9' {
				text[i] = "0123459"[rand.IntN(7)]
			}
		}
		_, want := time.Parse(form, string(text))
		if _, err := parseTime(string(text), now); (err == nil) != (want == nil) {
			t.Errorf("%q: %v, and package time says %v", text, err, want)
		}
	}
}
