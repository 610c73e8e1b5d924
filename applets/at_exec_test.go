package applets

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSignalAtUpgrade: a signal that comes while runsvdir becomes another program, at whatever
// point, neither ends it nor is lost. Only what make build makes can be sure of it.
func TestSignalAtUpgrade(t *testing.T) {
	if scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); os.Getuid() != 0 && strings.TrimSpace(string(scope)) > "0" {
		skip(t, "only root may trace a process that is not his child here")
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, to := range map[string]string{"runsvdir": exe, "sv": exe, "at-exec": me} {
		if err := os.Symlink(to, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("OTHER", fetched("runsvdir")) // Debian's
	script(t, "../testdata/upgrade-signals.txt", bin)
}

// atExec tells a runsvdir to become another program, traces it, and sends it a signal when
// that has made so many system calls since its begin (its entry into and return from each
// count), or waits for something. It says how many it had made.
func atExec(argv []string) int {
	pid, _ := strconv.Atoi(argv[0])
	signal, _ := strconv.Atoi(argv[1])
	stops, _ := strconv.Atoi(argv[2])
	runtime.LockOSThread() // who traces is a thread
	made, err := traceExec(pid, unix.Signal(signal), stops)
	if err != nil {
		fmt.Fprintln(os.Stderr, "at-exec:", err)
		return 1
	}
	fmt.Println(made)
	return 0
}

func traceExec(pid int, signal unix.Signal, stops int) (made int, err error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	for _, thread := range threads {
		tid, _ := strconv.Atoi(thread.Name())
		if err := ptrace(unix.PTRACE_SEIZE, tid, 0, unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESYSGOOD); err != nil {
			return 0, fmt.Errorf("unable to trace %d: %w", tid, err)
		}
	}
	if err := unix.Kill(pid, unix.SIGUSR2); err != nil {
		return 0, err
	}
	for begun := false; ; {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		if err != nil {
			return 0, err
		}
		if !status.Stopped() {
			if tid == pid && !begun {
				continue // another thread becomes the program, under this number
			}
			if tid == pid {
				return made, fmt.Errorf("it has ended: %#x", status)
			}
			continue
		}
		event := int(status) >> 16
		switch {
		case tid == pid && event == unix.PTRACE_EVENT_EXEC:
			begun = true
			if err := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, unix.PTRACE_O_TRACESYSGOOD); err != nil {
				return 0, err
			}
		case begun && tid == pid && status.StopSignal() == unix.SIGTRAP|0x80:
			made++
		case event != 0:
			ptrace(unix.PTRACE_CONT, tid, 0, 0)
			continue
		default:
			request := unix.PTRACE_CONT
			if begun {
				request = unix.PTRACE_SYSCALL
			}
			ptrace(request, tid, 0, uintptr(status.StopSignal()))
			continue
		}
		if made < stops && !aboutToWait(pid) {
			if err := ptrace(unix.PTRACE_SYSCALL, pid, 0, 0); err != nil {
				return 0, err
			}
			continue
		}
		if err := unix.Kill(pid, signal); err != nil {
			return 0, err
		}
		return made, ptrace(unix.PTRACE_DETACH, pid, 0, 0)
	}
}

// aboutToWait says whether a process is about to make a system call that may take long.
func aboutToWait(pid int) bool {
	var info struct {
		op     uint8
		_      [23]byte
		number uint64
		_      [128]byte
	}
	const getSyscallInfo, entry = 0x420e, 1
	if err := ptrace(getSyscallInfo, pid, unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info))); err != nil || info.op != entry {
		return false
	}
	return info.number == unix.SYS_FUTEX || info.number == unix.SYS_EPOLL_PWAIT
}

func ptrace(request, pid int, addr, data uintptr) error {
	if _, _, no := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, data, 0, 0); no != 0 {
		return no
	}
	return nil
}
