package proc

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// ReadWorld says which world this process is in.
func ReadWorld() (w state.World, err error) {
	const bootID = "/proc/sys/kernel/random/boot_id"
	b, err := sys.Slurp(unix.AT_FDCWD, bootID, 64)
	if err != nil {
		if err = sys.Unless(sys.Hides, bootID, err); err != nil {
			return w, err
		}
	} else {
		w.Boot = state.Hash(strings.TrimSpace(string(b)))
	}
	if err := readClockShift(); err != nil {
		return w, err
	}
	w.Space, err = spaceOf()
	return w, err
}

// spaceOf names the pid namespace twice, in 16 bits each: by its inode and the start
// of its process 1, since inodes are given again; and by the inode of process 1 itself,
// which is there without /proc too. Of two runs that know different ones, as before and
// after /proc was mounted, nothing is compared that one of them does not know.
func spaceOf() (uint32, error) {
	half := func(s string) uint32 {
		n := state.Hash(s)
		return max((n>>16^n)&0xffff, 1)
	}
	const space = "/proc/self/ns/pid"
	var st unix.Stat_t
	var w uint32
	first, found, err := StatOf(1)
	if err != nil {
		return 0, err
	}
	if found {
		err = unix.Stat(space, &st)
		if err == nil {
			w = half(strconv.FormatUint(st.Ino, 10) + " " + strconv.FormatUint(first.Ticks, 10))
		} else if err = sys.Unless(sys.Hides, space, err); err != nil {
			return 0, err
		}
	}
	ino, err := processInode(1)
	if ino != 0 {
		w |= half(strconv.FormatUint(ino, 10)) << 16
	}
	return w, err
}

// processInode is the inode that pidfs (since Linux 6.9) gives to a process and to no
// other until the next boot; 0 where there is none.
func processInode(pid int) (uint64, error) {
	fd, err := openPidfd(pid)
	if fd < 0 {
		return 0, err
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || int64(fs.Type) != unix.PID_FS_MAGIC || unix.Fstat(fd, &st) != nil {
		return 0, nil
	}
	return st.Ino, nil
}

// TreeOf names a scanner's life, or that of the runsv of one directory, by its
// process: pid and start, or inode where /proc does not show it. A scanner keeps them
// over an upgrade. It is 0 where nothing tells one process from another with its pid.
func TreeOf(pid int) (uint32, error) {
	st, found, err := StatOf(pid)
	if err != nil {
		return 0, err
	}
	start := st.Ticks
	if !found {
		if start, err = processInode(pid); start == 0 || err != nil {
			return 0, err
		}
	}
	return state.Hash(strconv.Itoa(pid) + " " + strconv.FormatUint(start, 10)), nil
}
