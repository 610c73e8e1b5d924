//go:build !amd64 && !arm64

package supervise

import "testing"

type way struct {
	name string
	use  func()
}

// ways are how a child is made.
func ways(*testing.T) []way { return []way{{"fork", func() {}}} }
