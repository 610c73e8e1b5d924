package proc

import "testing"

// A cgroup is found by where its hierarchy is mounted.
func TestUnderMount(t *testing.T) {
	const v1 = "31 23 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:13 - cgroup cgroup rw,memory\n"
	const hybrid = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n" + v1
	for _, tt := range []struct{ what, mounts, controller, path, want string }{
		{"version 2", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "", "/user.slice/a", "/sys/fs/cgroup/user.slice/a"},
		{"the first of all", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "", "/", "/sys/fs/cgroup"},
		{"beside version 1", hybrid, "", "/a", "/sys/fs/cgroup/unified/a"},
		{"version 1", hybrid, "memory", "/a", "/sys/fs/cgroup/memory/a"},
		{"no such controller", v1, "cpu", "/a", ""},
		{"no version 2", v1, "", "/a", ""},
		{"at another place", "30 23 0:26 / /cgroups rw - cgroup2 none rw\n", "", "/a", "/cgroups/a"},
		{"a container's part", "30 23 0:26 /docker/12 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "/docker/12", "/sys/fs/cgroup"},
		{"below a container's part", "30 23 0:26 /docker/12 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "/docker/12/sv.rest", "/sys/fs/cgroup/sv.rest"},
		{"not another with that beginning", "30 23 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "/docker/12", "/sys/fs/cgroup"},
		{"outside of what is mounted", "30 23 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n", "", "/", "/sys/fs/cgroup"},
		{"garbage", "30 23\n - cgroup2\n\n", "", "/", ""},
	} {
		if got := underMount(tt.mounts, tt.controller, tt.path); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}
