package packed

import (
	"bytes"
	"compress/flate"
	"maps"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// deflate is text as it is packed at that level.
func deflate(t *testing.T, text string, level int) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestInflate: what compress/flate packs comes out again, from blocks of each kind.
func TestInflate(t *testing.T) {
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	page, err := os.ReadFile("../manual/sv.8")
	if err != nil {
		t.Fatal(err)
	}
	far := string(page) + string(noise[:32_000-len(page)]) + string(page)
	for name, text := range map[string]string{"nothing": "", "a byte": "x", "a word": "word", "one letter": string(bytes.Repeat([]byte("a"), 70_000)),
		"a page": string(page), "noise": string(noise), "far apart": far, "all": string(page) + string(noise) + far} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			if inflate(deflate(t, text, level)) != text {
				t.Errorf("%s, packed at level %d, does not come out again", name, level)
			}
		}
	}
}

func TestTexts(t *testing.T) {
	defer func(was string) { stream = was }(stream)
	stream = deflate(t, "manual/a.8\x00first\n\x00manual/b.8\x00\x00setup/a.8\x00third\x00", flate.BestCompression)
	for name, want := range map[string]string{"manual/a.8": "first\n", "manual/b.8": "", "setup/a.8": "third", "a.8": "", "manual": ""} {
		if got := Text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"first\n", ""}, Below("manual")); diff != "" {
		t.Errorf("below manual (-want +got):\n%s", diff)
	}
	stream = ""
	if got := maps.Collect(all()); len(got) > 0 {
		t.Errorf("a plain build has packed %v", got)
	}
}
