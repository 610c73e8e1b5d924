// Command oneline makes copies of Go files in which every line has the number 1, so that an
// executable need not tell the line of each instruction: oneline DIR reads the paths of the
// files, puts the copies into DIR and prints for each what go build -overlay is to be told.
package main

import (
	"bufio"
	"fmt"
	"go/scanner"
	"go/token"
	"log"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	dir := os.Args[1]
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	files := bufio.NewScanner(os.Stdin)
	for n := 0; files.Scan(); n++ {
		text, err := os.ReadFile(files.Text())
		if err != nil {
			log.Fatal(err)
		}
		written := filepath.Join(dir, strconv.Itoa(n)+".txt") // not .go, so that nobody takes it for a file of the tree
		if err := os.WriteFile(written, oneLine(text), 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Printf(", %q: %q\n", files.Text(), written)
	}
	if err := files.Err(); err != nil {
		log.Fatal(err)
	}
}

// directive says that what follows is the first line of a file go, which is what a trace shows.
const directive = "//line go:1\n"

// oneLine puts the directive before each line of a Go file that has code, but not into the
// middle of a string or comment of several lines.
func oneLine(text []byte) (out []byte) {
	file := token.NewFileSet().AddFile("", -1, len(text))
	line := func(p token.Pos) int { return file.PositionFor(p, false).Line }
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	copied, last := 0, 0 // how much of text, and the line on which the last token ended
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return append(out, text[copied:]...)
		}
		if tok == token.SEMICOLON && literal == "\n" { // the end of a line, no token of the file
			continue
		}
		if at := line(pos); at > last && tok != token.COMMENT {
			begin := file.Offset(file.LineStart(at))
			out = append(append(out, text[copied:begin]...), directive...)
			copied = begin
		}
		last = line(pos + token.Pos(len(literal)))
	}
}
