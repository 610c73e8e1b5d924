package proc

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// Usage is what a child that has ended has used, with the children that it has waited
// for. Known is false where nobody can tell.
type Usage struct {
	Known  bool
	Memory int64         // at most, in KiB
	CPU    time.Duration // of a user's and the system's time
}

// String is what was used, for a message to another process: "KIB MICROSECONDS", nothing
// where that is not known.
func (u Usage) String() string {
	if !u.Known {
		return ""
	}
	return strconv.FormatInt(u.Memory, 10) + " " + strconv.FormatInt(int64(u.CPU/time.Microsecond), 10)
}

// ParseUsage is what String has told. Garbage is not known.
func ParseUsage(text string) Usage {
	memory, cpu, _ := strings.Cut(text, " ")
	kib, err1 := strconv.ParseInt(memory, 10, 64)
	us, err2 := strconv.ParseInt(cpu, 10, 64)
	if err1 != nil || err2 != nil {
		return Usage{}
	}
	return Usage{true, kib, time.Duration(us) * time.Microsecond}
}

// PeekDead finds a child that has ended and leaves it there. Unless flags is
// WNOHANG it waits for one, as long as there are children. What it has used is told
// where use is not nil.
func PeekDead(flags int, use *Usage) (pid int, ws unix.WaitStatus, ok bool) {
	return peek(unix.P_ALL, 0, flags, use)
}

// PeekChild says whether a child has ended, and how, and leaves it there.
func PeekChild(pid int, use *Usage) (ws unix.WaitStatus, ended bool) {
	_, ws, ended = peek(unix.P_PID, pid, unix.WNOHANG, use)
	return ws, ended
}

func peek(which, id, flags int, use *Usage) (pid int, ws unix.WaitStatus, ok bool) {
	var ru unix.Rusage
	var si unix.Siginfo
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Waitid(which, id, &si, unix.WEXITED|unix.WNOWAIT|flags, &ru)
	}
	if err != nil {
		return 0, 0, false
	}
	// the kernel's siginfo of SIGCHLD: three words, on 64 bits a pad, then
	// pid, uid and status
	at := 12
	if unsafe.Sizeof(uintptr(0)) == 8 {
		at = 16
	}
	field := func(i int) int32 { return *(*int32)(unsafe.Add(unsafe.Pointer(&si), at+4*i)) }
	pid, status := int(field(0)), field(2)
	switch si.Code {
	case 1: // CLD_EXITED
		ws = unix.WaitStatus(status&0xff) << 8
	case 2: // CLD_KILLED
		ws = unix.WaitStatus(status)
	case 3: // CLD_DUMPED
		ws = unix.WaitStatus(status) | 0x80
	}
	if use != nil {
		*use = Usage{pid != 0, int64(ru.Maxrss), time.Duration(ru.Utime.Nano() + ru.Stime.Nano())}
	}
	return pid, ws, pid != 0
}

// Children are this process's children, the dead with the living; none where the
// kernel does not list them.
func Children() (pids []int) {
	tasks, err := sys.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// SendSignal sends a signal to a process: through its pidfd where there is one,
// since somebody else may collect it at any time and its number be given to
// another.
func SendSignal(pid, pidfd int, sig unix.Signal) error {
	if pidfd >= 0 {
		if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != unix.ENOSYS {
			return err
		}
	}
	return unix.Kill(pid, sig)
}

// GraceTime is how long a corpse may stay until others are looked for behind it.
const GraceTime = 5 * time.Millisecond

// ExitCode is how a process has ended, as a shell tells it: its exit status, or 128 and the
// number of the signal.
func ExitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
