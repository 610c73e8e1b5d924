package applets

import (
	"bytes"
	"context"
	"errors"
	goflag "flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/testdata/aloud"
)

var skip = aloud.Skip

// players are what the test binary is under names that are no applet's: the
// other ends of a test's processes.
var players = map[string]func(argv []string) int{
	"racer":          racer,
	"container-init": containerInit,
	"services-init":  servicesInit,
	"given":          given,
	"refuse":         refuse,
	"stallfs":        stallfs,
	"asklogs":        asklogs,
	"at-exec":        atExec,
}

// TestMain plays the applets: the test binary, called through a link of
// another name, is the suite.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case players[name] != nil:
		os.Exit(players[name](os.Args[1:]))
	case !strings.HasSuffix(name, ".test"):
		os.Exit(Main(os.Args))
	}
	goflag.Parse()
	unignore()
	unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) // what whoever runs the tests has open
	if p := goflag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		goflag.Set("test.parallel", "18") // the tests wait more than they work
	}
	var err error
	if suiteDir, err = os.MkdirTemp("", "runitbox-test"); err == nil {
		err = os.Chmod(suiteDir, 0o755) // some tests become nobody
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	races := filepath.Join(suiteDir, "races")
	if err := errors.Join(makeRaceDir(races), lendTools()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("GORACE", raceSetting(races))
	status := m.Run()
	if reports := raceReports(races); len(reports) > 0 {
		fmt.Fprintln(os.Stderr, "FAIL: the race detector in processes that the tests have started:\n"+strings.Join(reports, "\n"))
		status = 1
	}
	os.RemoveAll(suiteDir)
	os.Exit(status)
}

// raceSetting has the race detector, in a process that was made for it, report
// into files below dir: the process's standard error is a file of the test's or
// nowhere, and nobody asks for its exit code. Nor does it end a second late.
func raceSetting(dir string) string {
	return "log_path=" + filepath.Join(dir, "race") + " atexit_sleep_ms=0"
}

// makeRaceDir makes a place for reports: processes of other users write there too.
func makeRaceDir(dir string) error {
	return errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777))
}

// raceReports reads what the race detector has written into dir.
func raceReports(dir string) (reports []string) {
	paths, _ := filepath.Glob(filepath.Join(dir, "race.*"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		reports = append(reports, string(text))
	}
	return reports
}

// gorace is for the environment of what one test starts: a report of the race
// detector in any of these processes fails the test.
func gorace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(suiteDir, "races")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, report := range raceReports(dir) {
			t.Errorf("the race detector, in a process of this test:\n%s", report)
		}
	})
	return "GORACE=" + raceSetting(dir)
}

// unignore gives the signals that whoever runs the tests ignores their default
// action: what the tests start inherits it.
func unignore() {
	for sig := uintptr(1); sig <= 64; sig++ {
		var action [8]uintptr // the handler first; zero is the default
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		if action[0] == 1 {
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(new([8]uintptr))), 0, 8, 0, 0)
		}
	}
}

// suiteDir holds what the tests share, for as long as they run.
var suiteDir string

