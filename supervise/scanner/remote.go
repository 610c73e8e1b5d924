package scanner

import (
	"strings"

	"golang.org/x/sys/unix"
)

// remoteTypes are the types of file systems whose answers come from a server, which
// with FUSE is a process. What follows a dot says whose.
const remoteTypes = " fuse fuseblk nfs nfs4 cifs smb3 9p virtiofs ceph afs lustre orangefs ocfs2 gfs2 coda vboxsf "

// isRemote says whether a type of file system is one of these.
func isRemote(typ string) bool {
	typ, _, _ = strings.Cut(typ, ".")
	return strings.Contains(remoteTypes, " "+typ+" ")
}

// mounts are those of this process's namespace.
type mounts struct {
	info   string          // of /proc/self/mountinfo
	remote map[uint64]bool // the numbers of those of servers; nil where there is none
}

func readMounts() (m mounts) {
	m.info, _ = readOnce("/proc/self/mountinfo", 4<<10)
	for line := range strings.Lines(m.info) {
		if id, _, typ, ok := mountOf(line); ok && isRemote(typ) {
			if m.remote == nil {
				m.remote = map[uint64]bool{}
			}
			m.remote[id] = true
		}
	}
	return m
}

// resolveCached is RESOLVE_CACHED of openat2(2): what would have to wait fails
// (Linux 5.12).
const resolveCached = 0x20

// mayHang says whether the way to path, from at on, or where it ends, may be with a
// server. It never asks one: what the kernel does not know without is with one.
func (m mounts) mayHang(at int, path string) bool {
	if m.remote == nil {
		return false
	}
	fd, err := unix.Openat2(at, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveCached})
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	var x unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &x)
	return err != nil || x.Mask&unix.STATX_MNT_ID == 0 || m.remote[x.Mnt_id]
}
