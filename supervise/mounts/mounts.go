package mounts

import (
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
	"runitbox/supervise/sys"
)

// localTypes are the types of file systems that change through this kernel only,
// so that inotify tells of every change. An overlay is none of them: what is
// changed in its layers from below is not told.
const localTypes = " ext2 ext3 ext4 xfs btrfs bcachefs f2fs jfs nilfs2 reiserfs zfs tmpfs ramfs squashfs erofs cramfs iso9660 vfat "

// IsLocal says whether path is on such a file system. A file system of another
// machine may tell the type number of what is below it; the mount tells its own.
func (m Table) IsLocal(path string) bool {
	f, err := servicedir.Identify(unix.AT_FDCWD, path, 0)
	if err != nil {
		return false
	}
	typ := mountType(m.info, f.Mount, f.Dev)
	return typ != "" && strings.Contains(localTypes, " "+typ+" ")
}

// readOnce reads a file of /proc into one piece of memory, which has room for that
// much to begin with. What grows step by step takes memory of each size for good.
func readOnce(path string, room int) (string, error) {
	fd, err := sys.Open(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, room)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", err
		case n == 0:
			return unsafe.String(unsafe.SliceData(b), len(b)), nil
		}
		if b = b[:len(b)+n]; len(b) == cap(b) {
			b = append(make([]byte, 0, 2*cap(b)), b...)
		}
	}
}

// mountType finds in the text of /proc/self/mountinfo of what type a mount is: the
// one with that number or, if it is 0, those of that device; "" where it is not
// there or they are not all of one type.
func mountType(info string, mount, dev uint64) (typ string) {
	device := strconv.Itoa(int(unix.Major(dev))) + ":" + strconv.Itoa(int(unix.Minor(dev)))
	for line := range strings.Lines(info) {
		id, of, t, ok := mountOf(line)
		switch {
		case !ok:
		case mount != 0 && id == mount:
			return t
		case mount != 0 || of != device:
		case typ != "" && typ != t:
			return ""
		default:
			typ = t
		}
	}
	return typ
}

// mountOf reads a line of mountinfo: the number of a mount, its device and its type.
func mountOf(line string) (id uint64, device, typ string, ok bool) {
	// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
	where, what, ok := strings.Cut(line, " - ")
	number, where, _ := strings.Cut(where, " ")
	_, where, _ = strings.Cut(where, " ")
	device, _, _ = strings.Cut(where, " ")
	typ, _, _ = strings.Cut(what, " ")
	id, err := strconv.ParseUint(number, 10, 64)
	return id, device, typ, ok && device != "" && typ != "" && err == nil
}
