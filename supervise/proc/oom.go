package proc

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// OOMFile is where the kernel counts how many processes of this one's memory cgroup, and
// of those below it, it has killed for lack of memory; "" where it does not.
func OOMFile() string {
	for _, version := range []struct{ controller, place, file string }{
		{"memory", "/sys/fs/cgroup/memory", "/memory.oom_control"}, {"", "/sys/fs/cgroup", "/memory.events"},
	} {
		path, ok := groupPath(version.controller)
		if !ok {
			continue
		}
		file := version.place + path + version.file // as a rule; else it is looked for
		if unix.Access(file, unix.R_OK) != nil {
			file = mountedGroup(version.controller, path) + version.file
		}
		if unix.Access(file, unix.R_OK) == nil {
			return file
		}
	}
	return ""
}

// GroupDir is the directory of this process's cgroup (version 2), "" where there is none.
func GroupDir() string {
	path, ok := groupPath("")
	if !ok {
		return ""
	}
	return mountedGroup("", path)
}

// groupPath is the path of this process's cgroup in the hierarchy of version 1 that has the
// controller, or, where that is "", of version 2.
func groupPath(controller string) (path string, ok bool) {
	groups, _ := sys.Slurp(unix.AT_FDCWD, "/proc/self/cgroup", 4096)
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if names, path, ok := strings.Cut(rest, ":"); ok && isOneOf(controller, names) {
			return path, true
		}
	}
	return "", false
}

// mountedGroup is where the cgroup at path is.
func mountedGroup(controller, path string) string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return underMount(string(mounts), controller, path)
}

// underMount is the directory of the cgroup at path of the hierarchy that has the
// controller, as the lines of mountinfo(5) tell. In a container the mount may begin where
// the group is.
func underMount(mounts, controller, path string) (dir string) {
	for line := range strings.Lines(mounts) {
		left, right, _ := strings.Cut(line, " - ")
		at, kind := strings.Fields(left), strings.Fields(right)
		if len(at) < 5 || len(kind) < 3 {
			continue
		}
		v1 := kind[0] == "cgroup" && controller != "" && isOneOf(controller, kind[2])
		if v2 := kind[0] == "cgroup2" && controller == ""; !v1 && !v2 {
			continue
		}
		below, ok := strings.CutPrefix(path, strings.TrimSuffix(at[3], "/"))
		if ok && (below == "" || below[0] == '/') {
			return strings.TrimSuffix(at[4], "/") + strings.TrimSuffix(below, "/")
		}
		dir = at[4]
	}
	return dir
}

// isOneOf says whether a name is in a list that is parted by commas.
func isOneOf(name, list string) bool { return strings.Contains(","+list+",", ","+name+",") }

// OOMKills is how many these are, by such a file; known is false where it is not there.
func OOMKills(file string) (n int, known bool) {
	if file == "" {
		return 0, false
	}
	b, _ := sys.Slurp(unix.AT_FDCWD, file, 4096)
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ = strconv.Atoi(strings.TrimSpace(count))
			return n, true
		}
	}
	return 0, false
}
