//go:build !slim && packed

package manual

import "runitbox/applets/packed"

// pages are the sources of all, which make build has packed.
func pages() []string { return packed.Below("manual") }
