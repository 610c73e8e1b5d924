//go:build !mips && !mipsle && !mips64 && !mips64le

package procenv

// The numbers of the resources that package syscall does not name.
const (
	rlimitMemLock = 8
	rlimitNProc   = 6
	rlimitRSS     = 5
)
