package applets

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limit takes from the calling thread, and what it becomes, what the words say:
//
//	uid=N    it is that user, who owns /service, /run and /tmp
//	nocaps   it has no capability, and can get none
//	seccomp  the calls are forbidden that container engines forbid by default
//	older    and those that are younger than an engine of 2019, which answers as to those
func limit(words []string) error {
	for _, word := range words {
		n, isUser := strings.CutPrefix(word, "uid=")
		switch {
		case isUser:
			uid, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			for _, dir := range []string{"/service", "/run", "/tmp"} {
				filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
					if err == nil {
						os.Lchown(path, uid, uid) // as far as it may be written
					}
					return nil
				})
			}
			for _, set := range []func() error{
				func() error { return unix.Setgroups(nil) },
				func() error { return unix.Setresgid(uid, uid, uid) },
				func() error { return unix.Setresuid(uid, uid, uid) },
			} {
				if err := set(); err != nil {
					return err
				}
			}
		case word == "nocaps":
			for c := uintptr(0); unix.Prctl(unix.PR_CAPBSET_READ, c, 0, 0, 0) == nil; c++ {
				if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
					break // who is no root any more has none to drop
				}
			}
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var none [2]unix.CapUserData
			if err := unix.Capset(&head, &none[0]); err != nil {
				return err
			}
		case word == "seccomp":
			if err := forbid(forbidden); err != nil {
				return err
			}
		case word == "older":
			if err := forbid(young); err != nil {
				return err
			}
		}
	}
	return nil
}

// forbidden are calls that container engines answer with EPERM by default to who has no
// capabilities for them, and with ENOSYS where a C library is to go another way. Only those
// are here that the kernel has on every machine: kexec_file_load, for one, is not on a 386.
var forbidden = map[uint32]unix.Errno{
	unix.SYS_ACCT: unix.EPERM, unix.SYS_ADD_KEY: unix.EPERM, unix.SYS_BPF: unix.EPERM,
	unix.SYS_CLOCK_ADJTIME: unix.EPERM, unix.SYS_CLOCK_SETTIME: unix.EPERM, unix.SYS_CLONE3: unix.ENOSYS,
	unix.SYS_DELETE_MODULE: unix.EPERM, unix.SYS_FANOTIFY_INIT: unix.EPERM, unix.SYS_FINIT_MODULE: unix.EPERM,
	unix.SYS_FSCONFIG: unix.EPERM, unix.SYS_FSMOUNT: unix.EPERM, unix.SYS_FSOPEN: unix.EPERM, unix.SYS_FSPICK: unix.EPERM,
	unix.SYS_GET_MEMPOLICY: unix.EPERM, unix.SYS_INIT_MODULE: unix.EPERM, unix.SYS_IO_URING_ENTER: unix.EPERM,
	unix.SYS_IO_URING_REGISTER: unix.EPERM, unix.SYS_IO_URING_SETUP: unix.EPERM, unix.SYS_KCMP: unix.EPERM,
	unix.SYS_KEXEC_LOAD: unix.EPERM, unix.SYS_KEYCTL: unix.EPERM,
	unix.SYS_LOOKUP_DCOOKIE: unix.EPERM, unix.SYS_MBIND: unix.EPERM, unix.SYS_MOUNT: unix.EPERM,
	unix.SYS_MOUNT_SETATTR: unix.EPERM, unix.SYS_MOVE_MOUNT: unix.EPERM, unix.SYS_MOVE_PAGES: unix.EPERM,
	unix.SYS_NAME_TO_HANDLE_AT: unix.EPERM, unix.SYS_NFSSERVCTL: unix.EPERM, unix.SYS_OPEN_BY_HANDLE_AT: unix.EPERM,
	unix.SYS_OPEN_TREE: unix.EPERM, unix.SYS_PERF_EVENT_OPEN: unix.EPERM, unix.SYS_PERSONALITY: unix.EPERM,
	unix.SYS_PIDFD_GETFD: unix.EPERM, unix.SYS_PIVOT_ROOT: unix.EPERM, unix.SYS_PROCESS_MADVISE: unix.EPERM,
	unix.SYS_PROCESS_VM_READV: unix.EPERM, unix.SYS_PROCESS_VM_WRITEV: unix.EPERM, unix.SYS_PTRACE: unix.EPERM,
	unix.SYS_QUOTACTL: unix.EPERM, unix.SYS_REBOOT: unix.EPERM, unix.SYS_REQUEST_KEY: unix.EPERM,
	unix.SYS_SET_MEMPOLICY: unix.EPERM, unix.SYS_SETDOMAINNAME: unix.EPERM, unix.SYS_SETHOSTNAME: unix.EPERM,
	unix.SYS_SETNS: unix.EPERM, unix.SYS_SETTIMEOFDAY: unix.EPERM, unix.SYS_SWAPOFF: unix.EPERM,
	unix.SYS_SWAPON: unix.EPERM, unix.SYS_SYSLOG: unix.EPERM, unix.SYS_UMOUNT2: unix.EPERM,
	unix.SYS_UNSHARE: unix.EPERM, unix.SYS_USERFAULTFD: unix.EPERM, unix.SYS_VHANGUP: unix.EPERM,
}

