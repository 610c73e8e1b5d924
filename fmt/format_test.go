package fmt

import (
	"errors"
	"fmt"
	"io/fs"
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
	} {
		for _, args := range arguments {
			if got, want := string(appendf([]byte("> "), format, args)), string(fmt.Appendf([]byte("> "), format, args...)); got != want {
				t.Errorf("%s of %v:\n%s, want\n%s", format, args, got, want)
			}
		}
	}
	for _, args := range [][]any{{}, {"a", "b"}, {1, 2}, {"a", 1, 2, "b", err, err}, {true, 'x', nil}} {
		if got, want := string(appendAll(nil, args)), fmt.Sprint(args...); got != want {
			t.Errorf("all of %v: %q, want %q", args, got, want)
		}
		if got, want := string(appendLine(nil, args)), fmt.Sprintln(args...); got != want {
			t.Errorf("a line of %v: %q, want %q", args, got, want)
		}
	}
}

// TestWrap: an error is each of those that it wraps, and none that it only tells of.
func TestWrap(t *testing.T) {
	err := wrap("100%% %s: %v: %w, %-9w", []any{"x", errors.ErrUnsupported, fs.ErrExist, &fs.PathError{Op: "open", Path: "y", Err: syscall.EPERM}})
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
}
