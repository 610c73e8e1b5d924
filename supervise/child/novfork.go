//go:build (!amd64 && !arm64) || forkpath

package child

import "syscall"

// hasVfork says that there is no vfork, which takes assembly.
const hasVfork = false

func (*Slot) vfork([]call, way) outcome { panic("no vfork") }

func (*Slot) vforkSilent([]call, way) outcome { panic("no vfork") }

func (*Slot) vforkBriefly([]call) syscall.Errno { panic("no vfork") }
