package procenv

import (
	"syscall"
	"unsafe"
)

// Caps is a set of capabilities, a bit for each.
type Caps uint64

// capNames are the kernel's names of the capabilities, by number.
var capNames = [...]string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill",
	"setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service",
	"net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
	"sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
	"sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time",
	"sys_tty_config", "mknod", "lease", "audit_write", "audit_control",
	"setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm",
	"block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
}

// ParseCaps reads a list as "net_bind_service,CAP_KILL"; the empty list is the
// empty set.
func ParseCaps(list string) (Caps, error) {
	var set Caps
	if list == "" {
		return set, nil
	}
	for name := range split(list, ',') {
		short := lower(name)
		if len(short) > len("cap_") && short[:len("cap_")] == "cap_" {
			short = short[len("cap_"):]
		}
		known := false
		for n, have := range capNames[:] {
			if have == short {
				set |= 1 << n
				known = true
			}
		}
		if !known {
			return 0, &Unknown{"unknown capability", name}
		}
	}
	return set, nil
}

// lower makes capital letters small.
func lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

const (
	prSetKeepcaps   = syscall.PR_SET_KEEPCAPS
	prCapbsetRead   = syscall.PR_CAPBSET_READ
	prCapbsetDrop   = syscall.PR_CAPBSET_DROP
	prSetNoNewPrivs = 38
	prCapAmbient    = 47

	capAmbientRaise = 2

	capVersion3 = 0x20080522
)

func prctl(option, arg2, arg3 uintptr) error {
	_, _, no := syscall.RawSyscall6(syscall.SYS_PRCTL, option, arg2, arg3, 0, 0, 0)
	return errno(no)
}

// boundCaps takes all but the kept capabilities out of the bounding set, so
// that no program file brings one back, and sees to it that the kept ones
// outlive the change of the uid. Both need privileges that the user lacks.
func (c *Change) boundCaps() error {
	if c.Caps == nil {
		return nil
	}
	for n := range 64 {
		has, _, no := syscall.RawSyscall6(syscall.SYS_PRCTL, prCapbsetRead, uintptr(n), 0, 0, 0, 0)
		if no != 0 {
			break // the kernel knows no more of them
		}
		if has == 1 && *c.Caps&(1<<n) == 0 {
			if err := prctl(prCapbsetDrop, uintptr(n), 0); err != nil {
				return failed("drop capability "+capName(n), err)
			}
		}
	}
	return failed("keep capabilities", prctl(prSetKeepcaps, 1, 0))
}

// keepCaps makes the kept capabilities all that there are, and ambient, which
// is how they outlive exec.
func (c *Change) keepCaps() error {
	if c.Caps == nil {
		return nil
	}
	lo, hi := uint32(*c.Caps), uint32(*c.Caps>>32)
	if err := capset(&capData{{lo, lo, lo}, {hi, hi, hi}}); err != nil {
		return failed("set capabilities", err)
	}
	for n := range 64 {
		if *c.Caps&(1<<n) != 0 {
			if err := prctl(prCapAmbient, capAmbientRaise, uintptr(n)); err != nil {
				return failed("keep capability "+capName(n), err)
			}
		}
	}
	return nil
}

// dropCaps takes away what a new uid has left: the kernel clears the effective
// and permitted capabilities of a thread that was root, but no inheritable
// ones, nothing where the securebits say so, and nothing of a thread that was
// another user, whose ambient ones would even outlive exec. They go with the
// permitted and the inheritable ones.
func dropCaps() error {
	var have, none capData
	err := capget(&have)
	if err == nil && have != none {
		err = capset(&none)
	}
	return failed("drop capabilities", err)
}

// capData is the capabilities of a thread, as the kernel takes them: first
// those of numbers below 32.
type capData [2]struct{ effective, permitted, inheritable uint32 }

type capHeader struct {
	version uint32
	pid     int32 // 0 is the calling thread
}

func capget(data *capData) error {
	header := capHeader{version: capVersion3}
	_, _, no := syscall.RawSyscall(syscall.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(data)), 0)
	return errno(no)
}

func capset(data *capData) error {
	header := capHeader{version: capVersion3}
	_, _, no := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(data)), 0)
	return errno(no)
}

func capName(n int) string {
	if n < len(capNames) {
		return capNames[n]
	}
	return itoa(n)
}
