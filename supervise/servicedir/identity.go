package servicedir

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// FileID says which file a path leads to, beyond the reuse of its number.
type FileID struct {
	Dev, Ino uint64
	Born     int64 // when it was made, in nanoseconds; 0 where the file system does not tell
	Mode     uint32
	MTime    int64  // in nanoseconds
	Mount    uint64 // the number of its mount; 0 where the kernel does not tell (before 5.8)
}

// IsDir says whether it is a directory.
func (f FileID) IsDir() bool { return f.Mode&unix.S_IFMT == unix.S_IFDIR }

// Key is by what the scanner and the core know a service directory: device and inode.
func (f FileID) Key() string {
	return strconv.FormatUint(f.Dev, 16) + ":" + strconv.FormatUint(f.Ino, 16)
}

// Identify is statx(2), or fstatat(2) where that is not to be had.
func Identify(at int, path string, flags int) (f FileID, err error) {
	var x unix.Statx_t
	switch err = unix.Statx(at, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID, &x); err {
	case nil:
		f = FileID{Dev: unix.Mkdev(x.Dev_major, x.Dev_minor), Ino: x.Ino, Mode: uint32(x.Mode), MTime: x.Mtime.Sec*1e9 + int64(x.Mtime.Nsec)}
		if x.Mask&unix.STATX_BTIME != 0 {
			f.Born = x.Btime.Sec*1e9 + int64(x.Btime.Nsec)
		}
		if x.Mask&unix.STATX_MNT_ID != 0 {
			f.Mount = x.Mnt_id
		}
		return f, nil
	case unix.ENOSYS, unix.EPERM, unix.EINVAL:
	default:
		return f, err
	}
	var st unix.Stat_t
	err = unix.Fstatat(at, path, &st, flags)
	return FileID{Dev: uint64(st.Dev), Ino: st.Ino, Mode: st.Mode, MTime: st.Mtim.Nano()}, err
}
