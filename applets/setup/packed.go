//go:build packed

package setup

import "runitbox/applets/packed"

// text is one of the texts that make build has packed.
func text(name string) string { return packed.Text("setup/" + name) }
