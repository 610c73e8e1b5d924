package applets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// given is a process that chpst may find itself started by: it changes what it
// is, word by word, and becomes the command behind the two dashes.
//
//	groups=1,2   supplementary groups
//	gids=R,E,S   real, effective and saved gid
//	uids=R,E,S   the same of uids
//	inh=N,N      inheritable capabilities
//	amb=N,N      ambient ones
//	drop=N       a capability that is not to be had
//	bits=N       securebits
//	deny=N       a system call that fails
func given(argv []string) int {
	runtime.LockOSThread()
	for i, word := range argv {
		if word == "--" {
			err := syscall.Exec(argv[i+1], argv[i+1:], os.Environ())
			fmt.Fprintln(os.Stderr, "given:", err)
			return 125
		}
		what, list, _ := strings.Cut(word, "=")
		var n []int
		for field := range strings.SplitSeq(list, ",") {
			v, err := strconv.Atoi(field)
			if err != nil {
				fmt.Fprintln(os.Stderr, "given:", word, err)
				return 125
			}
			n = append(n, v)
		}
		if err := become(what, n); err != nil {
			fmt.Fprintln(os.Stderr, "given:", word, err)
			return 125
		}
	}
	return 125
}

// become changes this thread.
func become(what string, n []int) error {
	set := func(number uintptr, args ...int) error {
		_, _, no := unix.RawSyscall(number, uintptr(args[0]), uintptr(args[1]), uintptr(args[2]))
		if no != 0 {
			return no
		}
		return nil
	}
	caps := func(change func(*unix.CapUserData, uint32)) error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		for _, c := range n {
			change(&data[c/32], 1<<(c%32))
		}
		return unix.Capset(&header, &data[0])
	}
	switch what {
	case "groups":
		gids := make([]uint32, len(n))
		for i, gid := range n {
			gids[i] = uint32(gid)
		}
		_, _, no := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(n)), uintptr(unsafe.Pointer(&gids[0])), 0)
		if no != 0 {
			return no
		}
		return nil
	case "gids":
		return set(unix.SYS_SETRESGID, n...)
	case "uids": // the capabilities stay
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return err
		}
		if err := set(unix.SYS_SETRESUID, n...); err != nil {
			return err
		}
		n = []int{}
		for c := range 64 {
			n = append(n, c)
		}
		return caps(func(d *unix.CapUserData, bits uint32) { d.Effective |= d.Permitted & bits })
	case "inh":
		return caps(func(d *unix.CapUserData, bits uint32) { d.Inheritable |= bits })
	case "amb":
		for _, c := range n {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
				return err
			}
		}
		return nil
	case "drop":
		for _, c := range n {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return err
			}
		}
		return caps(func(d *unix.CapUserData, bits uint32) {
			d.Effective &^= bits
			d.Permitted &^= bits
			d.Inheritable &^= bits
		})
	case "bits":
		return unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(n[0]), 0, 0, 0)
	case "deny":
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n[0]), Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	}
	return fmt.Errorf("what is that?")
}

// givenThat makes cmd start where words have been done.
func givenThat(t *testing.T, words []string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := slices.Concat([]string{"given"}, words, []string{"--", cmd.Path}, cmd.Args[1:])
	cmd.Path, cmd.Args = self, args
	return cmd
}

// idsAndCaps are the lines of a status that say what a process may do.
var idsAndCaps = []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb"}

// aNobody is what -u nobody:daemon:adm makes of anyone.
func aNobody() map[string]string {
	none := "0000000000000000"
	return map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "1 1 1 1", "Groups": "1 4",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none,
	}
}

