//go:build !slim

package manual

import "embed"

// pages are the sources.
//
//go:embed *.8
var pages embed.FS
