//go:build slim

package manual

import "embed"

// pages are none in the executable that leaves out what it can.
var pages embed.FS
