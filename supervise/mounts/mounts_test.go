package mounts

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const mountinfo = `21 26 0:19 / /sys rw,nosuid shared:7 - sysfs sysfs rw
26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
31 26 0:27 / /run/shared rw - 9p share rw,trans=virtio
33 26 0:28 / /data rw shared:9 master:2 - virtiofs data rw
40 26 0:41 / /var/lib/a\040b rw - fuse.sshfs host:/x rw
41 26 0:42 / /merged rw - overlay overlay rw,lowerdir=/a - ext4
42 26 0:43 / /tmp rw optional:1 more:2 - tmpfs tmpfs rw
50 26 254:1 /sub /bind rw - ext4 /dev/vda1 rw
51 26 0:43 / /odd rw - xfs other rw
`

func TestMountType(t *testing.T) {
	for _, tt := range []struct {
		name       string
		mount, dev uint64
		want       string
	}{
		{"by its number", 26, 0, "ext4"},
		{"another machine's", 31, 0, "9p"},
		{"the host's", 33, 0, "virtiofs"},
		{"with optional fields", 42, 0, "tmpfs"},
		{"with a name of two words", 40, 0, "fuse.sshfs"},
		{"an overlay whose options look like a type", 41, 0, "overlay"},
		{"a number that is not there", 99, 0, ""},
		{"by its device, mounted twice", 0, unix.Mkdev(254, 1), "ext4"},
		{"by its device, of two types", 0, unix.Mkdev(0, 43), ""},
		{"by a device that is not there", 0, unix.Mkdev(1, 2), ""},
		{"the number counts, not the device", 31, unix.Mkdev(254, 1), "9p"},
	} {
		if got := mountType(mountinfo, tt.mount, tt.dev); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What has the same type as a local file system for statfs(2) is told apart.
func TestIsLocal(t *testing.T) {
	for path, want := range map[string]bool{"/proc": false, "/dev/shm": true, "/does/not/exist": false} {
		if f, err := os.Stat(path); want && (err != nil || !f.IsDir()) {
			continue
		}
		if got := Read().IsLocal(path); got != want {
			t.Errorf("%s: %t, want %t", path, got, want)
		}
	}
}

func FuzzMountType(f *testing.F) {
	f.Add(mountinfo, uint64(26), uint64(0))
	f.Add("26 1 254:1 - ext4", uint64(0), unix.Mkdev(254, 1))
	f.Add(" - \n-\n26 - -", uint64(26), uint64(1))
	f.Fuzz(func(t *testing.T, info string, mount, dev uint64) {
		if typ := mountType(info, mount, dev); typ != "" && !strings.Contains(info, " - ") {
			t.Errorf("%q has type %q", info, typ)
		}
	})
}