// young are calls that engines of 2019 did not know yet.
var young = map[uint32]unix.Errno{
	unix.SYS_CLONE3: unix.EPERM, unix.SYS_CLOSE_RANGE: unix.EPERM, unix.SYS_OPENAT2: unix.EPERM, unix.SYS_FACCESSAT2: unix.EPERM,
	unix.SYS_PIDFD_OPEN: unix.EPERM, unix.SYS_PIDFD_SEND_SIGNAL: unix.EPERM, unix.SYS_PIDFD_GETFD: unix.EPERM, unix.SYS_EPOLL_PWAIT2: unix.EPERM,
	unix.SYS_RSEQ: unix.EPERM, unix.SYS_MEMBARRIER: unix.EPERM, unix.SYS_LANDLOCK_CREATE_RULESET: unix.EPERM, unix.SYS_FUTEX_WAITV: unix.EPERM,
}

// forbid forbids calls, and clone(2) with flags of namespaces, to the calling thread.
func forbid(calls map[uint32]unix.Errno) error {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(errno unix.Errno) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	const number, firstArgument = 0, 16
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	filter := []unix.SockFilter{load(number)}
	for call, errno := range calls {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call}, answer(errno))
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_CLONE},
		load(firstArgument),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: namespaces},
		answer(unix.EPERM),
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// TestContained runs the recipes of testdata/box, containers whose process 1 is runsvdir:
// each as it is and, where its first lines say "ways WORDS; WORDS; ...", under each of
// these limits. A line "each WORD VALUE..." has it run once for each value, in the place
// of WORD.
func TestContained(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "containers with busybox of the peers")
	}
	init, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob("../testdata/box/*.txt")
	if len(paths) == 0 {
		t.Fatal("no recipes")
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		for variant, text := range variants(string(b)) {
			t.Run(name+variant, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), name+".txt")
				if err := writeFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				r := readRecipe(t, file, init)
				if os.Geteuid() != 0 && strings.Contains(strings.Join(r.limits, " "), "uid=") {
					skip(t, "needs root")
				}
				bootContainer(t, r, "as process 1").follow(r)
			})
		}
	}
}

// variants are the texts of a recipe, by what is said of each. The limits are tried with the
// first of the values.
func variants(text string) map[string]string {
	ways, word, values := []string{""}, "@", []string{""}
	body := ""
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "ways":
			ways = append(ways, strings.Split(rest, "; ")...)
		case "each":
			fields := strings.Fields(rest)
			word, values = fields[0], fields[1:]
		default:
			body += line
		}
	}
	all := map[string]string{}
	for i, value := range values {
		for _, way := range ways {
			head := ""
			if way != "" {
				head = "limits " + way + "\n"
			}
			for _, word := range []string{"mapped", "readonly"} {
				if strings.Contains(way, word) {
					head += word + "\n"
				}
			}
			if i == 0 || way == "" {
				all[strings.TrimSuffix("/"+way+" "+value, " ")] = head + strings.ReplaceAll(body, word, value)
			}
		}
	}
	return all
}
