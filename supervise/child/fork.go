package child

import (
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A plain fork: the child has a copy of this process's memory, with the calling
// thread alone. In it nothing of Go's runtime is used but the stack that it is on:
// forkChild and what it calls do not grow that, allocate nothing, take no lock, and
// no signal comes, so it does not matter what other threads were about. As there is no
// memory to tell in what has failed, that goes through a pipe, which is closed when
// the program is executed.

// forking is held while a child's end of such a pipe is open in this process: another
// child would get a copy of it, and hold it for as long as it is not its program.
var forking sync.Mutex

// openPipe opens the pipe, and locks forking for fork.
func (h *Slot) openPipe(notifyAs int) error {
	forking.Lock()
	err := unix.Pipe2(h.pipe[:], unix.O_CLOEXEC)
	if err == nil { // to where no descriptor of the program's will be
		w := h.pipe[1]
		h.pipe[1], err = unix.FcntlInt(uintptr(w), unix.F_DUPFD_CLOEXEC, max(16, notifyAs+1))
		unix.Close(w)
		if err != nil {
			unix.Close(h.pipe[0])
		}
	}
	if err != nil {
		h.pipe = [2]int{}
		forking.Unlock()
	}
	return err
}

// fork makes a child that makes the calls. The thread is kept until the child is its
// program: a child that is to end with its parent ends with the thread that made it.
func (h *Slot) fork(calls []call) (made outcome) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, no := h.cloned(calls, uintptr(unix.SIGCHLD))
	unix.Close(h.pipe[1])
	pipe := os.NewFile(uintptr(h.pipe[0]), "pipe")
	defer pipe.Close()
	h.pipe = [2]int{}
	forking.Unlock()
	if no != 0 {
		return outcome{err: no}
	}
	h.hear(pipe)
	return outcome{pid: int(pid)}
}

// forkSilent makes a child whose end no signal tells.
func (h *Slot) forkSilent(calls []call) outcome {
	h.pipe = [2]int{-1, -1} // its exit status tells
	pid, no := h.cloned(calls, 0)
	if no != 0 {
		return outcome{err: no}
	}
	return outcome{pid: int(pid)}
}

// cloned makes the child, which hears of its program's signals only.
func (h *Slot) cloned(calls []call, signal uintptr) (pid uintptr, no syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	var own unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, &own)
	h.mask = own
	h.mask.Val[0] &^= signalSet(unheld)
	flags := cloneArguments(signal)
	pid, no = forkChild(h, &calls[0], uintptr(len(calls)), flags[0], flags[1])
	unix.PthreadSigmask(unix.SIG_SETMASK, &own, nil)
	return pid, no
}

// hear reads what a child tells: its pid, then why it did not become its program.
func (h *Slot) hear(pipe io.Reader) {
	var buf [64]byte
	n := 0
	for n < len(buf) {
		m, err := pipe.Read(buf[n:])
		if n += m; err != nil {
			break
		}
	}
	said := buf[:n]
	const size = int(unsafe.Sizeof(h.failed))
	if n%size == int(unsafe.Sizeof(h.tid)) {
		atomic.StoreUint32(&h.tid, binary.NativeEndian.Uint32(said))
		said = said[unsafe.Sizeof(h.tid):]
	}
	if len(said) == size {
		h.failed = *(*failure)(unsafe.Pointer(&said[0]))
	}
}

// forkChild is fork, and in the child all that it does.
//
//go:noinline
//go:nosplit
//go:norace
func forkChild(h *Slot, c *call, n, flags, stack uintptr) (pid uintptr, no syscall.Errno) {
	pid, _, no = syscall.RawSyscall6(unix.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if no != 0 || pid != 0 {
		return pid, no
	}
	pid, _, _ = syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	h.tid = uint32(pid)
	for {
		r, _, no := syscall.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		switch {
		case no != 0 && c.optional == 0:
			h.failed.errno, h.failed.left = uintptr(no), n
			syscall.RawSyscall6(unix.SYS_WRITE, uintptr(h.pipe[1]), uintptr(unsafe.Pointer(&h.failed)), unsafe.Sizeof(h.failed), 0, 0, 0)
			exitChild(111)
		case no == 0 && c.step == stepFork && r != 0:
			exitChild(0)
		case no == 0 && c.step == stepFork:
			pid, _, _ = syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
			h.tid = uint32(pid)
		}
		c = (*call)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c))) // the last call does not return
		n--
	}
}

//go:nosplit
//go:norace
func exitChild(status uintptr) {
	for {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}

// cloneArguments are the first of clone's, which on s390x come the other way round.
func cloneArguments(flags uintptr) [2]uintptr {
	if runtime.GOARCH == "s390x" {
		return [2]uintptr{0, flags}
	}
	return [2]uintptr{flags, 0}
}
