// Package fmt is the part of Go's package of that name which the suite uses. What make build
// takes for that (applets/slim/std/fmt) knows no more than this, cobra and pflag need.
package fmt

import (
	"fmt"
	"io"
)

// Errorf is an error with a text; what %w stands for is wrapped.
func Errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Sprintf is a text.
func Sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// Sprint is its arguments, one behind the other.
func Sprint(args ...any) string { return fmt.Sprint(args...) }

// Appendf appends a text to b.
func Appendf(b []byte, format string, args ...any) []byte { return fmt.Appendf(b, format, args...) }

// Fprintf writes a text.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return fmt.Fprintf(w, format, args...)
}

// Fprint writes its arguments, one behind the other.
func Fprint(w io.Writer, args ...any) (int, error) { return fmt.Fprint(w, args...) }

// Fprintln writes a line of its arguments.
func Fprintln(w io.Writer, args ...any) (int, error) { return fmt.Fprintln(w, args...) }
