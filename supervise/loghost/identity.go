package loghost

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
)

// sameStatus are the lines of /proc/PID/status that are the same for processes that may
// do the same.
var sameStatus = [...]string{"Umask:", "Uid:", "Gid:", "Groups:", "SigIgn:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "Cpus_allowed:", "Mems_allowed:"}

// confined are the lines of which all that is told is that there are restrictions, which
// may be others in each process: filters of system calls, and Landlock, which none but a
// privileged process has without the other.
var confined = [...]string{"Seccomp:", "NoNewPrivs:"}

// sameLinks are those below /proc/PID that lead to the same place. Of the first two a path
// says less than what is there.
var sameLinks = [...]string{"root", "exe", "ns/mnt", "ns/net", "ns/pid", "ns/pid_for_children", "ns/user", "ns/ipc", "ns/uts", "ns/cgroup", "ns/time"}

// sameFiles are those that tell the same.
var sameFiles = [...]string{"cgroup", "limits", "oom_score_adj", "timerslack_ns", "personality", "attr/current"}

var newline = []byte("\n")

// looker reads of processes what the kernel tells of them, one after the other, in the
// same memory.
type looker struct {
	sync.Mutex
	path, text []byte
	id         []byte
	files      uint64
}

var look looker

// Identity tells all of a process by which the kernel tells what it may do from what
// another may: two of which it is the same can do the same in each other's place. It is
// not known where anything of it cannot be read, or cannot be compared. How many
// descriptors a process may have open is told apart, since a host raises that.
func Identity(pid int) (id string, files uint64, known bool) {
	if ours, err := proc.IsOwn(); !ours || err != nil {
		return "", 0, false
	}
	l := &look
	l.Lock()
	defer l.Unlock()
	l.id, l.files = l.id[:0], 0
	known = l.status(pid) && l.links(pid) && l.told(pid) && l.scheduling(pid)
	return string(l.id), l.files, known
}

// User is the user whose rights a process has.
func User(pid int) (user uint32, known bool) {
	look.Lock()
	defer look.Unlock()
	text, err := look.read(pid, "status")
	if err != nil {
		return 0, false
	}
	_, ids, _ := bytes.Cut(text, []byte("\nUid:\t")) // the real one and the effective one
	_, ids, _ = bytes.Cut(ids, []byte("\t"))
	id, _, found := bytes.Cut(ids, []byte("\t"))
	n, err := strconv.ParseUint(string(id), 10, 32)
	return uint32(n), found && err == nil
}

// at is the path of something of a process.
func (l *looker) at(pid int, name string) string {
	l.path = append(strconv.AppendInt(append(l.path[:0], "/proc/"...), int64(pid), 10), '/')
	l.path = append(l.path, name...)
	return string(l.path)
}

// read reads a file whole.
func (l *looker) read(pid int, name string) ([]byte, error) {
	fd, err := sys.Open(unix.AT_FDCWD, l.at(pid, name), unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if l.text == nil {
		l.text = make([]byte, 8<<10)
	}
	for n := 0; n < len(l.text); {
		m, err := unix.Read(fd, l.text[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return l.text[:n], err
		}
		n += m
	}
	return nil, unix.EFBIG
}

func (l *looker) status(pid int) bool {
	text, err := l.read(pid, "status")
	if err != nil {
		return false
	}
	found := 0
	for _, line := range bytes.SplitAfter(text, newline) {
		name, _, _ := bytes.Cut(line, []byte("\t"))
		switch {
		case slices.Contains(confined[:], string(name)):
			if !bytes.HasSuffix(line, []byte("\t0\n")) {
				return false
			}
			found++
		case slices.Contains(sameStatus[:], string(name)):
			l.id = append(l.id, line...)
			found++
		}
	}
	return found == len(sameStatus)+len(confined)
}

func (l *looker) links(pid int) bool {
	for i, name := range sameLinks {
		size, err := unix.Readlink(l.at(pid, name), l.text)
		if err == unix.ENOENT && strings.HasPrefix(name, "ns/") { // a kernel without
			continue
		}
		if err != nil || size == len(l.text) {
			return false
		}
		if name == "ns/user" && !l.ours(name, size) { // there numbers mean other users
			return false
		}
		l.id = append(append(append(append(l.id, name...), '='), l.text[:size]...), '\n')
		if i > 1 {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(l.at(pid, name), &st) != nil {
			return false
		}
		l.number(uint64(st.Dev))
		l.number(st.Ino)
	}
	return true
}

// ours says whether the link that was read leads where this process's own does.
func (l *looker) ours(name string, size int) bool {
	own, err := os.Readlink("/proc/self/" + name)
	return err == nil && own == string(l.text[:size])
}

func (l *looker) number(n uint64) {
	l.id = append(strconv.AppendUint(l.id, n, 16), '\n')
}

func (l *looker) told(pid int) bool {
	for _, name := range sameFiles {
		text, err := l.read(pid, name)
		switch {
		case err == unix.ENOENT, err != nil && name == "attr/current": // a kernel without
			continue
		case err != nil:
			return false
		}
		l.id = append(append(l.id, name...), '=')
		for _, line := range bytes.SplitAfter(text, newline) {
			if rest, ok := bytes.CutPrefix(line, []byte("Max open files ")); ok && name == "limits" {
				soft, hard, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
				if l.files, err = strconv.ParseUint(string(soft), 10, 64); err != nil {
					return false
				}
				line = hard
			}
			l.id = append(l.id, line...)
		}
	}
	return true
}

// scheduling is the terminal, and what the process has of the machine's time.
func (l *looker) scheduling(pid int) bool {
	text, err := l.read(pid, "stat")
	at := bytes.LastIndexByte(text, ')')
	if err != nil || at < 0 {
		return false
	}
	fields := bytes.Fields(text[at+1:])
	for i, field := range fields {
		switch i {
		case 4, 15, 16, 37, 38: // terminal, priority, nice value, real-time priority, policy
			l.id = append(append(l.id, field...), ' ')
		}
	}
	const process = 1
	io, _, no := unix.RawSyscall(unix.SYS_IOPRIO_GET, process, uintptr(pid), 0)
	l.number(uint64(io))
	return len(fields) > 38 && no == 0
}
