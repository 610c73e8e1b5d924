//go:build !slim

package policy

// CatchAll is the name of the log service of a whole tree, in the directory of its services.
const CatchAll = ".log"
