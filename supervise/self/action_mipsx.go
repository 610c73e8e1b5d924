//go:build mips || mipsle || mips64 || mips64le

package self

// What rt_sigaction(2) takes, and where the handler is in it.
const maskSize, handlerAt = 16, 1
