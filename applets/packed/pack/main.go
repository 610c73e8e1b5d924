// Command pack writes the stream of package packed: pack STREAM FILE... has the files under
// the last two parts of their paths.
package main

import (
	"bytes"
	"compress/flate"
	"log"
	"os"
	"path/filepath"
)

func main() {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range os.Args[2:] {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
		w.Write([]byte(name + "\x00" + string(text) + "\x00"))
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
