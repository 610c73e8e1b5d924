// Package mounts tells what is mounted where in this process's namespace: whether a path may
// be with a server, which may not answer, and whether inotify tells of all that changes there.
package mounts

import (
	"path/filepath"
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

// Table has the mounts of this process's namespace.
type Table struct {
	info   string          // of /proc/self/mountinfo
	remote map[uint64]bool // the numbers of those of servers; nil where there is none
}

// infoFile is where the kernel tells of them.
const infoFile = "/proc/self/mountinfo"

// Read reads the table.
func Read() (m Table) {
	m.info, _ = readOnce(infoFile, 4<<10)
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

// MayHang says whether the way to path, from at on, or where it ends, may be with a
// server. It never asks one: what the kernel does not know without is with one.
func (m Table) MayHang(at int, path string) bool {
	if m.remote == nil {
		return false
	}
	away, known := m.ask(at, path)
	return away || !known
}

// ask asks the kernel for what it has in memory.
func (m Table) ask(at int, path string) (away, known bool) {
	fd, err := unix.Openat2(at, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveCached})
	if err != nil {
		return false, err == unix.ENOENT
	}
	defer unix.Close(fd)
	var x unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &x)
	return m.remote[x.Mnt_id], err == nil && x.Mask&unix.STATX_MNT_ID != 0
}

// IsAway says whether the way to path, from the root on, or where it ends, may be with a
// server, also if it is yet to be made. For what the kernel does not have in memory it looks
// into a directory that is with none: that may take as long as a disk of this machine does.
func (m Table) IsAway(path string) bool {
	dir := filepath.Dir(path)
	switch {
	case m.remote == nil:
		return false
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return true
	case path != dir && m.IsAway(dir):
		return true
	}
	if away, known := m.ask(unix.AT_FDCWD, path); known {
		return away
	}
	at, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolveCached})
	if err != nil {
		return true
	}
	defer unix.Close(at)
	fd, err := unix.Openat2(at, filepath.Base(path), &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV})
	if err != nil { // EXDEV: something is mounted there
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK
}
