//go:build mips || mipsle

package child

import "runtime"

// What rt_sigprocmask(2) and rt_sigaction(2) take, and where the handler is in what
// the latter gives.
const sigSetMask, maskSize, handlerAt = 3, 16, 1

// signalSet is a set of the first signals as the kernel's sets begin.
func signalSet(set uintptr) uint32 { return uint32(set) }

// offset is a place in a file as pwrite64(2) takes it: two words in the order of the
// machine's bytes, the first of them an even argument.
func offset(at uintptr) []uintptr {
	if runtime.GOARCH == "mips" {
		return []uintptr{0, 0, at}
	}
	return []uintptr{0, at, 0}
}
