package mounts

import (
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// Kept is a table that is read again only when something was mounted since: there may be
// hundreds of mounts.
type Kept struct {
	mu    sync.Mutex
	open  bool
	file  int // by which the kernel tells that
	table Table
}

// Now is the table as it is now.
func (k *Kept) Now() Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.open {
		fd, err := sys.Open(unix.AT_FDCWD, infoFile, unix.O_RDONLY, 0)
		if err != nil {
			return Read()
		}
		k.file, k.open = fd, true
		k.table = Read()
		return k.table
	}
	p := [1]unix.PollFd{{Fd: int32(k.file), Events: unix.POLLPRI}}
	if n, err := unix.Poll(p[:], 0); n != 0 || err != nil {
		k.table = Read()
	}
	return k.table
}
