//go:build slim

// Package fmt is the part of Go's package of that name which the suite uses.
package fmt

import "io"

// Errorf is an error with a text; what %w stands for is wrapped.
func Errorf(format string, args ...any) error { return wrap(format, args) }

// Sprintf is a text.
func Sprintf(format string, args ...any) string { return string(appendf(nil, format, args)) }

// Sprint is its arguments, one behind the other.
func Sprint(args ...any) string { return string(appendAll(nil, args)) }

// Appendf appends a text to b.
func Appendf(b []byte, format string, args ...any) []byte { return appendf(b, format, args) }

// Fprintf writes a text.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	return w.Write(appendf(nil, format, args))
}

// Fprint writes its arguments, one behind the other.
func Fprint(w io.Writer, args ...any) (int, error) { return w.Write(appendAll(nil, args)) }

// Fprintln writes a line of its arguments.
func Fprintln(w io.Writer, args ...any) (int, error) { return w.Write(appendLine(nil, args)) }
