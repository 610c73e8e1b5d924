package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSignalAtUpgrade: a signal that comes while runsvdir becomes another program, at whatever
// point, neither ends it nor is lost. Only what make build makes can be sure of it.
func TestSignalAtUpgrade(t *testing.T) {
	t.Parallel()
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
	links := map[string]string{"runsvdir": exe, "sv": exe, "at-exec": me}
	if other := fetched("runsvdir"); other != "" {
		links["debian-runsvdir"] = other
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	script(t, "../testdata/upgrade-signals.txt", bin)
}

// TestSignalAtStart: TERM, wherever in its start it comes, does not end process 1 as it would a
// program of Go's, by which a machine would panic: it is not seen or it is obeyed.
func TestSignalAtStart(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there is no such entry for this machine")
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	for stops := 0; stops < 900; stops += 60 {
		tree := t.TempDir()
		if err := os.Mkdir(tree+"/web", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(tree+"/web/run", []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := &exec.Cmd{Path: exe, Args: []string{"runsvdir", tree}, Stderr: os.Stderr,
			SysProcAttr: &syscall.SysProcAttr{Ptrace: true, Cloneflags: unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		made, err := untilCall(pid, stops)
		if err == nil {
			err = unix.Kill(pid, unix.SIGTERM)
		}
		if err == nil {
			err = ptrace(unix.PTRACE_DETACH, pid, 0, 0)
		}
		if err != nil {
			cmd.Process.Kill()
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for begin, told, over := time.Now(), false, false; !over; {
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("TERM at stop %d: %v", made, err)
				}
				over = true
			case <-time.After(10 * time.Millisecond):
				if stat, _ := os.ReadFile(tree + "/web/supervise/stat"); string(stat) == "run\n" && !told {
					told = true
					cmd.Process.Signal(unix.SIGTERM)
				}
				if time.Since(begin) > time.Minute {
					t.Errorf("TERM at stop %d: it neither runs nor ends", made)
					cmd.Process.Kill()
				}
			}
		}
	}
}

// untilCall lets a process that has just become a program, and is traced, make so many system
// calls (its entry into and return from each count), until it waits for something at most.
func untilCall(pid, stops int) (made int, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return 0, fmt.Errorf("it does not begin: %#x, %v", status, err)
	}
	if err := ptrace(unix.PTRACE_SETOPTIONS, pid, 0, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, err
	}
	for signal := 0; made < stops && !aboutToWait(pid); {
		if err := ptrace(unix.PTRACE_SYSCALL, pid, 0, uintptr(signal)); err != nil {
			return made, err
		}
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
			return made, fmt.Errorf("it has ended: %#x, %v", status, err)
		}
		signal = 0
		if status.StopSignal() == unix.SIGTRAP|0x80 {
			made++
		} else {
			signal = int(status.StopSignal())
		}
	}
	return made, nil
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
