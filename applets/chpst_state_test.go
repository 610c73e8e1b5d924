package applets

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// status reads the lines of a /proc/PID/status.
func status(text []byte) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

// statusOf runs chpst with options and gives the program's /proc/self/status.
func statusOf(t *testing.T, bin string, options ...string) map[string]string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "chpst"), append(options, "cat", "/proc/self/status")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("chpst %q: %v: %s", options, err, stderr.String())
	}
	return status(text)
}

// pick is the part of a status that a test is about.
func pick(from map[string]string, names ...string) map[string]string {
	part := map[string]string{}
	for _, name := range names {
		part[name] = from[name]
	}
	return part
}

// permutations calls f with all orders of words.
func permutations(words [][]string, f func(order []string)) {
	var next func(done []string, left [][]string)
	next = func(done []string, left [][]string) {
		if len(left) == 0 {
			f(done)
		}
		for i := range left {
			rest := slices.Delete(slices.Clone(left), i, i+1)
			next(append(slices.Clip(slices.Clone(done)), left[i]...), rest)
		}
	}
	next(nil, words)
}

// TestNoPrivilegeIsLeft looks at what the program is, for each order of the
// options around -u: nothing of root may be left.
func TestNoPrivilegeIsLeft(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	names := []string{"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "Threads"}
	want := map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "1 1 1 1", "Groups": "1 4", "Threads": "1",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapAmb": "0000000000000000",
	}
	runs := 0
	permutations([][]string{{"-u", "nobody:daemon:adm"}, {"-P", "-n", "2"}, {"-U", "root"}, {"-m", "1000000000"}, {"-o", "50"}}, func(order []string) {
		runs++
		if diff := cmp.Diff(want, pick(statusOf(t, bin, order...), names...)); diff != "" {
			t.Errorf("chpst %q (-want +got):\n%s", order, diff)
		}
	})
	if runs != 120 {
		t.Errorf("%d orders tried, want 120", runs)
	}
	for _, options := range [][]string{ // what else goes with it
		{"-u", ":65534:1:4"},
		{"-/", "/", "-C", "/tmp", "-u", "nobody:daemon:adm"},
		{"-e", t.TempDir(), "-u", "nobody:daemon:adm", "--umask", "022", "-2"},
		{"-unobody:daemon:adm", "--no-new-privs", "--keep-caps", ""},
		{"--user=nobody:daemon:adm", "--oom-score-adj=5"},
		{"-t", "10", "-u", "nobody:daemon:adm", "-p", "1000"},
	} {
		if diff := cmp.Diff(want, pick(statusOf(t, bin, options...), names...)); diff != "" {
			t.Errorf("chpst %q (-want +got):\n%s", options, diff)
		}
	}
}

// TestFailureRunsNothing lets each step fail, before and after other options.
func TestFailureRunsNothing(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	dir := t.TempDir()
	held, err := os.Create(filepath.Join(dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(dir, "marker")
	for _, failing := range [][]string{
		{"-e", "nosuch"}, {"-/", "nosuch"}, {"-C", "nosuch"}, {"-n", "x"}, {"-U", "nosuch"}, {"-u", "nosuch"}, {"-u", ":0:"},
		{"-l", "nosuch/lock"}, {"-L", held.Name()}, {"-m", "x"}, {"--umask", "9"}, {"--umask", "1000"}, {"--oom-score-adj", "1001"},
		{"--oom-score-adj", "x"}, {"--keep-caps", "nosuch"}, {"--groups"}, {"--groups", "-u", ":1:1"}, {"-z"}, {"-0", "-e", "/dev/null"},
	} {
		for _, with := range [][][]string{
			{failing, {"-P"}}, {{"-P"}, failing},
			{failing, {"-n", "1", "-o", "50"}}, {{"-n", "1", "-o", "50"}, failing},
		} {
			cmd := exec.Command(filepath.Join(bin, "chpst"), append(slices.Concat(with...), "touch", marker)...)
			cmd.Dir = dir
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil {
				t.Errorf("%q succeeds", cmd.Args[1:])
			}
			if status := cmd.ProcessState.ExitCode(); status != 100 && status != 111 {
				t.Errorf("%q: exit status %d", cmd.Args[1:], status)
			}
			if stderr.Len() == 0 {
				t.Errorf("%q says nothing", cmd.Args[1:])
			}
			if _, err := os.Stat(marker); err == nil {
				t.Fatalf("%q ran the program", cmd.Args[1:])
			}
		}
	}
}

// inspect runs sleep by chpst with options and calls look with its pid.
func inspect(t *testing.T, cmd *exec.Cmd, look func(proc string)) {
	t.Helper()
	cmd.Args = append(cmd.Args, "sleep", "1000")
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		// It has been loaded when it sleeps.
		if stat, err := os.ReadFile(proc + "/stat"); err != nil || strings.Contains(string(stat), " (sleep) S ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%q does not become sleep: %s", cmd.Args, stderr.String())
		}
	}
	look(proc)
}

