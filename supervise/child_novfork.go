//go:build (!amd64 && !arm64) || forkpath

package supervise

import "syscall"

// hasVfork says that there is no vfork, which takes assembly.
const hasVfork = false

func (*hand) vfork([]call, way) outcome { panic("no vfork") }

func (*hand) vforkSilent([]call, way) outcome { panic("no vfork") }

func (*hand) vforkBriefly([]call) syscall.Errno { panic("no vfork") }
