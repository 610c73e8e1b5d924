// Package flag is what pflag needs of Go's package of that name to be compiled: it can take
// over the options that others define there, of which there are none here. Go's is 30 KB, with
// its sort and what it asks package reflect for, and does some work at each start.
package flag

import "time"

// Value is the value of an option.
type Value interface {
	String() string
	Set(string) error
}

// Flag is an option.
type Flag struct {
	Name, Usage string
	Value       Value
	DefValue    string
}

// FlagSet is a set of options that is always empty.
type FlagSet struct{}

// VisitAll has none to visit.
func (*FlagSet) VisitAll(func(*Flag)) {}

// Parse finds no options.
func (*FlagSet) Parse([]string) error { return nil }

// Var and those below would define options.
func (*FlagSet) Var(Value, string, string) {}

// StringVar does nothing.
func (*FlagSet) StringVar(*string, string, string, string) {}

// IntVar does nothing.
func (*FlagSet) IntVar(*int, string, int, string) {}

// Int64Var does nothing.
func (*FlagSet) Int64Var(*int64, string, int64, string) {}

// UintVar does nothing.
func (*FlagSet) UintVar(*uint, string, uint, string) {}

// Uint64Var does nothing.
func (*FlagSet) Uint64Var(*uint64, string, uint64, string) {}

// Float64Var does nothing.
func (*FlagSet) Float64Var(*float64, string, float64, string) {}

// DurationVar does nothing.
func (*FlagSet) DurationVar(*time.Duration, string, time.Duration, string) {}
