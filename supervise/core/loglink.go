package core

import (
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// A service whose log is a link to the log directory of another service of the tree writes
// into the pipe to that log service. Whose pipe it is lends a descriptor of it.

// loans are the pipes that are lent, or shall be, by the keys of the services whose they
// are. Trees without such links have none.
type loans struct {
	mu sync.Mutex
	of map[string]*loan
}

// loan is one such pipe.
type loan struct {
	fd int             // -1: there is none at present
	by map[string]bool // names of the services that wait for it
}

// ask is the loan of the service of that key, and whether nobody has asked for it before.
func (l *loans) ask(key string) (x *loan, isNew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]*loan{}
	}
	if l.of[key] == nil {
		l.of[key] = &loan{fd: -1, by: map[string]bool{}}
		return l.of[key], true
	}
	return l.of[key], false
}

// expected says whether somebody has asked for the pipe of the service of that key.
func (l *loans) expected(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[key] != nil
}

// waits says whether the service of that name, which has asked for it, has to wait for the
// pipe, and has it told when it need not any more.
func (l *loans) waits(x *loan, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.fd < 0 {
		x.by[name] = true
	}
	return x.fd < 0
}

// borrow is a descriptor of the pipe; -1 where there is none.
func (l *loans) borrow(x *loan) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.fd < 0 {
		return -1
	}
	fd, err := unix.FcntlInt(uintptr(x.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1
	}
	return fd
}

// lend takes the pipe of the service of that key, or, where fd is -1, takes it back. It
// gives the names of those that have waited for it.
func (l *loans) lend(key string, fd int) (who []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.of[key]
	if x == nil {
		return nil
	}
	if x.fd >= 0 {
		unix.Close(x.fd)
		x.fd = -1
	}
	if fd < 0 {
		return nil
	}
	var err error
	if x.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		x.fd = -1
		return nil
	}
	for name := range x.by {
		who = append(who, name)
	}
	clear(x.by)
	return who
}

// logOwner is the key of the service of the tree whose log directory ./log leads to; "" where
// that is none but the service's own.
func (s *service) logOwner() string {
	if s.core.link == nil || s.names.Known && !s.names.LogLink {
		return ""
	}
	log, err := s.dir.Stat("log")
	if err != nil {
		return ""
	}
	owner, err1 := s.dir.Stat("log/..")
	same, err2 := s.dir.Stat("log/../log")
	if err1 != nil || err2 != nil || same.Dev != log.Dev || same.Ino != log.Ino {
		return ""
	}
	key := keyOf(uint64(owner.Dev), owner.Ino)
	if key == s.key {
		return ""
	}
	if s.core.services.find(key) != nil {
		return key
	}
	entries, _ := sys.ReadDir(s.core.dir) // it may come yet
	for _, e := range entries {
		var st unix.Stat_t
		if e.Name()[0] != '.' && unix.Stat(s.core.dir+"/"+e.Name(), &st) == nil && st.Dev == owner.Dev && st.Ino == owner.Ino {
			return key
		}
	}
	return ""
}

// keyOf is by what the scanner calls a service directory.
func keyOf(dev, ino uint64) string {
	return strconv.FormatUint(dev, 16) + ":" + strconv.FormatUint(ino, 16)
}

// borrowLog has the service write to another's log service, if its ./log says so.
func (s *service) borrowLog() bool {
	key := s.logOwner()
	if key == "" {
		return false
	}
	x, isNew := s.core.loans.ask(key)
	s.loan = x
	if owner := s.core.services.find(key); isNew && owner != nil {
		owner.post(event{kind: evLend, who: &owner.main})
	}
	return true
}

// lendLog has others write to the service's log service, who have asked for it.
func (s *service) lendLog() {
	if s.lends && s.piped && s.log != nil {
		s.core.wakeNeeding(s.core.loans.lend(s.key, s.pipe[1]))
	}
}
