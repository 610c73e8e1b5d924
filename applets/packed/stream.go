//go:build packed

package packed

import _ "embed"

// stream is made by make build, which says where it is.
//
//go:embed stream.z
var stream string
