package supervise

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A thread that waits in the kernel for a file system whose server does not answer
// cannot be killed, and a process with such a thread can neither end nor become
// another program. A thread that waits for a child can be killed. So what is on the
// file system of a server is asked for by a child first, and touched by this process
// when the child has got its answers.

// probe is what a child is to ask for.
type probe struct {
	at     int // a directory's descriptor, or AT_FDCWD
	calls  []call
	memory []*[]byte // what the calls point to
}

// stat asks what stat(2) asks for, of paths below at.
func (p *probe) stat(paths ...string) *probe {
	out := p.room(int(unsafe.Sizeof(unix.Statx_t{})))
	for _, path := range paths {
		p.add(unix.SYS_STATX, uintptr(p.at), p.text(path), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, out)
	}
	return p
}

// access asks whether they may be read, as inotify does of what it is to watch.
func (p *probe) access(paths ...string) *probe {
	for _, path := range paths {
		p.add(unix.SYS_FACCESSAT, uintptr(p.at), p.text(path), unix.R_OK)
	}
	return p
}

// open opens them for reading.
func (p *probe) open(paths ...string) *probe {
	for _, path := range paths {
		p.openAs(path, unix.O_RDONLY|unix.O_NONBLOCK)
	}
	return p
}

func (p *probe) openAs(path string, flags uintptr) {
	p.add(unix.SYS_OPENAT, uintptr(p.at), p.text(path), flags|unix.O_LARGEFILE, 0o644)
}

// list reads the directory at path. It is the first that is opened: descriptor 0.
func (p *probe) list(path string) *probe {
	p.openAs(path, unix.O_RDONLY|unix.O_DIRECTORY)
	const size = 4096
	p.add(unix.SYS_GETDENTS64, 0, p.room(size), size)
	return p
}

// write writes a file, which is the first that is opened.
func (p *probe) write(path, text string) *probe {
	p.openAs(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CREAT|unix.O_TRUNC)
	p.add(unix.SYS_WRITE, 0, p.text(text), uintptr(len(text)))
	for i := range p.calls {
		p.calls[i].optional = 0
	}
	return p
}

// readlink asks where links lead.
func (p *probe) readlink(paths ...string) *probe {
	out := p.room(unix.PathMax)
	for _, path := range paths {
		p.add(unix.SYS_READLINKAT, uintptr(p.at), p.text(path), out, unix.PathMax)
	}
	return p
}

func (p *probe) room(n int) uintptr {
	b := make([]byte, n)
	p.memory = append(p.memory, &b)
	return uintptr(unsafe.Pointer(&b[0]))
}

func (p *probe) text(s string) uintptr {
	b := append([]byte(s), 0)
	p.memory = append(p.memory, &b)
	return uintptr(unsafe.Pointer(&b[0]))
}

func (p *probe) add(number uintptr, args ...uintptr) {
	c := call{number: number, optional: 1}
	copy(c.args[:], args)
	p.calls = append(p.calls, c)
}

// run returns when there is an answer to all. Where no child can be made it returns
// at once. The error is that of a call that is not optional, as far as a child that
// shares this process's memory can tell it.
func (p *probe) run() error {
	defer runtime.KeepAlive(p)
	h := newHand()
	defer runtime.KeepAlive(h)
	for {
		w := bestWay()
		w.clone3 = false
		calls := p.program(w)
		var made outcome
		if w.vfork {
			made = h.vforkSilent(calls, w)
		} else {
			made = h.forkSilent(calls)
		}
		runtime.KeepAlive(calls)
		failed, err := stepMade, made.err
		if err == nil {
			if collectSilent(made.pid).ExitStatus() != failedProbe {
				return nil
			}
			if left := int(h.failed.left); left > 0 && left <= len(p.calls)+1 { // exit_group is the last
				return unix.Errno(h.failed.errno)
			}
			failed, err = stepPart, unix.ENOSYS
		}
		if !refuse(w, failed, err) {
			return err
		}
	}
}

// failedProbe is the exit status of a child that could not make a call that it must.
const failedProbe = 111

// program is all that the child does. It ends with this process, as far as it can,
// and has none of its descriptors: where it cannot, nobody is to take it for this.
func (p *probe) program(w way) []call {
	calls := []call{{number: unix.SYS_PRCTL, args: [6]uintptr{unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)}, optional: 1}}
	part := func(from, to, flags uintptr) {
		calls = append(calls, call{number: unix.SYS_CLOSE_RANGE, args: [6]uintptr{from, to, flags}, step: stepPart})
	}
	unshare := uintptr(0)
	if w.shares {
		unshare = unix.CLOSE_RANGE_UNSHARE
	}
	const all = uintptr(1<<32 - 1)
	switch {
	case !w.range_:
		calls = append(calls, closeEach(p.at)...)
	case p.at < 0:
		part(0, all, unshare)
	default:
		part(uintptr(p.at)+1, all, unshare)
		if p.at > 0 {
			part(0, uintptr(p.at)-1, 0)
		}
	}
	own := len(calls)
	calls = append(append(calls, p.calls...), call{number: unix.SYS_EXIT_GROUP})
	if !w.vfork { // its exit status would be taken for a way that there is not
		for i := range calls[own:] {
			calls[own+i].optional = 1
		}
	}
	return calls
}

// closeEach are the calls that close what is open, but for one descriptor, where the
// kernel cannot close many at once (before Linux 5.9).
func closeEach(but int) (calls []call) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd != but {
			calls = append(calls, call{number: unix.SYS_CLOSE, args: [6]uintptr{uintptr(fd)}, optional: 1})
		}
	}
	return calls
}

// collectSilent waits for a child of whose end no signal tells.
func collectSilent(pid int) (ws unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(pid, &ws, waitSilent, nil); err != unix.EINTR {
			return ws
		}
	}
}

// waitSilent is __WCLONE as an int: one of 32 bits has no room for unix.WCLONE.
const waitSilent = -1 << 31

// collectProbes collects what an earlier program of this process has left hanging.
func collectProbes() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|waitSilent, nil); pid <= 0 && err != unix.EINTR {
			return
		}
	}
}

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
	m.info, _ = readOnce("/proc/self/mountinfo", 8<<10)
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
