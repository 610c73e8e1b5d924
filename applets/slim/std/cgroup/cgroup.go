// Package cgroup is by what Go's runtime learns how many processors the cgroup leaves to it:
// here there is no cgroup, as with the setting containermaxprocs=0, by which the runtime would
// look at each start and forget the answer. Go's is 15 KB, with the reading of /proc.
package cgroup

// ScratchSize is how much memory OpenCPU needs.
const ScratchSize = 0

// CPU is the limit of a cgroup.
type CPU struct{}

// Close does nothing.
func (CPU) Close() {}

// none is the only error.
type none struct{}

func (none) Error() string { return "not in a cgroup" }

// OpenCPU finds no cgroup.
func OpenCPU([]byte) (CPU, error) { return CPU{}, none{} }

// ReadCPULimit is never asked.
func ReadCPULimit(CPU) (float64, bool, error) { return 0, false, none{} }
