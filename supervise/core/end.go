package core

import (
	"errors"
	"os"
	"runtime/debug"
	"time"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/diag"
)

// quit ends the process without touching a service. What is on its way is
// brought to its end; beyond that, what a kill leaves is good enough.
func (c *Core) quit() {
	c.procs.leave()
	c.services.post(event{kind: evDetach})
	for deadline := time.Now().Add(detachTime); time.Now().Before(deadline); {
		n := c.services.count() + c.procs.making() // no process is half made
		if n == 0 {
			break
		}
		select {
		case <-c.changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	c.voice.Finish(100 * time.Millisecond)
	os.Exit(0)
}

// detachTime is how long the end of the process waits for services that are held up.
const detachTime = 300 * time.Millisecond

// stopAll has every service exit. At the deadline what still runs is killed,
// services first, then log services, so that these can read what is left.
func (c *Core) stopAll(limit time.Duration) {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	go c.exitAll(limit - limit/8)
	c.notice()
	time.Sleep(limit - limit/8)
	c.killLate(false)
	time.Sleep(limit / 8)
	c.killLate(true)
}

// killLate says which processes of services, or of log services, have not ended in time,
// and kills them.
func (c *Core) killLate(log bool) { c.procs.kill(log, c.tellLate) }

func (c *Core) tellLate(p lateProcess) {
	what := p.unit.prefix + "run"
	if p.role == isFinish {
		what = p.unit.prefix + "finish"
	} else if p.role >= isHook {
		what = "a control script"
	}
	c.Say(diag.Warning, p.unit.svc.name, errors.New(what+" has not ended in time: killed."))
}

// dropAll has every service exit, once: the scanner says it of each.
func (c *Core) dropAll(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dropping {
		c.dropping = true
		go c.exitAll(limit)
	}
}

func (c *Core) isOrphaned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orphaned
}

func (c *Core) notice() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// crash says what a service's goroutine panicked about, and ends the process:
// the next core takes over.
func (s *service) crash() {
	if r := recover(); r != nil {
		s.fatal(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		s.core.voice.Finish(diag.FinishTime)
		os.Exit(2)
	}
}
