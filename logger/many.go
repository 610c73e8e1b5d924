//go:build !slim

package logger

// many says whether there can be more than one engine in a process in this build.
const many = true
