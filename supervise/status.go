// Package supervise keeps service directories as their operator wants them.
// The rules are a table in machine.go; the files under supervise/ are the
// contract with everything made for runit. Which packages lie below this one,
// and what each is for, is said in README.md.
package supervise

import "runitbox/supervise/state"

// State is where a service is in its life.
type State = state.State

// Want is the standing order of a service.
type Want = state.Want

// Record is what supervise/status says of a service.
type Record = state.Record

// The states of a service.
const (
	Down   = state.Down
	Run    = state.Run
	Finish = state.Finish
)

// The standing orders; state says what each means.
const (
	WantUp   = state.WantUp
	WantDown = state.WantDown
	WantOnce = state.WantOnce
	WantExit = state.WantExit
)
