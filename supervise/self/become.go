package self

import (
	"math"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Held is blocked with signals that the entry (procenv/entry_amd64.s) is to have Go's runtime
// leave blocked, and the signal behind it is not: nobody else has these two so. Sets are of
// signals of which 1 is bit 0; there is an entry only where they have 64.
const Held = 1 << (62 - 1) & math.MaxUint

// Become makes this process the program at path, as syscall.Exec does. Of Each it leaves
// those blocked that are in set, and no other. It only returns an error.
//
// The goroutine is not locked to its thread: for that the runtime might have to make one,
// and where it may not, ends the process.
func Become(path string, argv, env []string, set uintptr) error {
	file, err := syscall.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	vars, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	l := last{pid: uintptr(unix.Getpid()), path: file, args: &args[0], vars: &vars[0], set: set}
	beforeExec()
	defer afterExec()
	return l.become()
}

// tellThreads has each thread block what is held, and waits until all do.
func tellThreads() {
	l := last{pid: uintptr(unix.Getpid())}
	beforeExec()
	defer afterExec()
	l.become()
}

// last is what is needed at the last, where nothing can be allocated.
type last struct {
	pid        uintptr
	path       *byte // nil: it stays what it is
	args, vars **byte
	set        uintptr // to be blocked

	urgent, ignored sigaction // SIGURG
	own, mask       unix.Sigset_t
	tasks           [4096]byte
}

// become has each thread block what is held, and becomes the program. No thread can be made
// until it returns, and where the runtime wanted one, it would wait for that, maybe with the
// processor that this goroutine needs. So nothing here gives the runtime an occasion to have
// another goroutine run: no call that it is told of, no growing of the stack, and no SIGURG, by
// which it asks.
//
//go:nosplit
//go:norace
func (l *last) become() (no syscall.Errno) {
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGURG), uintptr(unsafe.Pointer(&l.ignored)), uintptr(unsafe.Pointer(&l.urgent)), maskSize, 0, 0)
	if holding != 0 {
		l.tell()
	}
	if l.path != nil {
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, 0, uintptr(unsafe.Pointer(&l.own)), maskSize, 0, 0)
		l.mask = l.own
		word := (*uintptr)(unsafe.Pointer(&l.mask))
		*word = *word&^(each|Held) | l.set
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&l.mask)), 0, maskSize, 0, 0)
		_, _, no = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.path)), uintptr(unsafe.Pointer(l.args)), uintptr(unsafe.Pointer(l.vars)))
		syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&l.own)), 0, maskSize, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGURG), uintptr(unsafe.Pointer(&l.urgent)), 0, maskSize, 0, 0)
	return no
}

// tell tells each thread, also this one, and waits until all have done it: a tenth of a second
// at most, for one may not answer.
//
//go:nosplit
//go:norace
func (l *last) tell() {
	const tasks = "/proc/self/task\x00"
	at := unix.AT_FDCWD
	fd, _, no := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(unsafe.StringData(tasks))), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
	if no != 0 {
		return
	}
	atomic.StoreUint32(&heldBy, 0)
	told := uint32(0)
	for {
		n, _, no := syscall.RawSyscall(unix.SYS_GETDENTS64, fd, uintptr(unsafe.Pointer(&l.tasks)), unsafe.Sizeof(l.tasks))
		if no != 0 || n == 0 || n > unsafe.Sizeof(l.tasks) {
			break
		}
		for entry := uintptr(0); entry < n; {
			const lengthAt, nameAt = 16, 19 // of a linux_dirent64
			tid := uintptr(0)
			for i := entry + nameAt; i < n && l.tasks[i]-'0' <= 9; i++ {
				tid = 10*tid + uintptr(l.tasks[i]-'0')
			}
			if tid != 0 { // "." and ".." are none
				if _, _, no := syscall.RawSyscall(unix.SYS_TGKILL, l.pid, tid, uintptr(holdSignal)); no == 0 {
					told++
				}
			}
			entry += uintptr(*(*uint16)(unsafe.Pointer(&l.tasks[entry+lengthAt])))
		}
	}
	syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	pause := unix.Timespec{Nsec: 100_000}
	for n := 0; n < 1000 && atomic.LoadUint32(&heldBy) < told; n++ {
		syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
	}
}

// What syscall.Exec calls around its execve: no thread may be in the making when that
// ends the others.
//
//go:linkname beforeExec syscall.runtime_BeforeExec
func beforeExec()

//go:linkname afterExec syscall.runtime_AfterExec
func afterExec()
