//go:build !slim

package loghost

// Built says whether log services can share processes in this build.
const Built = true
