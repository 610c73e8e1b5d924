//go:build amd64 || arm64

package supervise

import "testing"

type way struct {
	name string
	use  func()
}

// ways are how a child is made: on a kernel of today, and an older one.
func ways(t *testing.T) []way {
	t.Cleanup(func() { noClone3.Store(false) })
	return []way{{"clone3", func() { noClone3.Store(false) }}, {"clone", func() { noClone3.Store(true) }}}
}
