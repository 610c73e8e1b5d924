//go:build slim

package policy

// CatchAll is the name of the log service of a whole tree. A small build has none: no service
// has this name.
const CatchAll = ""
