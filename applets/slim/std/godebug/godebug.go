// Package godebug is what Go's own packages ask for the settings of GODEBUG: here all are as
// they are where nobody sets them. Those that the runtime has for itself stay: it does not ask
// this package. Go's is 70 KB, with the metrics that it keeps of each setting.
package godebug

// Setting is one of GODEBUG's.
type Setting string

// New is the setting of that name.
func New(name string) *Setting {
	s := Setting(name)
	return &s
}

// Name is its name.
func (s *Setting) Name() string { return string(*s) }

// Undocumented would say whether Go keeps it for itself.
func (s *Setting) Undocumented() bool { return false }

// String is it as it would stand in GODEBUG.
func (s *Setting) String() string { return s.Name() + "=" }

// Value is always that of a setting which is not set.
func (s *Setting) Value() string { return "" }

// IncNonDefault would count how often it made a difference.
func (s *Setting) IncNonDefault() {}