// scriptInit is process 1 of a script's PID namespace. Each script begins with it, and
// in no time, since it is not made for the race detector.
var scriptInit = sync.OnceValues(func() (string, error) {
	out := filepath.Join(suiteDir, "script-init")
	cmd := exec.Command("go", "build", "-o", out, "../testdata/scriptinit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	return out, nil
})

// contained makes cmd run in a PID namespace of its own, so that nothing it
// starts outlives it. Without root a user namespace makes that possible; where
// there can be none either, as in some containers, the test is skipped.
func contained(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	needNamespaces(t)
	path, err := exec.LookPath(cmd.Path)
	if err != nil {
		skip(t, "needs "+cmd.Path)
	}
	return containing(cmd, path)
}

// needNamespaces skips where nothing can be contained.
func needNamespaces(t *testing.T) {
	t.Helper()
	if err := namespaces(); err != nil {
		skip(t, "no namespaces can be made here: "+err.Error())
	}
}

// namespaces says why nothing can be contained here.
var namespaces = sync.OnceValue(func() error {
	if text, err := containing(exec.Command("/bin/true"), "/bin/true").CombinedOutput(); err != nil {
		return fmt.Errorf("%w%s", err, bytes.TrimSpace(text))
	}
	return nil
})

// containing is contained, for a program whose path is known.
func containing(cmd *exec.Cmd, path string) *exec.Cmd {
	init, err := scriptInit()
	if err != nil {
		panic(err)
	}
	cmd.Args = append([]string{"script-init", path}, cmd.Args[1:]...)
	cmd.Path, cmd.Err = init, nil
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return cmd
}

// raced is the executable that plays the applets: one made for the race detector where the
// test binary is. That could play them itself, but takes half as long again to begin, as
// thousands of processes do here.
var raced = sync.OnceValues(func() (string, error) {
	if !raceful() {
		return os.Executable()
	}
	out := filepath.Join(suiteDir, "raced", "runitbox")
	if err := os.Mkdir(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-race", "-buildvcs=false", "-o", out, "..")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", build, err, text)
	}
	return out, nil
})

// links is a directory of the applets, each a link to what raced gives, with
// helpers beside them: superuser succeeds for root that is more than root of a user's own
// namespace; eventually repeats a command until it succeeds, for ten
// seconds; frozen PID waits until a process is stopped; dead PID... succeeds where these have
// ended, with all of their threads; not fails where its command succeeds (the shell's own "!"
// does not end a script); hold FILE [GO] keeps FILE from being executed, by a lease, from when
// there is ./taken until there is GO, and makes ./broken when somebody tries;
// refuse CALL ERRNO -- COMMAND... runs a command that the kernel refuses a call (see
// refuse_test.go); stallfs DIR RULES mounts a file system that can be made to hang; asklogs tells a core or a
// host of log services lies (see asklogs_test.go).
var links = sync.OnceValues(func() (string, error) {
	exe, err := raced()
	if err != nil {
		return "", err
	}
	return linksTo(exe, "links")
})

// selfLinks is links with the test binary for all: a liar about log services is believed to
// be a svlogd only where that is the same executable.
var selfLinks = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return linksTo(self, "self")
})

func linksTo(exe, name string) (string, error) {
	dir := filepath.Join(suiteDir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, name := range append(names(), "runitbox") {
		if err := os.Symlink(exe, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"refuse", "stallfs", "asklogs"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	eventually := "#!/bin/sh\nn=0\nuntil \"$@\"; do\n\tn=$((n+1))\n\t[ $n -lt 200 ] || { echo \"never: $*\" >&2; exit 1; }\n\tsleep 0.05\ndone\n"
	hold := `#!/usr/bin/perl
$SIG{IO} = sub { open my $f, '>', 'broken' };
open my $f, '<', $ARGV[0] or die;
# F_SETLEASE, F_WRLCK: when nobody else has it open, as its shell may
select undef, undef, undef, .01 until fcntl $f, 1024, 1;
open my $t, '>', 'taken';
select undef, undef, undef, .01 until -e ($ARGV[1] // 'go');
`
	frozen := "#!/bin/sh\n# A process is not stopped before all of its threads are.\nuntil ! grep -h ^State: /proc/$1/task/*/status | grep -qv 'T (stopped)'; do sleep .01; done\n"
	superuser := "#!/bin/sh\n# Root of a namespace in which there is no other user is root of little.\n[ \"$(id -u)\" = 0 ] && read -r inside outside users </proc/self/uid_map && [ \"$users\" -gt 1 ]\n"
	dead := "#!/bin/sh\n# As long as one of its threads has not ended the files of a process are open, and its locks held.\nfor p; do ! cat /proc/$p/task/*/status 2>/dev/null | grep ^State: | grep -qv Z || exit 1; done\n"
	not := "#!/bin/sh\nif \"$@\"; then exit 1; fi\n"
	return dir, errors.Join(
		writeFile(filepath.Join(dir, "eventually"), []byte(eventually), 0o755),
		writeFile(filepath.Join(dir, "frozen"), []byte(frozen), 0o755),
		writeFile(filepath.Join(dir, "dead"), []byte(dead), 0o755),
		writeFile(filepath.Join(dir, "hold"), []byte(hold), 0o755),
		writeFile(filepath.Join(dir, "superuser"), []byte(superuser), 0o755),
		writeFile(filepath.Join(dir, "not"), []byte(not), 0o755))
}

// callers puts a directory with sv and chpst as users get them before bin, where what stands
// there is made for the race detector: scripts call these two by the thousand, and such a
// process takes ten times as long to begin. What is about sv itself is not to ask for them,
// but where it only asks again and again: there $CALLERS names that directory.
func callers(bin string) (string, error) {
	if !raceful() {
		return bin, nil
	}
	dir, err := callersDir()
	return dir + ":" + bin, err
}

var callersDir = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(suiteDir, "callers")
	exe, err := binary()
	if err != nil {
		return "", err
	}
	return dir, errors.Join(os.Mkdir(dir, 0o755), os.Symlink(exe, filepath.Join(dir, "sv")), os.Symlink(exe, filepath.Join(dir, "chpst")))
})

// binary is the static executable as users get it, built once for a test run.
// With RUNITBOX_RACE in the environment it is made for the race detector instead:
// not all tests can be right then, but what it reports is.
var binary = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(suiteDir, "build")
	out := filepath.Join(dir, "runitbox")
	build := exec.Command("make", "-C", "..", "build", "OUT="+dir)
	if os.Getenv("RUNITBOX_RACE") != "" {
		build = exec.Command("go", "build", "-race", "-buildvcs=false", "-o", out, "..")
	}
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", build, err, text)
	}
	return out, nil
})

