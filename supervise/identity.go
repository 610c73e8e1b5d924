package supervise

import "golang.org/x/sys/unix"

// fileID says which file a path leads to, beyond the reuse of its number.
type fileID struct {
	dev, ino uint64
	born     int64 // when it was made, in nanoseconds; 0 where the file system does not tell
	mode     uint32
	mtime    int64  // in nanoseconds
	mount    uint64 // the number of its mount; 0 where the kernel does not tell (before 5.8)
}

// isDir says whether it is a directory.
func (f fileID) isDir() bool { return f.mode&unix.S_IFMT == unix.S_IFDIR }

// identify is statx(2), or fstatat(2) where that is not to be had.
func identify(at int, path string, flags int) (f fileID, err error) {
	var x unix.Statx_t
	switch err = unix.Statx(at, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &x); err {
	case nil:
		f = fileID{dev: unix.Mkdev(x.Dev_major, x.Dev_minor), ino: x.Ino, mode: uint32(x.Mode), mtime: x.Mtime.Sec*1e9 + int64(x.Mtime.Nsec)}
		if x.Mask&unix.STATX_BTIME != 0 {
			f.born = x.Btime.Sec*1e9 + int64(x.Btime.Nsec)
		}
		if x.Mask&unix.STATX_MNT_ID != 0 {
			f.mount = x.Mnt_id
		}
		return f, nil
	case unix.ENOSYS, unix.EPERM, unix.EINVAL:
	default:
		return f, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(at, path, &st, flags)
	return fileID{dev: uint64(st.Dev), ino: st.Ino, mode: st.Mode, mtime: st.Mtim.Nano()}, err
}
