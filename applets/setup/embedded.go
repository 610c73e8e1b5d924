//go:build !slim

package setup

import _ "embed"

// servicesText is the collection of service directories.
//
//go:embed services.txt
var servicesText string