// descriptors lists what a process has open.
func descriptors(t *testing.T, proc string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		if open[e.Name()], err = os.Readlink(proc + "/fd/" + e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	return open
}

func TestDescriptors(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	dir := t.TempDir()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	lock := filepath.Join(dir, "lock")
	for _, tt := range []struct {
		options []string
		want    map[string]string
	}{
		{nil, map[string]string{"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}},
		{[]string{"-e", dir, "-U", "nobody", "-/", "/", "-n", "1", "--oom-score-adj", "1"}, map[string]string{"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}},
		{[]string{"-l", lock}, map[string]string{"0": "/dev/null", "1": "/dev/null", "2": "/dev/null", "3": lock}},
		{[]string{"-L", lock, "-0", "-1"}, map[string]string{"2": "/dev/null", "3": lock}},
		{[]string{"-012"}, map[string]string{}},
	} {
		cmd := exec.Command(filepath.Join(bin, "chpst"), tt.options...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
		inspect(t, cmd, func(proc string) {
			got := descriptors(t, proc)
			maps.DeleteFunc(got, func(fd, _ string) bool { return len(fd) > 1 }) // what the tests were called with
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("chpst %q (-want +got):\n%s", tt.options, diff)
			}
		})
	}
}

// softLimits reads the soft limits of a process, as /proc names them.
func softLimits(t *testing.T, proc string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(proc + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	soft := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "Max ") { // the name has 26 columns, the soft limit 21, the hard one 21
			soft[strings.TrimSpace(line[4:26])] = strings.TrimSpace(line[26:47]) + " of " + strings.TrimSpace(line[47:68])
		}
	}
	return soft
}

// TestLimits reads each limit back, and that the others are as they were.
func TestLimits(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	var before map[string]string
	inspect(t, exec.Command(filepath.Join(bin, "chpst")), func(proc string) { before = softLimits(t, proc) })
	inspect(t, exec.Command("/usr/bin/env"), func(proc string) {
		if diff := cmp.Diff(softLimits(t, proc), before); diff != "" {
			t.Errorf("without options (-want +got):\n%s", diff)
		}
	})
	changed := func(names []string, value string) map[string]string {
		want := maps.Clone(before)
		for _, name := range names {
			_, hard, _ := strings.Cut(before[name], " of ")
			soft := value
			if n, err := strconv.ParseUint(hard, 10, 64); err == nil {
				if v, _ := strconv.ParseUint(value, 10, 64); v > n {
					soft = hard
				}
			}
			want[name] = soft + " of " + hard
		}
		return want
	}
	memory := []string{"data size", "stack size", "locked memory", "address space"}
	for _, tt := range []struct {
		applet string
		option string
		value  string
		names  []string
	}{
		{"chpst", "-m", "123456789", memory},
		{"chpst", "--memory", "123456789", memory},
		{"chpst", "-d", "12345678", []string{"data size"}},
		{"chpst", "-o", "77", []string{"open files"}},
		{"chpst", "-p", "777", []string{"processes"}},
		{"chpst", "-f", "4097", []string{"file size"}},
		{"chpst", "-f", "0", []string{"file size"}},
		{"chpst", "-c", "1", []string{"core file size"}},
		{"chpst", "-c", "9223372036854775807", []string{"core file size"}},
		{"chpst", "-r", "5", []string{"resident set"}},
		{"chpst", "-t", "9", []string{"cpu time"}},
		{"softlimit", "-m", "123456789", memory},
		{"softlimit", "-a", "123456789", []string{"address space"}},
		{"softlimit", "-l", "4097", []string{"locked memory"}},
		{"softlimit", "-s", "1234567", []string{"stack size"}},
		{"softlimit", "-r", "5", []string{"resident set"}},
	} {
		inspect(t, exec.Command(filepath.Join(bin, tt.applet), tt.option, tt.value), func(proc string) {
			if diff := cmp.Diff(changed(tt.names, tt.value), softLimits(t, proc)); diff != "" {
				t.Errorf("%s %s %s (-want +got):\n%s", tt.applet, tt.option, tt.value, diff)
			}
		})
	}
}

// TestSmallLimits sets limits under which nothing runs: chpst must get as far
// as exec, and where that fails its message must be said.
func TestSmallLimits(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	big := "BIG=" + strings.Repeat("x", 100000)
	for _, options := range [][]string{
		{"-m", "0"}, {"-m", "1"}, {"-d", "0"}, {"-o", "0"}, {"-f", "0"}, {"-t", "0"}, {"-r", "0"}, {"-c", "0"},
		{"-u", "nobody", "-p", "1"}, {"-u", "nobody", "-p", "0"},
		{"-m", "0", "-o", "0", "-p", "0", "-f", "0", "-c", "0", "-r", "0", "-t", "0"},
	} {
		for range 10 {
			cmd := exec.Command(filepath.Join(bin, "chpst"), append(options, "nosuchprogram")...)
			cmd.Env = []string{"PATH=" + strings.Repeat("/nosuch:", 400), big, "A" + big, "B" + big}
			text, _ := cmd.CombinedOutput()
			got := fmt.Sprint(string(text), cmd.ProcessState.ExitCode())
			if want := "chpst: fatal: unable to run: nosuchprogram: file does not exist\n111"; got != want {
				t.Fatalf("chpst %q: %s, want %s", options, got, want)
			}
		}
	}
	for range 20 {
		if out, err := exec.Command(filepath.Join(bin, "chpst"), "-u", ":54321:54321", "-p", "1", "-P", "echo", "it runs").CombinedOutput(); err != nil || string(out) != "it runs\n" {
			t.Fatalf("under a limit of one process: %v: %s", err, out)
		}
	}
}

// TestLeastLimits: chpst starts under the limits that procenv/README.md names.
func TestLeastLimits(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	for _, sh := range []string{
		"ulimit -v 800000; exec chpst echo it runs",
		"ulimit -d 48000; exec chpst echo it runs",
		"ulimit -Sv 5400; exec chpst -m 1000000000 echo it runs",
		"chpst -u :54322:54322 sh -c 'ulimit -p 6; exec chpst echo it runs'",
		"chpst -p 1 -u :54323:54323 chpst echo it runs",
	} {
		for range 5 {
			cmd := exec.Command("/bin/dash", "-c", sh)
			cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin"}
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "it runs\n" {
				t.Errorf("%s: %v: %.200s", sh, err, out)
			}
		}
	}
}

// TestLimitsOfSupervisors: the limits that chpst takes out of its way while it
// starts are there for every other applet and what it starts.
func TestLimitsOfSupervisors(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := contained(t, exec.Command("/bin/sh", "-c", `ulimit -Sv 3000000; ulimit -Sd 2000000; "$0" runsv . & until test -s out; do sleep 0.05; done; cat out`, exe))
	cmd.Dir = t.TempDir()
	if err := writeFile(filepath.Join(cmd.Dir, "run"), []byte("#!/bin/sh\n{ ulimit -Sv; ulimit -Sd; } >new && mv new out\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "3000000\n2000000\n" {
		t.Errorf("the service's limits: %v: %s", err, out)
	}
}

// TestLongOptions looks at what the options do that runit does not have.
func TestLongOptions(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	zero, all := "0000000000000000", []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}
	same := func(value string) map[string]string {
		want := map[string]string{}
		for _, name := range all {
			want[name] = value
		}
		return want
	}
	for _, tt := range []struct {
		options []string
		want    map[string]string
	}{
		{[]string{"--keep-caps", "", "-u", "nobody"}, same(zero)},
		{[]string{"--keep-caps", "net_bind_service", "-u", "nobody"}, same("0000000000000400")},
		{[]string{"-u", "nobody", "--keep-caps=CAP_NET_BIND_SERVICE,kill", "-P"}, same("0000000000000420")},
		{[]string{"--keep-caps", "kill"}, same("0000000000000020")}, // root remains, but cannot do much
		{[]string{"--keep-caps", ""}, same(zero)},
		{[]string{"--no-new-privs"}, map[string]string{"NoNewPrivs": "1"}},
		{nil, map[string]string{"NoNewPrivs": "0"}},
		{[]string{"--umask", "027"}, map[string]string{"Umask": "0027"}},
		{[]string{"--umask", "0"}, map[string]string{"Umask": "0000"}},
		{[]string{"--user", ":5:6:7", "--nice", "3"}, map[string]string{"Uid": "5 5 5 5", "Gid": "6 6 6 6", "Groups": "6 7"}},
	} {
		var names []string
		for name := range tt.want {
			names = append(names, name)
		}
		if diff := cmp.Diff(tt.want, pick(statusOf(t, bin, tt.options...), names...)); diff != "" {
			t.Errorf("chpst %q (-want +got):\n%s", tt.options, diff)
		}
	}

	out, err := exec.Command(filepath.Join(bin, "chpst"), "--oom-score-adj", "123", "cat", "/proc/self/oom_score_adj").CombinedOutput()
	if err != nil || string(out) != "123\n" {
		t.Errorf("--oom-score-adj: %v: %s", err, out)
	}
	if out, _ := exec.Command(filepath.Join(bin, "chpst"), "-u", "nobody", filepath.Join(bin, "chpst"), "--keep-caps", "", "true").CombinedOutput(); string(out) != "chpst: fatal: unable to drop capability chown: permission denied\n" {
		t.Errorf("--keep-caps as nobody: %s", out)
	}
}

// TestArguments is --args and --stderr: a run script for where there is no shell. The
// kernel passes the name of the script and what it was called with.
func TestArguments(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	dir := t.TempDir()
	chpst := filepath.Join(bin, "chpst")
	show := "sh\n-c\nprintf '<%s>' \"$0\" \"$@\"; echo error >&2\n"
	for _, tt := range []struct {
		about, text string
		args        []string
		want, errs  string
		status      int
	}{
		{"comments and empty lines count for nothing, blanks and quotes for what they are",
			"# a comment\n--umask\n\n077\n" + show + "a b\n 'c'\n#d\n\te#\n", nil, "<a b>< 'c'><\te#>", "error\n", 0},
		{"no newline ends the last line", show + "a\nb", nil, "<a><b>", "error\n", 0},
		{"what it was called with follows", show + "a\n", []string{"-1", "15"}, "<a><-1><15>", "error\n", 0},
		{"standard error joins", "--stderr\n" + show + "a\n", nil, "<a>error\n", "", 0},
		{"it joins before standard output is closed", "-1\n--stderr\nsh\n-c\necho error >&2\n", nil, "error\n", "", 0},
		{"there is no program", "--umask\n077\n", nil, "", "usage: chpst", 100},
		{"an empty file", "", nil, "", "usage: chpst", 100},
		{"it names a file again", "--args\nscript\ntrue\n", nil, "", "usage: chpst", 100},
		{"a NUL", "printf\na\x00b\n", nil, "", "chpst: fatal: unable to read arguments: ./script: a line holds a NUL byte\n", 111},
		{"a program that is not there", "./nosuch\n", nil, "", "chpst: fatal: unable to run: ./nosuch: file does not exist\n", 111},
	} {
		text := "#!" + chpst + " --args\n" + tt.text
		if err := writeFile(filepath.Join(dir, "script"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("./script", tt.args...)
		var out, errs strings.Builder
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
		if err := cmd.Run(); cmd.ProcessState == nil {
			t.Fatal(err)
		}
		said := errs.String()
		if tt.status == 100 && len(said) > len(tt.errs) {
			said = said[:len(tt.errs)]
		}
		if out.String() != tt.want || said != tt.errs || cmd.ProcessState.ExitCode() != tt.status {
			t.Errorf("%s: exit %d, %q, %q", tt.about, cmd.ProcessState.ExitCode(), out.String(), errs.String())
		}
	}
	for command, want := range map[string]string{
		chpst + " --args " + dir + "/nosuch true":        "chpst: fatal: unable to read arguments: " + dir + "/nosuch: file does not exist\n",
		chpst + " --args " + dir + " true":               "chpst: fatal: unable to read arguments: " + dir + ": is a directory\n",
		chpst + " --stderr true 2>&1 >&-":                "chpst: fatal: unable to join stderr to stdout: file descriptor not open\n",
		chpst + " --stderr echo joined 2>&-":             "joined\n",
		chpst + " --stderr sh -c 'echo joined >&2' 2>&-": "joined\n",
	} {
		if out, _ := exec.Command("sh", "-c", command).CombinedOutput(); string(out) != want {
			t.Errorf("%s: %q, want %q", command, out, want)
		}
	}
}

// TestGroups is --groups: who is in which group the group file of a root says.
func TestGroups(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	root := t.TempDir()
	busybox, err := os.ReadFile(peer(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"busybox": string(busybox), "etc/passwd": "who:x:77:78::/:\n",
		"etc/group": "a:x:1:who\nb:x:2:whoever,who\nc:x:3:whoever\nd:x:4:\nwho:x:78:\n",
	} {
		if err := writeFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ user, want string }{
		{"who", "78\n78 1 2\n"},
		{"who:d", "4\n4 78 1 2\n"},
		{"who:b:d", "2\n2 4 78 1\n"},
	} {
		out, err := exec.Command(filepath.Join(bin, "chpst"), "--groups", "-u", tt.user, "-/", root, "/busybox", "sh", "-c", "/busybox id -g; /busybox id -G").CombinedOutput()
		want := sortGroups(tt.want)
		if err != nil || sortGroups(string(out)) != want {
			t.Errorf("--groups -u %s: %v: %s, want %s", tt.user, err, out, tt.want)
		}
	}
	out, err := exec.Command(filepath.Join(bin, "chpst"), "--groups", "-u", "nobody:", "true").CombinedOutput()
	if err == nil || string(out) != "chpst: fatal: unknown user/group: nobody:\n" {
		t.Errorf("--groups with an empty group: %v: %s", err, out)
	}
}

// sortGroups puts the second line in order: the kernel sorts the groups.
func sortGroups(text string) string {
	gid, list, _ := strings.Cut(strings.TrimSpace(text), "\n")
	groups := strings.Fields(list)
	slices.Sort(groups)
	return gid + "\n" + strings.Join(groups, " ")
}

// TestSetlockWaits is what the oracle lines cannot show: the lock is waited
// for, and a wait ends like any program by a signal.
func TestSetlockWaits(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	for _, argv := range [][]string{{"setlock"}, {"setlock", "-N"}, {"setlock", "-nN"}, {"setlock", "-x"}, {"chpst", "-l"}} {
		path := filepath.Join(t.TempDir(), "lock")
		held, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		start := func() *exec.Cmd {
			cmd := exec.Command(filepath.Join(bin, argv[0]), slices.Concat(argv[1:], []string{path, "echo", "got it"})...)
			cmd.Stdout = new(bytes.Buffer)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waiting(t, cmd.Process.Pid, path)
			return cmd
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGQUIT} {
			cmd := start()
			cmd.Process.Signal(sig)
			cmd.Wait()
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
				t.Errorf("%q ends with %v, want by %v", argv, cmd.ProcessState, sig)
			}
		}
		cmd := start()
		held.Close()
		if err := cmd.Wait(); err != nil || cmd.Stdout.(*bytes.Buffer).String() != "got it\n" {
			t.Errorf("%q after the wait: %v: %s", argv, err, cmd.Stdout)
		}
	}
}

// waiting returns when the process sleeps in the wait for the lock on path.
func waiting(t *testing.T, pid int, path string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(locks)) {
			if f := strings.Fields(line); len(f) > 6 && f[1] == "->" && f[5] == strconv.Itoa(pid) {
				return
			}
		}
	}
	t.Fatalf("process %d does not wait for %s", pid, path)
}
