package procenv

import (
	"strconv"
	"syscall"
)

// Resource is a thing that the kernel limits.
type Resource int

// The resources.
const (
	AS      Resource = syscall.RLIMIT_AS
	Core    Resource = syscall.RLIMIT_CORE
	CPU     Resource = syscall.RLIMIT_CPU
	Data    Resource = syscall.RLIMIT_DATA
	FSize   Resource = syscall.RLIMIT_FSIZE
	MemLock Resource = rlimitMemLock
	NoFile  Resource = syscall.RLIMIT_NOFILE
	NProc   Resource = rlimitNProc
	RSS     Resource = rlimitRSS
	Stack   Resource = syscall.RLIMIT_STACK
)

// order is in which order limits are set.
var order = [...]Resource{Data, Stack, MemLock, AS, NoFile, NProc, FSize, Core, RSS, CPU}

// Limit is a soft limit to be set.
type Limit struct {
	Set   bool
	Value uint64
}

// Hard stands for the hard limit, which is never changed.
const Hard = 1<<64 - 1

// Limits are the limits to be set, by resource.
type Limits [16]Limit

// Set asks for a limit on each of the resources.
func (l *Limits) Set(value uint64, resources ...Resource) {
	for _, r := range resources {
		l[r] = Limit{true, value}
	}
}

// ParseLimit reads the number of a limit: nothing but digits, and none is 0.
func ParseLimit(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// setting is a limit as the kernel takes it.
type setting struct {
	resource Resource
	before   syscall.Rlimit
	after    syscall.Rlimit
}

// settings are the limits to be put in force. A value beyond the hard limit is
// the hard limit; one that is negative as the kernel's loff_t is nothing, as it
// is to runit.
func (l *Limits) settings() ([]setting, error) {
	var all []setting
	for _, r := range order {
		given, put := givenLimit(r)
		asked := l[r].Set && (l[r].Value < 1<<63 || l[r].Value == Hard)
		if !asked && !put {
			continue
		}
		s := setting{resource: r, after: given}
		if err := syscall.Getrlimit(int(r), &s.before); err != nil {
			return nil, failed("getrlimit()", err)
		}
		if asked {
			s.after = syscall.Rlimit{Cur: min(l[r].Value, s.before.Max), Max: s.before.Max}
		}
		all = append(all, s)
	}
	return all, nil
}
