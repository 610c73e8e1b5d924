package fmt

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

type kind uint8

// TestFormat: what the slim executable prints is what Go's package prints, for all verbs
// that the suite uses.
func TestFormat(t *testing.T) {
	err := fs.ErrNotExist
	for format, arguments := range map[string][][]any{
		"%s|%q|%v|%-7s|%7s|%.3s|%x|%99.2q":      {{"", "", "", "", "", "", "", ""}, {"word", "wörd\n", "x y", "é", "é", "éàüß", "az\xff", "abc"}, {err, err, err, err, err, err, "x", err}},
		"%d %04d %4d %-4d|%+d %08x %#x %03o %x": {{0, 0, 0, 0, 0, 0, 0, 0, 0}, {-5, -5, -5, -5, -5, 5, 5, 5, 5}, {kind(7), uint16(7), int64(7), syscall.SIGTERM, time.Second, uint32(7), uint64(1 << 63), fs.FileMode(0o644), uintptr(99)}},
		"%v %s %d %t %c %q %%":                  {{syscall.SIGHUP, syscall.ENOENT, syscall.EPERM, true, 'ä', 'x'}, {1.5, []byte("bytes"), int8(-1), false, byte('x'), '\''}, {nil, "y", 1, true, 'x', "y"}},
		"%.1f|%6.2f|%5.0f|%-8.3f|%g|%v":         {{0.0, 1.0, 2.5, 3.14159, 1e21, 0.1}, {-0.05, -1.0, 99.5, -3.14159, 1e-9, 100.0}},
		"%v %s %q":                              {{[]string{"a", "b c"}, []string{"a"}, []string{"a", "b c"}}, {[]string{}, []string(nil), time.Minute}},
		"no verb at all":                        {{}},
		"100%%, %s%%":                           {{"x"}},
		"%[2]s %[1]s|%-5[1]s|%[1]q %s %#q":      {{"a", "b", "`"}},
		"%d %s %":                               {{1}},
	} {
		for _, args := range arguments {
			if got, want := string(Appendf([]byte("> "), format, args...)), string(fmt.Appendf([]byte("> "), format, args...)); got != want {
				t.Errorf("%s of %v:\n%s, want\n%s", format, args, got, want)
			}
		}
	}
	for _, args := range [][]any{{}, {"a", "b"}, {1, 2}, {"a", 1, 2, "b", err, err}, {true, 'x', nil}} {
		if got, want := Sprint(args...), fmt.Sprint(args...); got != want {
			t.Errorf("all of %v: %q, want %q", args, got, want)
		}
		if got, want := Sprintln(args...), fmt.Sprintln(args...); got != want {
			t.Errorf("a line of %v: %q, want %q", args, got, want)
		}
	}
}

// TestWrap: an error is each of those that it wraps, and none that it only tells of.
func TestWrap(t *testing.T) {
	format, args := "100%% %s: %v: %w, %-9w", []any{"x", errors.ErrUnsupported, fs.ErrExist, &fs.PathError{Op: "open", Path: "y", Err: syscall.EPERM}}
	err := Errorf(format, args...)
	if want := "100% x: unsupported operation: file already exists, open y: operation not permitted"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	for _, one := range []error{fs.ErrExist, syscall.EPERM} {
		if !errors.Is(err, one) {
			t.Errorf("it is not %v", one)
		}
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Error("it is what it only tells of")
	}
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		t.Error("it is no PathError")
	}
	if err := Errorf("%d: %[2]w", 1, syscall.EPERM); errors.Unwrap(err) != syscall.EPERM {
		t.Error("the only one is not what it wraps")
	}
	if err := Errorf("%v", syscall.EPERM); errors.Unwrap(err) != nil {
		t.Error("it wraps what it only tells of")
	}
}

// TestVerbs: the suite uses no verb that is not known here.
func TestVerbs(t *testing.T) {
	checked := 0
	check := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"Errorf", "Sprintf", "Appendf", "Fprintf"}, f.Sel.Name) {
			return true
		}
		for _, arg := range call.Args[:min(2, len(call.Args))] {
			text, ok := arg.(*ast.BasicLit)
			if !ok || text.Kind != token.STRING {
				continue
			}
			format, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, rest, more := strings.Cut(format, "%"); more; _, rest, more = strings.Cut(rest, "%") {
				var v verb
				if v, rest = parseVerb(rest); !strings.Contains("%sqvwdxoctfg", string(v.letter)) {
					t.Errorf("%q has %c", format, v.letter)
				}
				checked++
			}
			break
		}
		return true
	}
	err := filepath.WalkDir("../../../..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "build":
			return filepath.SkipDir
		case filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err == nil {
			ast.Inspect(f, check)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 100 {
		t.Errorf("only %d verbs were found", checked)
	}
}
