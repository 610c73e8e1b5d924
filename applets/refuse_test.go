package applets

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusable are the system calls that refuse knows.
var refusable = map[string]uint32{
	"clone":          unix.SYS_CLONE,
	"clone3":         unix.SYS_CLONE3,
	"close_range":    unix.SYS_CLOSE_RANGE,
	"execve":         unix.SYS_EXECVE,
	"fchdir":         unix.SYS_FCHDIR,
	"flock":          unix.SYS_FLOCK,
	"inotify_init1":  unix.SYS_INOTIFY_INIT1,
	"ioctl":          unix.SYS_IOCTL,
	"memfd_create":   unix.SYS_MEMFD_CREATE,
	"mkdirat":        unix.SYS_MKDIRAT,
	"mknodat":        unix.SYS_MKNODAT,
	"mmap":           sysMmap,
	"openat":         unix.SYS_OPENAT,
	"pidfd_open":     unix.SYS_PIDFD_OPEN,
	"pipe2":          unix.SYS_PIPE2,
	"prctl":          unix.SYS_PRCTL,
	"prlimit64":      unix.SYS_PRLIMIT64,
	"pwrite64":       unix.SYS_PWRITE64,
	"readlinkat":     unix.SYS_READLINKAT,
	"rt_sigaction":   unix.SYS_RT_SIGACTION,
	"rt_sigprocmask": unix.SYS_RT_SIGPROCMASK,
	"sendmsg":        unix.SYS_SENDMSG,
	"setsid":         unix.SYS_SETSID,
	"statx":          unix.SYS_STATX,
	"unshare":        unix.SYS_UNSHARE,
	"waitid":         unix.SYS_WAITID,
	"write":          unix.SYS_WRITE,
}

// errnos are the errors that refuse knows.
var errnos = map[string]unix.Errno{
	"E2BIG": unix.E2BIG, "EACCES": unix.EACCES, "EAGAIN": unix.EAGAIN, "EBADF": unix.EBADF, "EINVAL": unix.EINVAL,
	"EIO": unix.EIO, "EMFILE": unix.EMFILE, "ENFILE": unix.ENFILE, "ENOBUFS": unix.ENOBUFS, "ENOENT": unix.ENOENT,
	"ENOMEM": unix.ENOMEM, "ENOSPC": unix.ENOSPC, "ENOSYS": unix.ENOSYS, "ENOTTY": unix.ENOTTY, "EOPNOTSUPP": unix.EOPNOTSUPP,
	"EPERM": unix.EPERM, "EROFS": unix.EROFS, "ESRCH": unix.ESRCH, "ETOOMANYREFS": unix.ETOOMANYREFS,
}

// refuse runs a command for which, and for all that it starts, the kernel refuses
// a system call, as in a container with rules or on an older kernel:
//
//	refuse CALL[@ARGUMENT=VALUE] ERRNO -- COMMAND...
//
// With @ it refuses only the calls whose argument (from 0 on) has that value:
// "ioctl@1=0xc050ff0b". It becomes the command, which has its pid. For several
// calls it is called several times: refuse ... -- refuse ... -- COMMAND.
func refuse(argv []string) int {
	if len(argv) < 4 || argv[2] != "--" {
		fmt.Fprintln(os.Stderr, "usage: refuse CALL[@ARGUMENT=VALUE] ERRNO -- COMMAND...")
		return 125
	}
	filter, err := refusal(argv[0], argv[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "refuse:", err)
		return 125
	}
	path, err := exec.LookPath(argv[3])
	if err == nil {
		runtime.LockOSThread()     // the filter is the thread's, and stays with what it executes
		syscall.Exec("", nil, nil) // has the limit of descriptors as it was given: to change it may be refused
		if err = setFilter(filter); err == nil {
			err = syscall.Exec(path, argv[3:], os.Environ())
		}
	}
	fmt.Fprintln(os.Stderr, "refuse:", err)
	return 126
}

// refusal is the filter that refuses a call.
func refusal(call, errno string) ([]unix.SockFilter, error) {
	name, condition, some := strings.Cut(call, "@")
	number, ok := refusable[name]
	if !ok {
		return nil, fmt.Errorf("unknown call: %s", name)
	}
	no, ok := errnos[errno]
	if !ok {
		return nil, fmt.Errorf("unknown error: %s", errno)
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// Where the word that was loaded is another, it skips as many instructions.
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	refused := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(no)}
	allowed := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	if !some {
		return []unix.SockFilter{load(0), unless(number, 1), refused, allowed}, nil
	}
	argument, value, _ := strings.Cut(condition, "=")
	i, err1 := strconv.ParseUint(argument, 0, 3)
	v, err2 := strconv.ParseUint(value, 0, 32)
	if err1 != nil || err2 != nil || i > 5 {
		return nil, fmt.Errorf("no condition: %s", condition)
	}
	low := 16 + 8*uint32(i) // of struct seccomp_data: the lower half of the argument
	if bigEndian {
		low += 4
	}
	return []unix.SockFilter{load(0), unless(number, 3), load(low), unless(uint32(v), 1), refused, allowed}, nil
}

var bigEndian = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 0
}()

// setFilter gives the calling thread a filter of its system calls.
func setFilter(filter []unix.SockFilter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// TestRefuse refuses a call to a script.
func TestRefuse(t *testing.T) {
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		ok   bool
	}{
		"refused":           {[]string{"mkdirat", "EIO", "--", "refuse", "mkdirat", "EPERM", "--", "runsv", "x"}, false},
		"another":           {[]string{"setsid", "EPERM", "--", "true"}, true},
		"by its argument":   {[]string{"openat@1=0", "EIO", "--", "true"}, true},
		"no such call":      {[]string{"nothing", "EIO", "--", "true"}, false},
		"no such condition": {[]string{"openat@9=0", "EIO", "--", "true"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(dir+"/x", 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bin+"/refuse", tt.args...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); (err == nil) != tt.ok {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
