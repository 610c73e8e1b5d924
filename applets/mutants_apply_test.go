package applets

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is a fault that somebody could make, as a file of testdata/mutants:
//
//	# what goes wrong
//	test ./supervise ^TestStep$
//	-- old --
//	the text, once in all Go files of the tree that are no tests
//	-- new --
//	what is there instead
//
// Each of the tests named must pass without it and one of them must fail with it.
type mutant struct {
	tests    []suite
	old, new string
}

// suite is a package and which of its tests.
type suite struct{ pkg, tests string }

// readMutant reads one file of testdata/mutants.
func readMutant(path string) (mutant, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	head, parts := unpack(string(text))
	m := mutant{old: parts["old"], new: parts["new"]}
	for line := range strings.Lines(head) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] == "#":
		case len(f) == 3 && f[0] == "test":
			m.tests = append(m.tests, suite{f[1], f[2]})
		default:
			return m, fmt.Errorf("%s: what is %q?", path, line)
		}
	}
	if m.old == "" || len(m.tests) == 0 {
		return m, fmt.Errorf("%s: test or old is missing", path)
	}
	return m, nil
}

// sources are the Go files of a tree that are no tests, by their paths.
func sources(t *testing.T, tree string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "build"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// place finds the one file that has the old text, wherever it has moved.
func (m mutant) place(sources map[string]string) (file string, err error) {
	n := 0
	for path, text := range sources {
		if found := strings.Count(text, m.old); found > 0 {
			n += found
			file = path
		}
	}
	if n != 1 {
		return "", fmt.Errorf("does not apply: the old text is there %d times", n)
	}
	return file, nil
}

// emptyPackages imports any package, with nothing in it.
type emptyPackages struct{}

func (emptyPackages) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// uncompiled is why a Go file is not compiled: its syntax, or imports and variables that
// nothing uses. Of other packages only the names are looked at.
func uncompiled(text string) (why []string) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}
	}
	check := types.Config{Importer: emptyPackages{}, Error: func(err error) {
		if e, ok := err.(types.Error); ok && e.Soft {
			why = append(why, e.Msg)
		}
	}}
	check.Check("", files, []*ast.File{file}, nil)
	return why
}

// TestMutantsApply: each fault can still be planted, and is then seen by a test and not by the compiler.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	all := sources(t, "..")
	paths, err := filepath.Glob("../testdata/mutants/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no mutants:", err)
	}
	for _, path := range paths {
		m, err := readMutant(path)
		if err != nil {
			t.Error(err)
			continue
		}
		file, err := m.place(all)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if why := uncompiled(strings.Replace(all[file], m.old, m.new, 1)); len(why) > len(uncompiled(all[file])) {
			t.Errorf("%s: it is not compiled: %q", path, why)
		}
	}
}
