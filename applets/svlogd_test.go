package applets

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// loggerRun is a svlogd that runs, ours or another's.
type loggerRun struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	in     *os.File // the pipe into it; nil if the caller has another input
	mu     sync.Mutex
	errs   bytes.Buffer
	exited chan struct{}
	racy   bool // it is runit's
}

// Write takes what it says on stderr.
func (r *loggerRun) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.Write(b)
}

// said is what it has said on stderr.
func (r *loggerRun) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.String()
}

// startLogger starts a svlogd in dir with a pipe as its input.
func startLogger(t *testing.T, program, dir string, args ...string) *loggerRun {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := startLoggerOn(t, program, dir, in, args...)
	r.in = out
	t.Cleanup(func() { out.Close() })
	return r
}

// startLoggerOn starts a svlogd with an input of the caller's.
func startLoggerOn(t *testing.T, program, dir string, in *os.File, args ...string) *loggerRun {
	t.Helper()
	return startLoggerWith(t, program, dir, in, nil, args...)
}

// startLoggerWith starts a svlogd with an input and a stderr of the caller's.
func startLoggerWith(t *testing.T, program, dir string, in, stderr *os.File, args ...string) *loggerRun {
	t.Helper()
	r := &loggerRun{t: t, dir: dir, exited: make(chan struct{})}
	r.cmd = exec.Command(program)
	r.cmd.Args = append([]string{filepath.Base(program)}, args...)
	r.cmd.Dir, r.cmd.Stdin, r.cmd.Stderr = dir, in, r
	if stderr != nil {
		r.cmd.Stderr = stderr
	}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	r.cmd.WaitDelay = 5 * time.Second // a processor that outlives it may hold stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		close(r.exited)
	}()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.exited
	})
	return r
}

func (r *loggerRun) write(text string) {
	r.t.Helper()
	if _, err := r.in.WriteString(text); err != nil {
		r.t.Fatal(err)
	}
}

// signal sends a signal. Runit's svlogd must be asleep then: it loses one that
// comes between its look at the signals and its poll.
func (r *loggerRun) signal(sig syscall.Signal) {
	r.t.Helper()
	if r.racy {
		r.until("sleeps", func() bool {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
			return err != nil || bytes.Contains(text, []byte(") S "))
		})
	}
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for a condition.
func (r *loggerRun) until(what string, cond func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s never %s; stderr:\n%s", r.cmd.Path, what, r.said())
		}
	}
}

// says waits until it has said text, n times.
func (r *loggerRun) says(text string, n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("says %q %d times", text, n), func() bool { return strings.Count(r.said(), text) >= n })
}

// has waits until a file has a content.
func (r *loggerRun) has(name, content string) {
	r.t.Helper()
	r.until(fmt.Sprintf("has %q in %s", content, name), func() bool {
		b, err := os.ReadFile(filepath.Join(r.dir, name))
		return err == nil && string(b) == content
	})
}

// wait waits for its end and returns the exit status.
func (r *loggerRun) wait() int {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(20 * time.Second):
		r.t.Fatalf("svlogd does not end; stderr:\n%s", r.said())
	}
	return r.cmd.ProcessState.ExitCode()
}

// succeeds waits for the end, which is to be one with status 0.
func (r *loggerRun) succeeds() {
	r.t.Helper()
	if status := r.wait(); status != 0 {
		r.t.Errorf("exit %d", status)
	}
}

// end closes the input and waits.
func (r *loggerRun) end() int {
	r.t.Helper()
	r.in.Close()
	return r.wait()
}

// startClosed starts a svlogd whose standard input is closed.
func startClosed(t *testing.T, program, dir string, args ...string) *loggerRun {
	t.Helper()
	return startLogger(t, "/bin/sh", dir, append([]string{"-c", `exec "$0" "$@" <&-`, program}, args...)...)
}

var (
	taiStamps   = regexp.MustCompile(`@4[0-9a-f]{23}`)
	versionID   = regexp.MustCompile(`\$Id: [0-9a-f]+ \$`)
	clockStamps = regexp.MustCompile(`\d{4}-\d\d-\d\d[T_]\d\d:\d\d:\d\d\.\d{5}`)
)

