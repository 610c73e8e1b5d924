package proc

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// OOMFile is where the kernel counts how many processes of another's memory cgroup it
// has killed for lack of memory, "" where it does not. The process is a pid or "self".
func OOMFile(pid string) string {
	groups, err := sys.Slurp(unix.AT_FDCWD, "/proc/"+pid+"/cgroup", 4096)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, _ := strings.Cut(rest, ":")
		dir, file := "/sys/fs/cgroup", "/memory.events" // cgroup v2
		if names != "" {
			dir, file = "/sys/fs/cgroup/memory", "/memory.oom_control"
		}
		if names != "" && !strings.Contains(","+names+",", ",memory,") {
			continue
		}
		// In a container the mount may begin where the group is.
		for _, at := range []string{dir + path + file, dir + file} {
			if unix.Access(at, unix.R_OK) == nil {
				return at
			}
		}
	}
	return ""
}

// OOMKills is how many these are, by such a file.
func OOMKills(file string) int {
	if file == "" {
		return 0
	}
	b, _ := sys.Slurp(unix.AT_FDCWD, file, 4096)
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}
