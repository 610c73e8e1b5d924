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

// What the kernel tells of a process below /proc/PID, and is the same for processes that
// may do the same.

// sameStatus are lines of status, and confined those of which all that is told is that
// there are restrictions, which may be others in each process: filters of system calls, and
// Landlock, which none but a privileged process has without the other.
const (
	sameStatus = " Umask Uid Gid Groups SigIgn CapInh CapPrm CapEff CapBnd CapAmb Cpus_allowed Mems_allowed "
	confined   = " Seccomp NoNewPrivs "
)

// sameLinks are links that lead to the same place. Of the first two a path says less than
// what is there.
var sameLinks = [...]string{"root", "exe", "ns/mnt", "ns/net", "ns/pid", "ns/pid_for_children", "ns/user", "ns/ipc", "ns/uts", "ns/cgroup", "ns/time"}

// sameFiles are files that tell the same.
var sameFiles = [...]string{"cgroup", "limits", "oom_score_adj", timerSlack, "personality"}

const timerSlack = "timerslack_ns"

// looker looks at processes, one after the other, in the same memory.
type looker struct {
	sync.Mutex
	pid, dir int
	text     [8 << 10]byte
	id       []byte
	last     string // of those before
	files    uint64
	own      string // what this process may do to files
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
	defer l.done()
	if !l.at(pid) || !l.may() || !l.told(sameFiles[:]...) || !l.scheduling() {
		return "", 0, false
	}
	if string(l.id) != l.last { // as a rule all are the same
		l.last = string(l.id)
	}
	return l.last, l.files, true
}

// may looks at what the process may do to files.
func (l *looker) may() bool {
	return l.status() && l.links() && l.told("attr/current")
}

// IsOurs says whether a process of that identity may do to files what this process may, and
// no more: what this one does in its place it could do itself.
func IsOurs(id string) bool {
	l := &look
	known := l.at(os.Getpid())
	defer l.done()
	if l.own == "" || !strings.HasPrefix(id, l.own) { // it may have changed, as what processors it may use
		l.own = ""
		if known && l.may() {
			l.own = string(l.id)
		}
	}
	return l.own != "" && strings.HasPrefix(id, l.own)
}

// Owner is whom a log belongs to.
type Owner struct {
	UID, GID uint32
	Groups   []uint32
}

// Identity is that of a process of root's when it has become the owner, with the
// capabilities gone that go then.
func (o Owner) Identity(id string) string {
	var b strings.Builder
	for line := range strings.Lines(id) {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "=Uid":
			line = name + ":" + strings.Repeat("\t"+decimal(o.UID), 4) + "\n"
		case "=Gid":
			line = name + ":" + strings.Repeat("\t"+decimal(o.GID), 4) + "\n"
		case "=Groups":
			ids := slices.Clone(o.Groups)
			slices.Sort(ids)
			line = name + ":\t"
			for i, id := range ids {
				if i > 0 {
					line += " "
				}
				line += decimal(id)
			}
			line += " \n"
		case "=CapInh", "=CapPrm", "=CapEff", "=CapAmb":
			if o.UID != 0 {
				line = name + ":\t0000000000000000\n"
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func decimal(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// User is the user whose rights a process has.
func User(pid int) (user uint32, known bool) {
	l := &look
	defer l.done()
	if !l.at(pid) {
		return 0, false
	}
	text, _ := l.read("status")
	_, ids, _ := bytes.Cut(text, []byte("\nUid:\t")) // the real one and the effective one
	_, ids = cut(ids, '\t')
	id, _ := cut(ids, '\t')
	n, err := strconv.ParseUint(string(id), 10, 32)
	return uint32(n), err == nil
}

// at has a process looked at, until done.
func (l *looker) at(pid int) bool {
	l.Lock()
	l.pid, l.id, l.files = pid, l.id[:0], 0
	var err error
	l.dir, err = sys.Open(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return err == nil
}

func (l *looker) done() {
	unix.Close(l.dir)
	l.Unlock()
}

// read reads a file whole.
func (l *looker) read(name string) ([]byte, error) {
	fd, err := sys.Open(l.dir, name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
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

// add adds to what is told: a line of its own.
func (l *looker) add(name string, text []byte) {
	l.id = append(append(append(append(l.id, name...), '='), text...), '\n')
}

func (l *looker) number(n uint64) { l.id = append(strconv.AppendUint(l.id, n, 16), '\n') }

// cut takes what is before the next of these bytes off a text.
func cut(text []byte, at byte) (part, rest []byte) {
	if i := bytes.IndexByte(text, at); i >= 0 {
		return text[:i], text[i+1:]
	}
	return text, nil
}

func (l *looker) status() bool {
	text, err := l.read("status")
	if err != nil {
		return false
	}
	left := strings.Count(sameStatus+confined, " ") - 2 // as many as are to be there, each list with a space more
	for len(text) > 0 {
		var line []byte
		line, text = cut(text, '\n')
		name, value := cut(line, ':')
		switch key := " " + string(name) + " "; {
		case strings.Contains(confined, key):
			if string(value) != "\t0" {
				return false
			}
			left--
		case strings.Contains(sameStatus, key):
			l.add("", line)
			left--
		}
	}
	return left == 0
}

func (l *looker) links() bool {
	for i, name := range sameLinks {
		size, err := unix.Readlinkat(l.dir, name, l.text[:])
		if err == unix.ENOENT && i > 1 { // a kernel without
			continue
		}
		if err != nil || size == len(l.text) {
			return false
		}
		l.add(name, l.text[:size])
		if name == "ns/user" { // in another numbers mean other users
			if own, err := os.Readlink("/proc/self/ns/user"); err != nil || own != string(l.text[:size]) {
				return false
			}
		}
		if i > 1 {
			continue
		}
		var st unix.Stat_t
		if unix.Fstatat(l.dir, name, &st, 0) != nil {
			return false
		}
		l.number(uint64(st.Dev))
		l.number(st.Ino)
	}
	return true
}

func (l *looker) told(names ...string) bool {
	for _, name := range names {
		text, err := l.read(name)
		if err == unix.ENOENT || err != nil && name == "attr/current" { // a kernel without
			continue
		}
		if name == timerSlack && err == unix.EPERM { // only root sees it, and nobody may do more by it
			continue
		}
		if err != nil {
			return false
		}
		const files = "Max open files "
		if at := bytes.Index(text, []byte(files)); at >= 0 && name == "limits" {
			l.add(name, text[:at])
			soft, hard := cut(bytes.TrimLeft(text[at+len(files):], " "), ' ')
			if l.files, err = strconv.ParseUint(string(soft), 10, 64); err != nil {
				return false
			}
			text = hard
		}
		l.add(name, text)
	}
	return true
}

// scheduling is the terminal, and what the process has of the machine's time.
func (l *looker) scheduling() bool {
	text, err := l.read("stat")
	at := bytes.LastIndexByte(text, ')')
	if err != nil || at < 0 {
		return false
	}
	const last = 41
	_, text = cut(text[at:], ' ')
	for field := 3; field <= last; field++ { // as proc(5) counts them
		if len(text) == 0 {
			return false
		}
		var value []byte
		value, text = cut(text, ' ')
		switch field {
		case 7, 18, 19, 40, last: // terminal, priority, nice value, real-time priority, policy
			l.add("", value)
		}
	}
	const process = 1
	io, _, no := unix.RawSyscall(unix.SYS_IOPRIO_GET, process, uintptr(l.pid), 0)
	l.number(uint64(io))
	return no == 0
}
