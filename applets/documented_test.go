package applets

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rooms do not import each other: what two of them need, an applet hands across.
var rooms = []string{"supervise", "logger", "procenv", "initstage"}

// TestDocumented: each exported name has a doc comment, each package has one in some
// file, and no room imports another.
func TestDocumented(t *testing.T) {
	packages := map[string]bool{} // by directory: it is documented
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "build" || d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		packages[dir] = packages[dir] || f.Doc != nil
		for _, name := range undocumented(f) {
			t.Errorf("%s: %s is exported and has no doc comment", path, name)
		}
		for _, imported := range f.Imports {
			name, _ := strconv.Unquote(imported.Path.Value)
			if from, to := room(strings.TrimPrefix(dir, "../")), room(strings.TrimPrefix(name, "runitbox/")); from != "" && to != "" && from != to {
				t.Errorf("%s: %s imports %s", path, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
	for _, name := range rooms {
		if _, seen := packages["../"+name]; !seen {
			t.Errorf("there is no room %s", name)
		}
	}
}

// room is the room that a package is in or below, or "".
func room(path string) string {
	first, _, _ := strings.Cut(path, "/")
	for _, name := range rooms {
		if first == name {
			return name
		}
	}
	return ""
}

// undocumented are the exported names of a file without a doc comment, of their own or
// of the group they stand in.
func undocumented(f *ast.File) (names []string) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			ofError := d.Recv != nil && (d.Name.Name == "Error" || d.Name.Name == "Unwrap") // package errors documents these
			if d.Name.IsExported() && d.Doc == nil && !ofError {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
						names = append(names, s.Name.Name)
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
							names = append(names, n.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// TestReadmeNamesFiles holds that each Go file that supervise/README.md names is there:
// it says which file a change belongs to.
func TestReadmeNamesFiles(t *testing.T) {
	text, err := os.ReadFile("../supervise/README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z0-9_/]+\\.(go|s))`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 15 {
		t.Errorf("it names %d files", len(names))
	}
	for _, name := range names {
		if _, err := os.Stat("../supervise/" + name[1]); err != nil {
			t.Errorf("README.md names %s: %v", name[1], err)
		}
	}
}
