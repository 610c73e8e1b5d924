package core

import (
	"sync"

	"runitbox/supervise/wire"
)

// outbox is what the core has to tell the scanner and what the link has not taken
// yet. There is no more in it than one message for each process whose end the
// scanner has told of, and two for each service.
type outbox struct {
	mu     sync.Mutex
	words  []wire.Message  // without descriptors, in their order
	keeps  map[string]bool // services, by key, whose descriptors the scanner has yet to get
	waits  bool            // somebody waits until the link takes more
	over   bool            // nobody is there any more to be told
	failed int             // how often it has not, one after the other
}

// report tells the scanner something that needs no descriptors. It never waits:
// what does not go at once goes later.
func (c *Core) report(m wire.Message) {
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	if c.outbox.over {
		return
	}
	c.outbox.words = append(c.outbox.words, m)
	c.post()
}

// stashLater has the services that these messages are of leave their descriptors
// with the scanner later: as these are then, since they are the services' to close.
func (c *Core) stashLater(ms []wire.Message, err error) {
	o := &c.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keeps == nil {
		o.keeps = map[string]bool{}
	}
	for _, m := range ms {
		o.keeps[m.Arg] = true
	}
	c.retry(err)
}

// post sends the words that there are, unless that is waited for. c.outbox is locked.
func (c *Core) post() {
	o := &c.outbox
	if o.waits || len(o.words) == 0 {
		return
	}
	sent, err := c.link.Send(o.words...)
	if o.words = o.words[sent:]; len(o.words) == 0 {
		o.words = nil
	}
	c.retry(err)
}

// retry sees to it that what err has kept from being sent is sent. c.outbox is
// locked.
func (c *Core) retry(err error) {
	o := &c.outbox
	switch {
	case err == nil:
		o.failed = 0
	case wire.IsOver(err):
		o.over, o.words, o.keeps = true, nil, nil
	case !o.waits:
		o.waits = true
		o.failed++
		try := o.failed
		go func() {
			c.link.Await(err, try)
			c.repost()
		}()
	}
}

// repost sends what has waited: words first, since they make room with the scanner.
func (c *Core) repost() {
	o := &c.outbox
	o.mu.Lock()
	o.waits = false
	c.post()
	var keeps map[string]bool
	if !o.waits {
		keeps, o.keeps = o.keeps, nil
	}
	o.mu.Unlock()
	for key := range keeps {
		if s := c.services.find(key); s != nil {
			s.post(event{kind: evStash})
		}
	}
}
