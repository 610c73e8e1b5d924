package applets

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says for each package of ours which others of ours it may import,
// in its tests too. Rooms do not import each other, and what lies below a room
// does not import the room.
var mayImport = map[string][]string{
	".":                    {"applets"},
	"applets":              {"applets/loaders", "applets/logrun", "applets/manual", "applets/quick", "applets/setup", "applets/syslog", "applets/turns", "initstage", "logger", "logger/reader", "procenv", "supervise/client", "supervise/core", "supervise/level", "supervise/loghost", "supervise/mounts", "supervise/diag", "supervise/scanner", "supervise/self", "supervise/state", "supervise/statedir", "supervise/survey", "supervise/sys", "supervise/threads"},
	"applets/loaders":      {"procenv"},
	"applets/logrun":       {"procenv"},
	"applets/manual":       {"applets/packed"},
	"applets/packed":       {},
	"applets/packed/pack":  {},
	"applets/quick":        {},
	"applets/setup":        {"applets/packed"},
	"applets/syslog":       {},
	"applets/turns":        {},
	"initstage":            {},
	"logger":               {},
	"logger/reader":        {},
	"procenv":              {},
	"applets/slim/cobra":   {},
	"applets/slim/fmt":     {},
	"supervise":            {},
	"supervise/child":      {"supervise/state"},
	"supervise/client":     {"supervise/statedir", "supervise/notice", "supervise/policy", "supervise/proc", "supervise/state", "supervise/statedir", "supervise/sys"},
	"supervise/core":       {"supervise/child", "supervise/statedir", "supervise/machine", "supervise/notice", "supervise/policy", "supervise/proc", "supervise/diag", "supervise/loghost", "supervise/self", "supervise/servicedir", "supervise/state", "supervise/sys", "supervise/threads", "supervise/wire"},
	"supervise/level":      {},
	"supervise/loghost":    {"supervise/proc", "supervise/self", "supervise/state", "supervise/sys", "supervise/wire"},
	"supervise/machine":    {"supervise/state"},
	"supervise/notice":     {},
	"supervise/policy":     {"supervise/machine", "supervise/sys"},
	"supervise/proc":       {"supervise/state", "supervise/sys"},
	"supervise/diag":       {"supervise/self"},
	"supervise/mounts":     {"supervise/servicedir", "supervise/sys"},
	"supervise/scanner":    {"supervise/statedir", "supervise/child", "supervise/mounts", "supervise/notice", "supervise/policy", "supervise/proc", "supervise/diag", "supervise/self", "supervise/servicedir", "supervise/state", "supervise/sys", "supervise/threads", "supervise/wire"},
	"supervise/self":       {"supervise/sys", "supervise/threads"},
	"supervise/servicedir": {"supervise/proc", "supervise/sys"},
	"supervise/state":      {},
	"supervise/statedir":   {"supervise/notice", "supervise/sys"},
	"supervise/survey":     {"supervise/statedir", "supervise/client", "supervise/policy", "supervise/proc", "supervise/state", "supervise/sys"},
	"supervise/sys":        {},
	"supervise/threads":    {"supervise/child", "supervise/sys"},
	"supervise/wire":       {},

	"applets/slim/oneline":      {},
	"applets/slim/std/cgroup":   {},
	"applets/slim/std/flag":     {},
	"applets/slim/std/fmt":      {},
	"applets/slim/std/godebug":  {},
	"applets/slim/std/net":      {},
	"applets/slim/std/template": {},
}

func TestImports(t *testing.T) {
	root, seen := "..", map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && file != root && (name == "build" || name == "testdata" || name[0] == '.' && name != ".."):
			return filepath.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		at, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		allowed, known := mayImport[at]
		if seen[at] = true; !known {
			t.Errorf("%s: the package is not listed", file)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if of, ours := strings.CutPrefix(name, "runitbox/"); ours && of != "testdata/aloud" && of != "applets/slim/fmt" && !slices.Contains(allowed, of) {
				t.Errorf("%s imports %s", file, of)
			}
			if name == "fmt" && at != "applets/slim/fmt" && !strings.HasSuffix(file, "_test.go") && f.Name.Name != "main" {
				t.Errorf("%s imports fmt, which the slim executable is to do without: runitbox/applets/slim/fmt is the part of it that the suite uses", file)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("%s is listed and has no files", name)
		}
	}
}
