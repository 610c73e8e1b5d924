package core

// launch makes the first processes of a service here and now, and looks at what
// has happened to it since it was opened.
func (c *Core) launch(s *service, t *worker) {
	defer s.crash()
	if c.doInline(s, t, s.begin) {
		s.work(t)
	}
}

// doInline has something done to a service, and makes the processes that it asks for
// here and now: for another worker to make them it would take a thread more, and
// that woken. It says whether the service still is the caller's. Without a worker the
// pool makes them.
func (c *Core) doInline(s *service, t *worker, do func()) bool {
	if t == nil || c.start != nil {
		do()
		return true
	}
	s.orders, s.inline = t.orders[:0], true
	do()
	for i := 0; i < len(s.orders); i++ { // handling one may bring another
		o, next := s.orders[i], i+1 // from here on the service may be another's
		t.whenSlow(func() { c.handOver(s, next) })
		ev := c.make(o, t)
		if !t.done() {
			s.post(ev)
			c.tell(ev)
			t.orders = nil
			return false
		}
		s.handle(ev)
		c.tell(ev)
	}
	clear(s.orders)
	t.orders, s.orders, s.inline = s.orders, nil, false
	return true
}

// handOver gives a service to another owner, since a process of
// it takes its time to be made: others of it, and commands, do not wait for that. The
// orders from next on are not begun.
func (c *Core) handOver(s *service, next int) {
	c.pool.runFirst(func(t *worker) {
		defer s.crash()
		rest := s.orders[next:]
		s.orders, s.inline = nil, false
		for _, o := range rest {
			c.spawn(o)
		}
		s.showStarting()
		s.work(t)
	})
}