// portrait is all that a run leaves: exit status, stderr, files. The names of
// old logs are numbered in their order. How often in a row a step was tried is
// left out: that depends on the time.
func portrait(t *testing.T, dir string, status int, stderr string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "exit %d\n", status)
	last := ""
	for line := range strings.Lines(versionID.ReplaceAllString(stderr, "$$Id$$")) {
		again := strings.HasPrefix(line, "svlogd: pausing: ") || strings.HasPrefix(line, "svlogd: warning: processor failed")
		if !again || line != last {
			b.WriteString(line)
		}
		last = line
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			fmt.Fprintf(&b, "%s/\n", name)
			return nil
		}
		if d.Name() == "config" {
			return nil
		}
		text, err := os.ReadFile(path)
		if len(text) > 200 {
			text = fmt.Appendf(nil, "%d bytes", len(text))
		}
		fmt.Fprintf(&b, "%s %03o %q\n", name, info.Mode().Perm(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text := clockStamps.ReplaceAllString(b.String(), "CLOCK")
	stamps := taiStamps.FindAllString(text, -1)
	slices.Sort(stamps)
	stamps = slices.Compact(stamps)
	return taiStamps.ReplaceAllStringFunc(text, func(s string) string {
		return fmt.Sprintf("@%d", slices.Index(stamps, s)+1)
	})
}

// The chosen differences from runit's svlogd, by the cases of TestSvlogd that
// show them. What the case wants is ours; this is what runit's does instead.
var runitSvlogd = map[string]string{
	// The last line is never dropped.
	"partial last line":            "exit 0\nd/\nd/current 744 \"one\\n\"\nd/lock 600 \"\"\n",
	"partial line shorter than -l": "exit 0\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n",
	// A line that fits into one file is not parted.
	"size below len": "exit 0\nd/\nd/@1.s 744 \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\\nccccccccccccccccccccccccccccc\\ndddddddddd\"\nd/current 744 \"ddddddddddddddddddd\\n\"\nd/lock 600 \"\"\n",
	// U with an address that does not make sense: the lines go into the file.
	"bad address": "exit 0\nsvlogd: warning: unable to scan ip address: foo\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n",
	"bad port":    "exit 0\nsvlogd: warning: unable to scan port number: 0\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n",
	// A killed processor has failed, and one that has failed rests before the next attempt.
	"processor is killed": "exit 0\nd/\nd/@1.s 744 \"more than \"\nd/again 644 \"\\n\"\nd/current 744 \"\"\nd/lock 600 \"\"\nd/state 644 \"\"\n",
	"processor fails":     "exit 0\nsvlogd: warning: processor failed, restart: d\nd/\nd/@1.s 744 \"A\\n\"\nd/current 744 \"\"\nd/go 644 \"\"\nd/lock 600 \"\"\nd/state 644 \"\"\nrests 644 \"no rest\\n\"\n",
	// A HUP does not make it forget the processor that runs.
	"HUP while a processor runs": "exit 0\nsvlogd: warning: unable to read config: d: is a directory\nd/\nd/@1.t 644 \"a\\n\"\nd/@1.u 744 \"a\\n\"\nd/config/\nd/current 744 \"b\\n\"\nd/go 644 \"\"\nd/lock 600 \"\"\nd/newstate 644 \"\"\nd/state 644 \"\"\n",
	// Rules that are no more in the config are no more in force.
	"HUP without rules for stderr": "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: new: d/current\na\nsvlogd: info: sighangup received.\nsvlogd: info: close: d\nsvlogd: info: read: d/config\nsvlogd: info: append: d/current\nb\nsvlogd: info: close: d\nd/\nd/current 744 \"a\\nb\\n\"\nd/lock 600 \"\"\n",
	// TERM ends it while it pauses.
	"current is a directory": "exit -1\nsvlogd: pausing: unable to open current: d: is a directory\nd/\nd/current/\nd/lock 600 \"\"\n",
	// Nothing else is read in place of an input that is closed.
	"closed input": "exit 0\nsvlogd: warning: unable to read standard input: is a directory\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n",
	// Each has a version of its own.
	"version": "exit 111\n$Id$\nusage: svlogd [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n",
}

// TestSvlogd runs the same through Debian's svlogd and ours.
func TestSvlogd(t *testing.T) {
	t.Parallel()
	mode := func(r string, mode os.FileMode) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, r), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	const usage = "usage: svlogd [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"
	cases := map[string]bool{}
	hundred := strings.Repeat(strings.Repeat("a", 99)+"\n", 100)
	for _, tt := range []struct {
		name  string
		args  []string
		files map[string]string // a name that ends in / is a directory
		setup func(t *testing.T, dir string)
		start func(t *testing.T, program, dir string, args ...string) *loggerRun // startLogger if nil
		input string
		drive func(r *loggerRun)
		want  string
	}{
		{name: "no argument", want: "exit 111\n" + usage},
		{name: "illegal option", args: []string{"-x", "d"}, want: "exit 111\nsvlogd: illegal option -- x\n" + usage},
		{name: "no help", args: []string{"-h", "d"}, want: "exit 111\nsvlogd: illegal option -- h\n" + usage},
		{name: "missing argument", args: []string{"-l"}, want: "exit 111\nsvlogd: option requires an argument -- l\n" + usage},
		{name: "len as large as buflen", args: []string{"-l", "1024", "d"}, files: map[string]string{"d/": ""}, want: "exit 111\n" + usage + "d/\n"},
		{name: "two bytes for -r", args: []string{"-r", "ab", "d"}, want: "exit 111\n" + usage},
		{name: "no byte for -r", args: []string{"-r", "", "d"}, want: "exit 111\n" + usage},
		{name: "no directory", args: []string{"nosuch"}, want: "exit 111\nsvlogd: warning: unable to open log directory: nosuch: file does not exist\nsvlogd: fatal: no functional log directories.\n"},
		{name: "a file as directory", args: []string{"f"}, files: map[string]string{"f": ""}, want: "exit 111\nsvlogd: warning: unable to change directory: f: not a directory\nsvlogd: fatal: no functional log directories.\nf 644 \"\"\n"},
		{name: "one of two directories", args: []string{"-v", "d", "nosuch"}, files: map[string]string{"d/": ""},
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: warning: unable to open log directory: nosuch: file does not exist\nsvlogd: info: close: d\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "the same directory twice", args: []string{"d", "d"}, files: map[string]string{"d/": ""}, input: "x\n",
			want: "exit 0\nsvlogd: warning: unable to lock directory: d: temporary failure\nd/\nd/current 744 \"x\\n\"\nd/lock 600 \"\"\n"},
		{name: "first use", args: []string{"d"}, files: map[string]string{"d/": ""}, input: "foo\n", want: "exit 0\nd/\nd/current 744 \"foo\\n\"\nd/lock 600 \"\"\n"},
		{name: "partial last line", args: []string{"d"}, files: map[string]string{"d/": ""}, input: "one\ntwo", want: "exit 0\nd/\nd/current 744 \"one\\ntwo\\n\"\nd/lock 600 \"\"\n"},
		{name: "partial line as long as -l", args: []string{"-l", "10", "d"}, files: map[string]string{"d/": ""}, input: "abcdefghij", want: "exit 0\nd/\nd/current 744 \"abcdefghij\\n\"\nd/lock 600 \"\"\n"},
		{name: "partial line longer than -l", args: []string{"-l", "10", "d"}, files: map[string]string{"d/": ""}, input: "abcdefghijKLM", want: "exit 0\nd/\nd/current 744 \"abcdefghijKLM\\n\"\nd/lock 600 \"\"\n"},
		{name: "partial line shorter than -l", args: []string{"-l10", "d"}, files: map[string]string{"d/": ""}, input: "abcdefghi", want: "exit 0\nd/\nd/current 744 \"abcdefghi\\n\"\nd/lock 600 \"\"\n"},
		{name: "empty lines", args: []string{"-ttt", "d"}, files: map[string]string{"d/": ""}, input: "\n\nx\n", want: "exit 0\nd/\nd/current 744 \"CLOCK \\nCLOCK \\nCLOCK x\\n\"\nd/lock 600 \"\"\n"},
		{name: "more than three -t", args: []string{"-tttttv", "--", "d"}, files: map[string]string{"d/": ""}, input: "x\n", want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: close: d\nd/\nd/current 744 \"CLOCK x\\n\"\nd/lock 600 \"\"\n"},
		{name: "TAI64N", args: []string{"-t", "d"}, files: map[string]string{"d/": ""}, input: "x\n", want: "exit 0\nd/\nd/current 744 \"@1 x\\n\"\nd/lock 600 \"\"\n"},
		{name: "replace", args: []string{"-l", "10", "-r", ".", "d"}, files: map[string]string{"d/": ""}, input: "ab\tdefghijKL\tM\303\251\n", want: "exit 0\nd/\nd/current 744 \"ab.defghijKL\\tMé\\n\"\nd/lock 600 \"\"\n"},
		{name: "replace others", args: []string{"-R", ":", "d"}, files: map[string]string{"d/": ""}, input: "a_b:c\t\n", want: "exit 0\nd/\nd/current 744 \"a_b_c_\\n\"\nd/lock 600 \"\"\n"},
		{name: "replace nothing else", args: []string{"-R", "", "d"}, files: map[string]string{"d/": ""}, input: "a:\x7fc\n", want: "exit 0\nd/\nd/current 744 \"a:_c\\n\"\nd/lock 600 \"\"\n"},
		{name: "stderr", args: []string{"-tt", "-l", "10", "d"}, files: map[string]string{"d/config": "e*\nEno*\n"}, input: "hello\nnot this\n0123456789\n01234567890\n",
			want: "exit 0\nCLOCK hello\nCLOCK 0123456789...\nCLOCK 0123456789...\nd/\nd/current 744 \"CLOCK hello\\nCLOCK not this\\nCLOCK 0123456789\\nCLOCK 01234567890\\n\"\nd/lock 600 \"\"\n"},
		{name: "patterns", args: []string{"d"}, files: map[string]string{"d/config": "-*\n+*: *: pid *\n+abc\n-+ab\n"}, input: "tcpsvd: info: pid 1 x\nabc\naab\nxyz\nabcd\n",
			want: "exit 0\nd/\nd/current 744 \"tcpsvd: info: pid 1 x\\nabc\\n\"\nd/lock 600 \"\"\n"},
		{name: "head only is matched", args: []string{"-l", "4", "d"}, files: map[string]string{"d/config": "-abcd\n"}, input: "abcdefgh\nabc\n", want: "exit 0\nd/\nd/current 744 \"abc\\n\"\nd/lock 600 \"\"\n"},
		{name: "prefix", args: []string{"-tt", "d"}, files: map[string]string{"d/config": "pweb: \ne*\n"}, input: "x\n", want: "exit 0\nCLOCK web: x\nd/\nd/current 744 \"CLOCK web: x\\n\"\nd/lock 600 \"\"\n"},
		{name: "unclean current", args: []string{"-v", "d"}, files: map[string]string{"d/current": "crashed\n"}, input: "new\n",
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: close: d\nd/\nd/@1.u 644 \"crashed\\n\"\nd/current 744 \"new\\n\"\nd/lock 600 \"\"\n"},
		{name: "empty current", args: []string{"-v", "d"}, files: map[string]string{"d/current": ""}, input: "new\n",
			want: "exit 0\nsvlogd: info: append: d/current\nsvlogd: info: close: d\nd/\nd/current 744 \"new\\n\"\nd/lock 600 \"\"\n"},
		{name: "clean current", args: []string{"-v", "d"}, files: map[string]string{"d/current": "old\n"}, setup: mode("d/current", 0o700), input: "new\n",
			want: "exit 0\nsvlogd: info: append: d/current\nsvlogd: info: close: d\nd/\nd/current 744 \"old\\nnew\\n\"\nd/lock 600 \"\"\n"},
		{name: "size below len", args: []string{"d"}, files: map[string]string{"d/config": "s100\n"},
			input: strings.Repeat("a", 29) + "\n" + strings.Repeat("b", 29) + "\n" + strings.Repeat("c", 29) + "\n" + strings.Repeat("d", 29) + "\n",
			want:  "exit 0\nd/\nd/@1.s 744 \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\\nccccccccccccccccccccccccccccc\\n\"\nd/current 744 \"ddddddddddddddddddddddddddddd\\n\"\nd/lock 600 \"\"\n"},
		{name: "size", args: []string{"d"}, files: map[string]string{"d/config": "s2000\nn3\n"}, input: hundred,
			want: "exit 0\nd/\nd/@1.s 744 \"1000 bytes\"\nd/@2.s 744 \"1000 bytes\"\nd/@3.s 744 \"1000 bytes\"\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "size with a short len", args: []string{"-l", "100", "d"}, files: map[string]string{"d/config": "s2000\nn3\n"}, input: strings.Repeat(strings.Repeat("a", 98)+"\n", 100),
			want: "exit 0\nd/\nd/@1.s 744 \"1980 bytes\"\nd/@2.s 744 \"1980 bytes\"\nd/@3.s 744 \"1980 bytes\"\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "rotation is told", args: []string{"-v", "d"}, files: map[string]string{"d/config": "s2000\nn2\n"}, input: hundred[:3500],
			want: "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: new: d/current\nsvlogd: info: rename: d/current @1.s 1000\nsvlogd: info: rename: d/current @2.s 1000\nsvlogd: info: rename: d/current @3.s 1000\nsvlogd: info: delete: d/@1.s\nsvlogd: info: close: d\nd/\nd/@2.s 744 \"1000 bytes\"\nd/@3.s 744 \"1000 bytes\"\nd/current 744 \"500 bytes\"\nd/lock 600 \"\"\n"},
		{name: "current is too large", args: []string{"-v", "d"}, files: map[string]string{"d/config": "s2000\n", "d/current": strings.Repeat("x", 4999) + "\n"}, setup: mode("d/current", 0o744), input: "new\n",
			want: "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: append: d/current\nsvlogd: info: rename: d/current @1.s 5000\nsvlogd: info: close: d\nd/\nd/@1.s 744 \"5000 bytes\"\nd/current 744 \"new\\n\"\nd/lock 600 \"\"\n"},
		{name: "config is a directory", args: []string{"d"}, files: map[string]string{"d/config/": ""}, input: "x\n",
			want: "exit 0\nsvlogd: warning: unable to read config: d: is a directory\nd/\nd/config/\nd/current 744 \"x\\n\"\nd/lock 600 \"\"\n"},
		{name: "directory with slashes", args: []string{"-v", "./d/e//"}, files: map[string]string{"d/e/": ""}, input: "x\n",
			want: "exit 0\nsvlogd: info: new: ./d/e///current\nsvlogd: info: close: ./d/e//\nd/\nd/e/\nd/e/current 744 \"x\\n\"\nd/e/lock 600 \"\"\n"},
		{name: "here", args: []string{"."}, files: map[string]string{"config": "p>\n"}, input: "x\n", want: "exit 0\ncurrent 744 \">x\\n\"\nlock 600 \"\"\n"},
		{name: "bad address", args: []string{"d"}, files: map[string]string{"d/config": "Ufoo\n"}, input: "x\n",
			want: "exit 0\nsvlogd: warning: unable to scan ip address: foo\nd/\nd/current 744 \"x\\n\"\nd/lock 600 \"\"\n"},
		{name: "bad port", args: []string{"d"}, files: map[string]string{"d/config": "U127.0.0.1:0\n"}, input: "x\n",
			want: "exit 0\nsvlogd: warning: unable to scan port number: 0\nd/\nd/current 744 \"x\\n\"\nd/lock 600 \"\"\n"},
		{name: "leftovers of processors", args: []string{"d"}, files: map[string]string{"d/config": "s2000\n", "d/@400000006b034ba322cffacc.t": "x", "d/@400000006b034ba322cffacd.u": "y"}, input: hundred[:1000],
			want: "exit 0\nd/\nd/@1.u 644 \"y\"\nd/@2.s 744 \"1000 bytes\"\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "two logs", args: []string{"d", "e"}, files: map[string]string{"d/config": "-b*\n", "e/config": "-*\n+b*\npe:\n"}, input: "a\nb\n",
			want: "exit 0\nd/\nd/current 744 \"a\\n\"\nd/lock 600 \"\"\ne/\ne/current 744 \"e:b\\n\"\ne/lock 600 \"\"\n"},
		{name: "ALRM on an empty current", args: []string{"-v", "d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.says("new: ", 1)
				r.signal(unix.SIGALRM)
				r.says("sigalarm", 1)
			},
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: sigalarm received.\nsvlogd: info: close: d\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "ALRM", args: []string{"-v", "d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.signal(unix.SIGALRM)
				r.says("rename: ", 1)
				r.write("b\n")
				r.has("d/current", "b\n")
			},
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: sigalarm received.\nsvlogd: info: rename: d/current @1.s 2\nsvlogd: info: close: d\nd/\nd/@1.s 744 \"a\\n\"\nd/current 744 \"b\\n\"\nd/lock 600 \"\"\n"},
		{name: "HUP", args: []string{"-v", "d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				if err := os.WriteFile(filepath.Join(r.dir, "d/config"), []byte("pnow: \n"), 0o644); err != nil {
					r.t.Fatal(err)
				}
				r.signal(unix.SIGHUP)
				r.says("append: ", 1)
				r.write("b\n")
				r.has("d/current", "a\nnow: b\n")
			},
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: sighangup received.\nsvlogd: info: close: d\nsvlogd: info: read: d/config\nsvlogd: info: append: d/current\nsvlogd: info: close: d\nd/\nd/current 744 \"a\\nnow: b\\n\"\nd/lock 600 \"\"\n"},
		{name: "HUP without the directory", args: []string{"d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				os.Rename(filepath.Join(r.dir, "d"), filepath.Join(r.dir, "gone"))
				r.signal(unix.SIGHUP)
				r.wait()
			},
			want: "exit 111\nsvlogd: warning: unable to open log directory: d: file does not exist\nsvlogd: fatal: no functional log directories.\ngone/\ngone/current 744 \"a\\n\"\ngone/lock 600 \"\"\n"},
		{name: "TERM", args: []string{"-v", "d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.signal(unix.SIGTERM)
				r.wait()
			},
			want: "exit 0\nsvlogd: info: new: d/current\nsvlogd: info: sigterm received.\nsvlogd: info: close: d\nd/\nd/current 744 \"a\\n\"\nd/lock 600 \"\"\n"},
		{name: "KILL", args: []string{"d"}, files: map[string]string{"d/": ""},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.signal(unix.SIGINT)
				r.wait()
				os.Remove(filepath.Join(r.dir, "d/.svlogd")) // ours exists as long as the logger has not ended in order
			},
			want: "exit -1\nd/\nd/current 644 \"a\\n\"\nd/lock 600 \"\"\n"},
		{name: "processor", args: []string{"d"}, files: map[string]string{"d/config": "s2000\n!tr a-z A-Z; cat <&4 >&5; echo run >&5\n"}, input: hundred[:2000],
			want: "exit 0\nd/\nd/@1.s 744 \"1000 bytes\"\nd/@2.s 744 \"1000 bytes\"\nd/current 744 \"\"\nd/lock 600 \"\"\nd/state 644 \"run\\nrun\\n\"\n"},
		{name: "processor's descriptors and directory", args: []string{"d"},
			files: map[string]string{"d/config": "!pwd | grep -c '/d$'; ls -l /proc/self/fd | grep -v ' 3 ->' | sed -n 's/.* \\([0-9]*\\) -> .*\\/\\([a-z@].*\\)/\\1 \\2/p' | sed 's/@.*[.]/@X./; s/^2 .*//' | sort | grep '^[045] ' >&5; exit 0\n"},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.signal(unix.SIGALRM)
				r.until("is processed", func() bool {
					found, _ := filepath.Glob(filepath.Join(r.dir, "d/@*.s"))
					_, err := os.Stat(filepath.Join(r.dir, "d/newstate"))
					return len(found) == 1 && err != nil
				})
			},
			want: "exit 0\nd/\nd/@1.s 744 \"1\\n\"\nd/current 744 \"\"\nd/lock 600 \"\"\nd/state 644 \"0 @X.u\\n4 state\\n5 newstate\\n\"\n"},
		{name: "version", args: []string{"-V", "d"}, want: "exit 111\nrunitbox " + version + "\n" + usage},
		{name: "closed input", args: []string{"d"}, files: map[string]string{"d/": ""}, start: startClosed, want: "exit 0\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "a second logger", args: []string{"d"}, files: map[string]string{"d/": ""}, setup: lockedBySomebody,
			want: "exit 111\nsvlogd: warning: unable to lock directory: d: temporary failure\nsvlogd: fatal: no functional log directories.\nd/\nd/lock 600 \"\"\n"},
		{name: "UDP", args: []string{"-tt", "-l", "10", "d"}, files: map[string]string{"d/": ""}, setup: listens("u", "pPFX: \n"),
			drive: func(r *loggerRun) { received(r, "hello\n0123456789\n\n01234567890\n", 4) },
			want:  "exit 0\nd/\nd/current 744 \"CLOCK PFX: hello\\nCLOCK PFX: 0123456789\\nCLOCK PFX: \\nCLOCK PFX: 01234567890\\n\"\nd/lock 600 \"\"\ndatagrams 644 \">CLOCK PFX: hello\\n>CLOCK PFX: 0123456789...\\n>CLOCK PFX: \\n>CLOCK PFX: 0123456789...\\n\"\n"},
		{name: "UDP only", args: []string{"d"}, files: map[string]string{"d/": ""}, setup: listens("U", ""),
			drive: func(r *loggerRun) { received(r, "hello\n", 1) },
			want:  "exit 0\nd/\nd/current 744 \"\"\nd/lock 600 \"\"\ndatagrams 644 \">hello\\n\"\n"},
		{name: "age", args: []string{"-v", "d"}, files: map[string]string{"d/config": "t2\n"}, drive: grows(2 * time.Second), want: "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: new: d/current\nsvlogd: info: rename: d/current @1.s 2\nsvlogd: info: rename: d/current @2.s 2\nsvlogd: info: close: d\nd/\nd/@1.s 744 \"a\\n\"\nd/@2.s 744 \"b\\n\"\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "a day is no age", args: []string{"-v", "d"}, files: map[string]string{"d/config": "t1d\n"}, drive: grows(time.Second), want: "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: new: d/current\nsvlogd: info: rename: d/current @1.s 2\nsvlogd: info: rename: d/current @2.s 2\nsvlogd: info: close: d\nd/\nd/@1.s 744 \"a\\n\"\nd/@2.s 744 \"b\\n\"\nd/current 744 \"\"\nd/lock 600 \"\"\n"},
		{name: "full disk with N", args: []string{"d"}, files: map[string]string{"d/": ""}, setup: onSmallDisk("s16000\nn10\nN2\n"),
			input: strings.Repeat(strings.Repeat("a", 99)+"\n", 580),
			want:  "exit 0\nsvlogd: warning: out of disk space, delete: d/@1.s\nd/\nd/@2.s 744 \"15000 bytes\"\nd/@3.s 744 \"15000 bytes\"\nd/current 744 \"13000 bytes\"\nd/lock 600 \"\"\n"},
		{name: "full disk", args: []string{"d"}, files: map[string]string{"d/": ""}, setup: onSmallDisk("s0\n"),
			drive: func(r *loggerRun) {
				text := strings.Repeat(hundred[:100], 500)
				ballast := filepath.Join(r.dir, "d/ballast")
				if err := os.WriteFile(ballast, make([]byte, 40<<10), 0o644); err != nil {
					r.t.Fatal(err)
				}
				r.write(text)
				r.says("svlogd: pausing: ", 1)
				if err := os.Remove(ballast); err != nil {
					r.t.Fatal(err)
				}
				r.has("d/current", text)
			},
			want: "exit 0\nsvlogd: pausing: unable to write to current: d: out of disk space\nd/\nd/current 744 \"50000 bytes\"\nd/lock 600 \"\"\n"},
		{name: "current is a directory", args: []string{"d"}, files: map[string]string{"d/current/": ""},
			drive: func(r *loggerRun) {
				r.says("svlogd: pausing: ", 1)
				r.signal(unix.SIGTERM)
				pauses := strings.Count(r.said(), "pausing") + 1
				r.until("ends or pauses again", func() bool {
					select {
					case <-r.exited:
						return true
					default:
						return strings.Count(r.said(), "pausing") > pauses
					}
				})
				r.cmd.Process.Kill()
				r.wait()
			},
			want: "exit 0\nsvlogd: pausing: unable to open current: d: is a directory\nd/\nd/current/\nd/lock 600 \"\"\n"},
		{name: "processor is killed", args: []string{"d"}, files: map[string]string{"d/config": "!test -e again && exec cat; echo >again; head -c 10; kill -9 $$\n"},
			drive: func(r *loggerRun) {
				r.write("more than ten bytes\n")
				r.has("d/current", "more than ten bytes\n")
				r.signal(unix.SIGALRM)
				r.until("is processed", func() bool { return len(glob(r.t, r.dir, "d/@*.s")) == 1 && len(glob(r.t, r.dir, "d/@*.u")) == 0 })
			},
			want: "exit 0\nsvlogd: warning: processor failed, restart: d\nd/\nd/@1.s 744 \"more than ten bytes\\n\"\nd/again 644 \"\\n\"\nd/current 744 \"\"\nd/lock 600 \"\"\nd/state 644 \"\"\n"},
		{name: "processor fails", args: []string{"d"}, files: map[string]string{"d/config": "!test -e go && exec tr a-z A-Z; exit 3\n"},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				begin := time.Now()
				r.signal(unix.SIGALRM)
				r.says("processor failed", 3)
				rests := "no rest\n"
				if time.Since(begin) >= 3*time.Second {
					rests = "1 s and 2 s\n"
				}
				if u := glob(r.t, r.dir, "d/@*.u"); len(u) != 1 {
					r.t.Errorf("%s: left %q", r.cmd.Path, u)
				}
				for name, text := range map[string]string{"rests": rests, "d/go": ""} {
					if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
						r.t.Fatal(err)
					}
				}
				r.until("is processed", func() bool { return len(glob(r.t, r.dir, "d/@*.u")) == 0 })
			},
			want: "exit 0\nsvlogd: warning: processor failed, restart: d\nd/\nd/@1.s 744 \"A\\n\"\nd/current 744 \"\"\nd/go 644 \"\"\nd/lock 600 \"\"\nd/state 644 \"\"\nrests 644 \"1 s and 2 s\\n\"\n"},
		{name: "HUP while a processor runs", args: []string{"d"}, files: map[string]string{"d/config": "!until test -e go; do sleep 0.01; done; cat\n"},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.signal(unix.SIGALRM)
				r.until("has a processor", func() bool { return len(glob(r.t, r.dir, "d/newstate")) == 1 })
				r.write("b\n")
				r.has("d/current", "b\n")
				config := filepath.Join(r.dir, "d/config")
				os.Remove(config)
				if err := os.Mkdir(config, 0o755); err != nil { // which tells when it is read
					r.t.Fatal(err)
				}
				r.signal(unix.SIGHUP)
				r.says("unable to read config", 1)
				if err := os.WriteFile(filepath.Join(r.dir, "d/go"), nil, 0o644); err != nil {
					r.t.Fatal(err)
				}
				r.until("has the output", func() bool {
					for _, name := range glob(r.t, r.dir, "d/@*.[st]") {
						if text, _ := os.ReadFile(name); string(text) == "a\n" {
							return true
						}
					}
					return false
				})
			},
			want: "exit 0\nsvlogd: warning: unable to read config: d: is a directory\nd/\nd/@1.s 744 \"a\\n\"\nd/config/\nd/current 744 \"b\\n\"\nd/go 644 \"\"\nd/lock 600 \"\"\nd/state 644 \"\"\n"},
		{name: "HUP without rules for stderr", args: []string{"-v", "d"}, files: map[string]string{"d/config": "e*\n"},
			drive: func(r *loggerRun) {
				r.write("a\n")
				r.has("d/current", "a\n")
				r.says("\na\n", 1)
				if err := os.WriteFile(filepath.Join(r.dir, "d/config"), nil, 0o644); err != nil {
					r.t.Fatal(err)
				}
				r.signal(unix.SIGHUP)
				r.says("append: ", 1)
				r.write("b\n")
				r.has("d/current", "a\nb\n")
			},
			want: "exit 0\nsvlogd: info: read: d/config\nsvlogd: info: new: d/current\na\nsvlogd: info: sighangup received.\nsvlogd: info: close: d\nsvlogd: info: read: d/config\nsvlogd: info: append: d/current\nsvlogd: info: close: d\nd/\nd/current 744 \"a\\nb\\n\"\nd/lock 600 \"\"\n"},
	} {
		cases[tt.name] = true

		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ours := ourLogger(t)
			check := func(program, want string) {
				t.Helper()
				dir := t.TempDir()
				for name, text := range tt.files {
					path := filepath.Join(dir, name)
					folder := filepath.Dir(path)
					if strings.HasSuffix(name, "/") {
						folder = path
					}
					if err := os.MkdirAll(folder, 0o755); err != nil {
						t.Fatal(err)
					}
					if folder == path {
						continue
					}
					if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if tt.setup != nil {
					tt.setup(t, dir)
				}
				start := tt.start
				if start == nil {
					start = startLogger
				}
				r := start(t, program, dir, tt.args...)
				r.racy = program != ours
				if tt.drive != nil {
					tt.drive(r)
				} else {
					r.in.WriteString(tt.input) // it may have ended already
				}
				status := r.end()
				if diff := cmp.Diff(want, portrait(t, dir, status, r.said())); diff != "" {
					t.Errorf("%s (-want +got):\n%s", program, diff)
				}
			}
			check(ours, tt.want)
			want, differs := runitSvlogd[tt.name]
			if !differs {
				want = tt.want
			}
			check(peer(t, "svlogd"), want)
		})
	}
	for name := range runitSvlogd {
		if !cases[name] {
			t.Errorf("no case is named %q", name)
		}
	}
}

