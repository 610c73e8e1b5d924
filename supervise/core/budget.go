package core

// take reserves descriptors for a service of a tree, if there are as many.
func (c *Core) take(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return true
	}
	if c.room < n {
		return false
	}
	c.room -= n
	return true
}

// give takes back what take has reserved.
func (c *Core) give(n int) {
	c.mu.Lock()
	c.room += n
	c.mu.Unlock()
}
