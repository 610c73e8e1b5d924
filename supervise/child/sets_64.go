//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package child

// What rt_sigprocmask(2) and rt_sigaction(2) take, and where the handler is in what
// the latter gives.
const sigSetMask, maskSize, handlerAt = 2, 8, 0

// signalSet is a set of the first signals as the kernel's sets begin.
func signalSet(set uintptr) uint64 { return uint64(set) }

// offset is a place in a file as pwrite64(2) takes it.
func offset(at uintptr) []uintptr { return []uintptr{at} }