// lockedBySomebody locks d as another logger does.
func lockedBySomebody(t *testing.T, dir string) {
	f, err := os.OpenFile(filepath.Join(dir, "d/lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// onSmallDisk makes d a file system of 64 KiB.
func onSmallDisk(config string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		mountSmall(t, dir, 64<<10)
		setConfig(t, dir, config)
	}
}

// listenUDP is a socket at a port of a host of this machine, which datagrams reach: not
// where there is no such host, or its interface is down, as in a namespace without a net.
func listenUDP(t *testing.T, host string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", host+":0")
	if err != nil {
		skip(t, "no "+host+" here")
	}
	b := make([]byte, 1)
	if _, err := conn.WriteTo(b, conn.LocalAddr()); err != nil {
		conn.Close()
		skip(t, host+" cannot be reached here: "+err.Error())
	}
	conn.ReadFrom(b)
	return conn
}

// listens configures d to send to a socket of ours. What comes there goes into
// the file datagrams, each after a >.
func listens(letter, more string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		conn := listenUDP(t, "127.0.0.1")
		file, err := os.Create(filepath.Join(dir, "datagrams"))
		if err != nil {
			t.Fatal(err)
		}
		setConfig(t, dir, fmt.Sprintf("%s%s\n%s", letter, conn.LocalAddr(), more))
		done := make(chan bool)
		go func() {
			defer close(done)
			defer file.Close()
			for b := make([]byte, 2000); ; {
				n, _, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				fmt.Fprintf(file, ">%s", b[:n])
			}
		}()
		t.Cleanup(func() {
			conn.Close()
			<-done
		})
	}
}

// received writes lines and waits for so many datagrams.
func received(r *loggerRun, lines string, n int) {
	r.t.Helper()
	r.write(lines)
	r.until("sends", func() bool {
		text, err := os.ReadFile(filepath.Join(r.dir, "datagrams"))
		return err == nil && bytes.Count(text, []byte(">")) == n
	})
}

// grows writes lines and waits until each has become an old log by its age. The
// names of those tell when: they are so far apart, but for the time that it
// takes to make them.
func grows(age time.Duration) func(r *loggerRun) {
	return func(r *loggerRun) {
		r.t.Helper()
		for i, line := range []string{"a\n", "b\n"} {
			r.write(line)
			r.says("rename: ", i+1)
		}
		var times []int64
		for _, name := range glob(r.t, r.dir, "d/@*.s") {
			stem := filepath.Base(name)
			s, err := strconv.ParseUint(stem[1:17], 16, 64)
			ns, err2 := strconv.ParseUint(stem[17:25], 16, 64)
			if err != nil || err2 != nil {
				r.t.Fatalf("a name %q", name)
			}
			times = append(times, int64(s-1<<62)*1e9+int64(ns))
		}
		for i := range len(times) - 1 {
			if d := time.Duration(times[i+1] - times[i]); d < age*3/4 {
				r.t.Errorf("%s: rotated again after %v", r.cmd.Path, d)
			}
		}
	}
}
