package child

import (
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A thread that waits in the kernel for a file system whose server does not answer
// cannot be killed, and a process with such a thread can neither end nor become
// another program. A thread that waits for a child can be killed. So what is on the
// file system of a server is asked for by a child first, and touched by this process
// when the child has got its answers.

// Probe is what a child is to ask for.
type Probe struct {
	At     int // a directory's descriptor, or AT_FDCWD
	calls  []call
	memory []*[]byte // what the calls point to
}

// Stat asks what stat(2) asks for, of paths below At.
func (p *Probe) Stat(paths ...string) *Probe {
	out := p.room(int(unsafe.Sizeof(unix.Statx_t{})))
	for _, path := range paths {
		p.add(unix.SYS_STATX, uintptr(p.At), p.text(path), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, out)
	}
	return p
}

// Access asks whether they may be read, as inotify does of what it is to watch.
func (p *Probe) Access(paths ...string) *Probe {
	for _, path := range paths {
		p.add(unix.SYS_FACCESSAT, uintptr(p.At), p.text(path), unix.R_OK)
	}
	return p
}

// Open opens them for reading.
func (p *Probe) Open(paths ...string) *Probe {
	for _, path := range paths {
		p.openAs(path, unix.O_RDONLY|unix.O_NONBLOCK)
	}
	return p
}

func (p *Probe) openAs(path string, flags uintptr) {
	p.add(unix.SYS_OPENAT, uintptr(p.At), p.text(path), flags|unix.O_LARGEFILE, 0o644)
}

// List reads the directory at path. It is the first that is opened: descriptor 0.
func (p *Probe) List(path string) *Probe {
	p.openAs(path, unix.O_RDONLY|unix.O_DIRECTORY)
	const size = 4096
	p.add(unix.SYS_GETDENTS64, 0, p.room(size), size)
	return p
}

// Write writes a file, which is the first that is opened.
func (p *Probe) Write(path, text string) *Probe {
	p.openAs(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CREAT|unix.O_TRUNC)
	p.add(unix.SYS_WRITE, 0, p.text(text), uintptr(len(text)))
	for i := range p.calls {
		p.calls[i].optional = 0
	}
	return p
}

// Readlink asks where links lead.
func (p *Probe) Readlink(paths ...string) *Probe {
	out := p.room(unix.PathMax)
	for _, path := range paths {
		p.add(unix.SYS_READLINKAT, uintptr(p.At), p.text(path), out, unix.PathMax)
	}
	return p
}

func (p *Probe) room(n int) uintptr {
	b := make([]byte, n)
	p.memory = append(p.memory, &b)
	return uintptr(unsafe.Pointer(&b[0]))
}

func (p *Probe) text(s string) uintptr {
	b := append([]byte(s), 0)
	p.memory = append(p.memory, &b)
	return uintptr(unsafe.Pointer(&b[0]))
}

func (p *Probe) add(number uintptr, args ...uintptr) {
	c := call{number: number, optional: 1}
	copy(c.args[:], args)
	p.calls = append(p.calls, c)
}

// Run returns when there is an answer to all. Where no child can be made it returns
// at once. The error is that of a call that is not optional, as far as a child that
// shares this process's memory can tell it.
func (p *Probe) Run() error {
	defer runtime.KeepAlive(p)
	h := NewSlot()
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
func (p *Probe) program(w way) []call {
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
		calls = append(calls, closeEach(p.At)...)
	case p.At < 0:
		part(0, all, unshare)
	default:
		part(uintptr(p.At)+1, all, unshare)
		if p.At > 0 {
			part(0, uintptr(p.At)-1, 0)
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

// CollectProbes collects what an earlier program of this process has left hanging.
func CollectProbes() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|waitSilent, nil); pid <= 0 && err != unix.EINTR {
			return
		}
	}
}

// HasRoom says whether the kernel would make a thread: a child that ends at
// once counts as one. No signal tells of its end, and no wait for children sees it.
func HasRoom(h *Slot) bool {
	calls := []call{{number: unix.SYS_EXIT_GROUP, step: stepMade}}
	if bestWay().vfork {
		no := h.vforkBriefly(calls)
		return no != unix.EAGAIN && no != unix.ENOMEM
	}
	made := h.forkSilent(calls)
	if made.err != nil {
		return made.err != unix.EAGAIN && made.err != unix.ENOMEM
	}
	collectSilent(made.pid)
	return true
}
