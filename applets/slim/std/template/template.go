// Package template is what cobra needs of Go's text/template to be compiled: it has templates
// for who gives it some, which nobody here does. Go's is 80 KB, with what it asks package
// reflect for.
package template

import (
	"errors"
	"io"
)

// errLeftOut is what who gives cobra a template is told.
var errLeftOut = errors.New("text/template is left out")

// FuncMap are the functions that a template may call.
type FuncMap map[string]any

// Template is a template that says nothing.
type Template struct{}

// New is a template without a text.
func New(string) *Template { return &Template{} }

// Must panics where there is an error.
func Must(t *Template, err error) *Template {
	if err != nil {
		panic(err)
	}
	return t
}

// Funcs takes functions, which nothing will call.
func (t *Template) Funcs(FuncMap) *Template { return t }

// Parse takes no text.
func (t *Template) Parse(string) (*Template, error) { return nil, errLeftOut }

// Execute writes nothing.
func (t *Template) Execute(io.Writer, any) error { return errLeftOut }