// tools are the programs that shell scripts of tests call, by this name or through
// a helper of it, and that a small system lacks.
var tools = map[string]string{"ps": "ps", "pgrep": "pgrep", "perl": "perl", "hold": "perl", "xz": "xz", "bash": "bash", "setsid": "setsid"}

// needTools skips where a shell script calls what is not here.
func needTools(t *testing.T, sh string) {
	t.Helper()
	calls := func(word string) bool {
		return regexp.MustCompile(`(^|[\s;&|($/])` + word + `\s`).MatchString(sh)
	}
	for word, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil && calls(word) {
			skip(t, "needs "+tool)
		}
	}
	if calls("stallfs") {
		needFuse(t)
	}
}

// lendTools puts those tools into PATH that are not here but have been fetched
// beside the peers. They are copied to where every user can reach them, with the
// libraries that came with them, and work wherever the directory is mounted.
func lendTools() error {
	dir := lentTools()
	files := map[string]string{}
	for _, pattern := range []string{"lib/*/libproc*", "usr/lib/*/libproc*"} {
		libs, _ := filepath.Glob(filepath.Join(peersDir(), pattern))
		for _, lib := range libs {
			files[filepath.Join("lib", filepath.Base(lib))] = lib
		}
	}
	errs := []error{os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(dir, "lib"), 0o755)}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err == nil || files[filepath.Join("lib", tool)] != "" {
			continue
		}
		if path := fetched(tool); path != "" {
			files[filepath.Join("lib", tool)] = path
			wrapper := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH=${0%%/*}/lib exec ${0%%/*}/lib/%s \"$@\"\n", tool)
			errs = append(errs, writeFile(filepath.Join(dir, tool), []byte(wrapper), 0o755))
		}
	}
	for to, from := range files {
		errs = append(errs, copyFile(filepath.Join(dir, to), from))
	}
	return errors.Join(append(errs, os.Setenv("PATH", os.Getenv("PATH")+":"+dir))...)
}

// lentTools is the directory of what lendTools lends.
func lentTools() string { return filepath.Join(suiteDir, "tools") }

// peersDir is what make peers has fetched.
func peersDir() string {
	if dir := os.Getenv("RUNITBOX_PEERS"); dir != "" {
		return dir
	}
	return "../build/peers"
}

// fetched finds a program that make peers has fetched.
func fetched(name string) string {
	for _, dir := range []string{"usr/bin", "usr/sbin", "bin", "sbin", "lib/runit", "usr/lib/runit"} {
		path, err := filepath.Abs(filepath.Join(peersDir(), dir, name))
		if err != nil {
			return ""
		}
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// peer finds a program of Debian's to compare with, or skips.
func peer(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		skip(t, "compares with "+name)
	}
	path := fetched(name)
	if path == "" {
		skip(t, "no "+name+" among the peers (make peers)")
	}
	return path
}

// script runs one file of testdata with the programs of bin first in PATH. The
// file is a shell script, run with -e, and after it the files it needs:
//
//	sv start ./web
//	-- web/run --
//	#!/bin/sh
//	exec sleep 1000
//
// Files called run, finish, check, or below control/ or bin/ are executable. It has the
// functions of scriptHelpers.
func script(t *testing.T, path, bin string) {
	t.Helper()
	if err := tryScript(t, path, bin); err != nil {
		t.Error(err)
	}
}

// tryScript is script for who plays it again where it fails.
func tryScript(t *testing.T, path, bin string) error {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	needTools(t, string(text))
	dir := t.TempDir()
	body, files := unpack(string(text))
	for name, content := range files {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		switch base, parent := filepath.Base(to), filepath.Base(filepath.Dir(to)); {
		case base == "run", base == "finish", base == "check", parent == "control", parent == "bin":
			mode = 0o755
		}
		if err := writeFile(to, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // what hangs is told with what it said
	defer cancel()
	cmd := contained(t, exec.CommandContext(ctx, "/bin/sh", "-ex"))
	cmd.Dir = dir
	often, err := callers(bin)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CALLERS="+often, "T="+dir, "SVDIR=", "TZ=UTC", "LC_ALL=C", gorace(t))
	moments := filepath.Join(t.TempDir(), "moments")
	stop, err := serveMoments(moments)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cmd.Stdin = strings.NewReader("MOMENTS=" + moments + "\n" + scriptHelpers + body)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", path, err, out.String())
	}
	return nil
}

// scriptHelpers are what scripts do by the thousand, without a process for each time: moment
// waits for a twentieth of a second, text FILE... says what is in small files.
const scriptHelpers = `moment() { read -r line <"$MOMENTS" || test $? = 1; }
text() { unread=0; for file; do { while IFS= read -r line; do printf '%s\n' "$line"; done; printf %s "$line"; } <"$file" || unread=1; done; return $unread; }
`

// serveMoments makes a FIFO: who reads from it is at its end after a twentieth of a second at
// most. stop ends that.
func serveMoments(path string) (stop func(), err error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, err
	}
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			fd, _ := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0) // waits for a reader
			if !over.Load() {
				time.Sleep(50 * time.Millisecond)
			}
			unix.Close(fd)
		}
	}()
	return func() {
		over.Store(true)
		fd, _ := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		<-ended
		unix.Close(fd)
	}, nil
}

// writeFile is os.WriteFile for what may be executed. No process is forked
// meanwhile: it would have the file open for writing until it executes
// something, and a file so opened is not executed ("text file busy").
func writeFile(path string, text []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, mode)
}

// unpack parts a script from the files below it.
func unpack(text string) (body string, files map[string]string) {
	files = map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			if n, ok := strings.CutSuffix(strings.TrimRight(rest, "\n"), " --"); ok {
				name = n
				files[name] = ""
				continue
			}
		}
		if name == "" {
			body += line
		} else {
			files[name] += line
		}
	}
	return body, files
}

// TestScripts runs testdata/scripts: the whole programs, on real processes.
func TestScripts(t *testing.T) {
	t.Parallel()
	all, err := links()
	if err != nil {
		t.Fatal(err)
	}
	fast, err := callers(all)
	if err != nil {
		t.Fatal(err)
	}
	self, err := selfLinks()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../testdata/scripts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		name, bin := strings.TrimSuffix(filepath.Base(path), ".txt"), fast
		switch {
		case strings.HasPrefix(name, "sv-"):
			bin = all
		case name == "log-host-security", name == "log-host-settle-security":
			bin = self
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script(t, path, bin)
		})
	}
}
