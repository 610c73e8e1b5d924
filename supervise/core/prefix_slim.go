//go:build slim

package core

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/wire"
)

// A small build hands on no lines of services, and knows no log service of a whole tree:
// what stands here are the names by which the rest asks for them.

type prefixer struct{}

func (p *prefixer) end(*source) {}

type source struct {
	w    int
	pipe [2]uint64
}

func (c *Core) finishLines()                         {}
func (c *Core) hearOut(_ string, fd int)             { unix.Close(fd) }
func (s *service) hasSaid() bool                     { return false }
func (s *service) holdSaid(stash)                    {}
func (s *service) findSaid(stash, *priorState) error { return nil }
func (s *service) settleSaid() error                 { return nil }
func (s *service) closeSaid()                        {}
func (s *service) saysTo(uint64) bool                { return false }

type catchAll struct{ stderr atomic.Int32 }

const (
	toStdout = iota
	exitLast
)

func (c *Core) awaitCatch(*service) {}
func (c *Core) tryLast()            {}
func (s *service) openCatch() error { return nil }
func (s *service) leaveCatch()      {}
func (s *service) closeCatch()      {}
func (s *service) exitCatch(int)    {}
func (s *service) endCatch() bool   { return true }
func (u *unit) readsLast() bool     { return u.prefix != "" }
func exitOf(wire.Message) int       { return exitLast }
func (c *Core) sayAside(say func(fd int, level diag.Level, service string, err error)) func(diag.Level, string, error) {
	return func(level diag.Level, service string, err error) { say(2, level, service, err) }
}
