package fmt

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// TestPrinted: the suite prints nothing that is not known here, neither a verb nor a type of
// an argument. Whatever takes any arguments at its end is taken for what prints them.
func TestPrinted(t *testing.T) {
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{range .GoFiles}} {{.}}{{end}}", "runitbox")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	files := token.NewFileSet()
	conf := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exported[path]) })}
	checked := 0
	for line := range strings.Lines(string(packages)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		path, dir := f[0], f[2]
		if exported[path] = f[1]; !strings.HasPrefix(path, "runitbox") {
			continue
		}
		var parsed []*ast.File
		for _, name := range strings.Fields(f[3]) {
			file, err := parser.ParseFile(files, filepath.Join(dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		c := &calls{types.Info{Types: map[ast.Expr]types.TypeAndValue{}}, func(at ast.Node, format string, args ...any) {
			t.Errorf("%s: %s", files.Position(at.Pos()), fmt.Sprintf(format, args...))
		}, 0}
		if _, err := conf.Check(path, files, parsed, &c.Info); err != nil {
			t.Fatal(err)
		}
		for _, file := range parsed {
			ast.Inspect(file, c.check)
		}
		checked += c.checked
	}
	if checked < 100 {
		t.Errorf("only %d arguments were found", checked)
	}
}

// calls are those of a package.
type calls struct {
	types.Info
	wrong   func(at ast.Node, format string, args ...any)
	checked int // arguments
}

func (c *calls) check(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok || call.Ellipsis.IsValid() {
		return true
	}
	f, ok := c.Types[call.Fun].Type.(*types.Signature)
	if !ok || !f.Variadic() {
		return true
	}
	first := f.Params().Len() - 1
	if last := f.Params().At(first).Type(); !types.Identical(last, types.NewSlice(types.NewInterfaceType(nil, nil))) {
		return true
	}
	if first > 0 {
		c.format(call.Args[first-1])
	}
	for _, arg := range call.Args[first:] {
		if c.checked++; !printed(c.Types[arg].Type) {
			c.wrong(arg, "a %s is not known", c.Types[arg].Type)
		}
	}
	return true
}

// format checks the verbs of a text that is known.
func (c *calls) format(arg ast.Expr) {
	value := c.Types[arg].Value
	if value == nil || value.Kind() != constant.String {
		return
	}
	for _, rest, more := strings.Cut(constant.StringVal(value), "%"); more; _, rest, more = strings.Cut(rest, "%") {
		var v verb
		if v, rest = parseVerb(rest); !strings.Contains("%sqvdwxoctfg", string(v.letter)) {
			c.wrong(arg, "the verb %c is not known", v.letter)
		}
	}
}

// printed says whether Sprint and its like print such a value as Go's do.
func printed(t types.Type) bool {
	for _, method := range []string{"Error", "String"} {
		if m, _, _ := types.LookupFieldOrMethod(t, false, nil, method); m != nil {
			return true
		}
	}
	switch t := t.Underlying().(type) {
	case *types.Basic:
		return t.Info()&(types.IsBoolean|types.IsInteger|types.IsString) != 0 || t.Kind() == types.Float64 || t.Kind() == types.UntypedNil
	case *types.Slice:
		e, ok := t.Elem().(*types.Basic)
		return ok && (e.Kind() == types.String || e.Kind() == types.Byte)
	case *types.Interface:
		return t.Empty() // what a panic says
	}
	return false
}