// TestNoPrivilegeIsInherited starts chpst with privileges that the kernel does
// not take away when a uid changes.
func TestNoPrivilegeIsInherited(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	const netAdmin, setgid, setuid = "12", "6", "7"
	all := strings.Join([]string{netAdmin, setgid, setuid}, ",")
	for _, tt := range []struct {
		name  string
		given []string
	}{
		{"root with groups", []string{"groups=0,5,6,1000"}},
		{"inheritable capabilities", []string{"inh=" + all}},
		{"ambient capabilities", []string{"inh=" + all, "amb=" + all}},
		{"a uid that changes nothing else", []string{"bits=4"}}, // no_setuid_fixup
		{"ambient capabilities, and a uid that changes nothing else", []string{"bits=4", "inh=" + all, "amb=" + all}},
		{"no root at all", []string{"bits=5", "inh=" + all, "amb=" + all}}, // and noroot
		{"a user with ambient capabilities", []string{"gids=7,7,7", "uids=1000,1000,1000", "inh=" + all, "amb=" + all}},
		{"the user with ambient capabilities", []string{"gids=1,1,1", "uids=65534,65534,65534", "inh=" + all, "amb=" + all}},
		{"really another user", []string{"gids=7,0,7", "uids=1000,0,1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, options := range [][]string{
				{"-u", "nobody:daemon:adm"},
				{"-u", ":65534:1:4", "-P", "-n", "1", "-o", "50", "-U", "root"},
				{"--no-new-privs", "--umask", "077", "-u", "nobody:daemon:adm", "-/", "/", "-m", "1000000000"},
				{"--keep-caps", "", "-u", "nobody:daemon:adm"},
			} {
				if slices.Contains(options, "-/") && strings.HasPrefix(tt.given[len(tt.given)-1], "amb") || slices.Contains(options, "--keep-caps") && len(tt.given) > 0 && strings.Contains(tt.name, "user") || strings.Contains(tt.name, "no root") && options[0] == "--keep-caps" {
					continue // that takes more capabilities
				}
				cmd := givenThat(t, tt.given, exec.Command(filepath.Join(bin, "chpst"), append(options, "cat", "/proc/self/status")...))
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				text, err := cmd.Output()
				if err != nil {
					t.Errorf("%q: %v: %s", options, err, stderr.String())
					continue
				}
				if diff := cmp.Diff(aNobody(), pick(status(text), idsAndCaps...)); diff != "" {
					t.Errorf("%q (-want +got):\n%s", options, diff)
				}
			}
		})
	}

	// Without the capability a process may take on one of its ids; what it had
	// beside that one must go, or nothing runs.
	for _, uids := range []string{"uids=65534,0,0", "uids=0,65534,0", "uids=65534,0,65534"} {
		cmd := givenThat(t, []string{"groups=1,4", "gids=1,1,1", uids, "drop=7"}, exec.Command(filepath.Join(bin, "chpst"), "-u", "nobody:daemon:adm", "cat", "/proc/self/status"))
		text, err := cmd.Output()
		if err == nil {
			if diff := cmp.Diff(aNobody(), pick(status(text), idsAndCaps...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", uids, diff)
			}
		} else if len(text) > 0 || cmd.ProcessState.ExitCode() != 111 {
			t.Errorf("%s: %v: %s", uids, err, text)
		}
	}
}

