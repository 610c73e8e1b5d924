package supervise

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sameInStatus are the lines of /proc/PID/status that are the same for processes that
// may do the same.
var sameInStatus = [...]string{
	"Umask:", "Uid:", "Gid:", "Groups:", "NoNewPrivs:", "SigIgn:",
	"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:",
	"Cpus_allowed:", "Mems_allowed:",
}

// sameLinks are those below /proc/PID that lead to the same place.
var sameLinks = [...]string{
	"root", "exe", "ns/mnt", "ns/net", "ns/pid", "ns/pid_for_children", "ns/user", "ns/ipc", "ns/uts", "ns/cgroup", "ns/time",
}

// sameFiles are those that tell the same.
var sameFiles = [...]string{"cgroup", "limits", "oom_score_adj", "timerslack_ns", "attr/current"}

// sameness tells all of a process by which the kernel tells what it may do from what
// another may: two with the same identity can do the same in each other's place. It is
// not known where anything of it cannot be read, or cannot be compared, as filters of
// system calls cannot. What a process may have open at once is told apart, since a host
// raises that.
func sameness(pid int) (id string, files uint64, known bool) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	if ours, err := ownProc(); !ours || err != nil {
		return "", 0, false
	}
	var b strings.Builder
	status, err := glance(dir + "status")
	if err != nil {
		return "", 0, false
	}
	filters := ""
	found := 0
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			filters = strings.TrimSpace(text)
		}
		for _, name := range sameInStatus {
			if strings.HasPrefix(line, name) {
				b.WriteString(line)
				found++
			}
		}
	}
	if filters != "0" || found != len(sameInStatus) {
		return "", 0, false
	}
	for _, name := range sameLinks {
		to, err := os.Readlink(dir + name)
		if err == unix.ENOENT { // a kernel without
			continue
		}
		if err != nil {
			if os.IsNotExist(err) && strings.HasPrefix(name, "ns/") {
				continue
			}
			return "", 0, false
		}
		b.WriteString(name + "=" + to + "\n")
	}
	for _, name := range []string{"root", "exe"} { // a path says less than what is there
		var st unix.Stat_t
		if unix.Stat(dir+name, &st) != nil {
			return "", 0, false
		}
		b.WriteString(strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(st.Ino, 16) + "\n")
	}
	for _, name := range sameFiles {
		text, err := glance(dir + name)
		switch {
		case err == nil && name == "limits":
			for line := range strings.Lines(string(text)) {
				if f := strings.Fields(line); len(f) == 6 && strings.HasPrefix(line, "Max open files ") {
					if files, err = strconv.ParseUint(f[3], 10, 64); err != nil {
						return "", 0, false
					}
					line = f[4]
				}
				b.WriteString(line)
			}
		case err == nil:
			b.WriteString(name + "=" + string(text) + "\n")
		case os.IsNotExist(err), name == "attr/current": // a kernel without
		default:
			return "", 0, false
		}
	}
	stat, err := glance(dir + "stat")
	if err != nil {
		return "", 0, false
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(f) < 39 {
		return "", 0, false
	}
	for _, i := range []int{4, 15, 16, 37, 38} { // terminal, priority, nice value, real-time priority, policy
		b.WriteString(f[i] + " ")
	}
	io, _, no := unix.RawSyscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
	if no != 0 {
		return "", 0, false
	}
	b.WriteString(strconv.Itoa(int(io)))
	return b.String(), files, true
}

// glance reads a file of /proc whole, if it is not large.
func glance(path string) ([]byte, error) {
	b, err := Dir{unix.AT_FDCWD}.slurp(path, 4096)
	if err == nil && len(b) == 4096 {
		err = unix.EFBIG
	}
	return b, err
}
