package main

import (
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOneLine(t *testing.T) {
	text := "//go:build linux\n\n/* a\nb */ package a\n\n//go:noinline\nfunc f() string { // says\n\treturn `x\n//line y:7\n` +\n\n\t\t\"z\"\n}\n"
	want := "//go:build linux\n\n/* a\nb */ package a\n\n//go:noinline\n//line go:1\nfunc f() string { // says\n//line go:1\n\treturn `x\n//line y:7\n` +\n\n//line go:1\n\t\t\"z\"\n//line go:1\n}\n"
	if diff := cmp.Diff(want, string(oneLine([]byte(text)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// words are the tokens of a Go file and its comments, but for those that oneLine adds.
func words(text []byte) (all []string) {
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("", -1, len(text)), text, nil, scanner.ScanComments)
	for {
		_, tok, literal := s.Scan()
		if tok == token.EOF {
			return all
		}
		if literal+"\n" != directive {
			all = append(all, fmt.Sprint(tok, literal))
		}
	}
}

// TestRuntime: what stands for the files of a large package of Go's is the same program.
func TestRuntime(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src/runtime/*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(words(text), words(oneLine(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}