// everyones is a directory in which everyone may make files.
func everyones(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestNoPrivilegeInAnyCombination tries all combinations of the options.
func TestNoPrivilegeInAnyCombination(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	lock := filepath.Join(everyones(t), "lock")
	options := [][]string{
		{"-P"}, {"-e", t.TempDir()}, {"-/", "/"}, {"-C", "/tmp"}, {"-n", "2"}, {"-U", "root"},
		{"-l", lock}, {"-o", "50", "-t", "100"}, {"--keep-caps", ""}, {"--no-new-privs"},
	}
	for set := range 1 << len(options) {
		argv := []string{"-u", "nobody:daemon:adm"}
		for i, o := range options {
			if set&(1<<i) != 0 {
				argv = append(argv, o...)
			}
		}
		if diff := cmp.Diff(aNobody(), pick(statusOf(t, bin, argv...), idsAndCaps...)); diff != "" {
			t.Fatalf("chpst %q (-want +got):\n%s", argv, diff)
		}
	}
}

// TestRefusedSteps has the kernel refuse each system call that chpst might
// make: then either nothing runs, or what runs is what was asked for.
func TestRefusedSteps(t *testing.T) {
	t.Parallel()
	if strconv.IntSize == 32 {
		skip(t, "the system calls have second numbers on machines of 32 bits")
	}
	bin := ours(t)
	lock := filepath.Join(everyones(t), "lock")
	envdir := t.TempDir()
	if err := os.WriteFile(filepath.Join(envdir, "A"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := []string{
		"-P", "-e", envdir, "-/", "/", "-C", "/tmp", "-n", "2", "-U", "daemon", "-u", "nobody:daemon:adm", "-l", lock,
		"-m", "2000000000", "-o", "50", "--no-new-privs", "--umask", "027", "cat", "/proc/self/status",
	}
	want := aNobody()
	want["NoNewPrivs"], want["Umask"] = "1", "0027"
	names := append(slices.Clone(idsAndCaps), "NoNewPrivs", "Umask")
	run := func(denied uintptr, argv []string) (said string, lines map[string]string, code int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := givenThat(t, []string{"deny=" + strconv.Itoa(int(denied))}, exec.CommandContext(ctx, filepath.Join(bin, "chpst"), argv...))
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		return stderr.String(), status(stdout.Bytes()), cmd.ProcessState.ExitCode()
	}
	ran := 0
	for _, denied := range []uintptr{ // all but those that Go's runtime cannot even end without
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_OPENAT, unix.SYS_GETDENTS64, unix.SYS_FCNTL,
		unix.SYS_SETSID, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_CHROOT, unix.SYS_GETPRIORITY, unix.SYS_SETPRIORITY,
		unix.SYS_SETGROUPS, unix.SYS_SETGID, unix.SYS_SETUID, unix.SYS_SETRESGID, unix.SYS_SETRESUID, unix.SYS_CAPGET, unix.SYS_CAPSET, unix.SYS_PRCTL,
		unix.SYS_FLOCK, unix.SYS_UMASK, unix.SYS_PRLIMIT64, unix.SYS_RT_SIGPROCMASK,
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_SIGALTSTACK, unix.SYS_SCHED_GETAFFINITY, unix.SYS_CLONE,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_TGKILL, unix.SYS_NANOSLEEP, unix.SYS_EPOLL_CREATE1,
	} {
		switch said, lines, code := run(denied, argv); {
		case len(lines) == 0 && code == 0:
			t.Errorf("without system call %d: nothing runs, and all is well: %s", denied, said)
		case len(lines) > 0:
			ran++
			if diff := cmp.Diff(want, pick(lines, names...)); diff != "" {
				t.Errorf("without system call %d (-want +got):\n%s", denied, diff)
			}
		}
	}
	if ran < 8 { // as without nanosleep
		t.Errorf("cat has run only %d times", ran)
	}

	for _, tt := range []struct {
		denied  uintptr
		options []string
		want    string
	}{
		{unix.SYS_SETGROUPS, []string{"-u", "nobody"}, "setgroups: permission denied"},
		{unix.SYS_SETRESGID, []string{"-u", "nobody"}, "setgid: permission denied"},
		{unix.SYS_SETRESUID, []string{"-u", "nobody"}, "setuid: permission denied"},
		{unix.SYS_CAPGET, []string{"-u", "nobody"}, "drop capabilities: permission denied"},
		{unix.SYS_CAPSET, []string{"--keep-caps", ""}, "set capabilities: permission denied"},
		{unix.SYS_PRCTL, []string{"--no-new-privs"}, "set no_new_privs: permission denied"},
		{unix.SYS_PRCTL, []string{"--keep-caps", ""}, "keep capabilities: permission denied"},
		{unix.SYS_CHROOT, []string{"-/", "/"}, "change root directory: permission denied"},
		{unix.SYS_CHDIR, []string{"-C", "/tmp"}, "change directory: /tmp: permission denied"},
		{unix.SYS_FCHDIR, []string{"-e", envdir}, "switch to starting directory: permission denied"},
		{unix.SYS_GETDENTS64, []string{"-e", envdir}, "read directory: " + envdir + ": permission denied"},
		{unix.SYS_SETPRIORITY, []string{"-n", "1"}, "set nice level: permission denied"},
		{unix.SYS_UMASK, []string{"--umask", "0"}, "set umask: permission denied"},
		{unix.SYS_FLOCK, []string{"-l", lock}, "lock: " + lock + ": permission denied"},
		{unix.SYS_PRLIMIT64, []string{"-o", "50"}, "getrlimit(): permission denied"},
	} {
		said, lines, code := run(tt.denied, append(tt.options, "cat", "/proc/self/status"))
		if want := "chpst: fatal: unable to " + tt.want + "\n"; said != want || code != 111 || len(lines) > 0 {
			t.Errorf("%q: exit %d, %q, want %q", tt.options, code, said, want)
		}
	}
}

// TestUnmappedIDs: in a user namespace there are ids that nobody can become.
func TestUnmappedIDs(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	for _, tt := range []struct {
		name      string
		setgroups bool // the namespace permits it
		user      string
		want      string
	}{
		{"groups are refused", false, ":0:0", "setgroups: permission denied"},
		{"a group that is not there", true, ":0:65534", "setgroups: invalid argument"},
		{"a further group that is not there", true, ":0:0:65534", "setgroups: invalid argument"},
		{"a user that is not there", true, ":65534:0", "setuid: invalid argument"},
	} {
		cmd := exec.Command(filepath.Join(bin, "chpst"), "-u", tt.user, "echo", "it runs")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:                 unix.CLONE_NEWUSER,
			UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
			GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
			GidMappingsEnableSetgroups: tt.setgroups,
		}
		out, err := cmd.CombinedOutput()
		if want := "chpst: fatal: unable to " + tt.want + "\n"; err == nil || string(out) != want {
			t.Errorf("%s: %v: %q, want %q", tt.name, err, out, want)
		}
	}
}
