package applets

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ourLogger is our svlogd, as the scripts have it.
func ourLogger(t *testing.T) string {
	t.Helper()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, "svlogd")
}

// logDir makes a log directory d with a config in a directory of its own.
func logDir(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	setConfig(t, dir, config)
	return dir
}

// setConfig writes d/config.
func setConfig(t *testing.T, dir, config string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/config"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
}

// glob finds names in a directory.
func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// pipe is a pipe that loggers can come to and leave.
func pipe(t *testing.T) (in, out *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	in, out = os.NewFile(uintptr(p[0]), "in"), os.NewFile(uintptr(p[1]), "out")
	t.Cleanup(func() { in.Close(); out.Close() })
	return in, out
}

// TestSvlogdTermStopped stops svlogd, writes, and sends TERM: what it reads
// then it writes, whole.
func TestSvlogdTermStopped(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("l0\n")
	r.has("d/current", "l0\n")
	r.signal(unix.SIGSTOP)
	r.write("l1\nl2\nl3\npartial")
	r.signal(unix.SIGTERM)
	r.signal(unix.SIGCONT)
	r.succeeds()
	r.has("d/current", "l0\nl1\nl2\nl3\n")
}

// TestSvlogdHandsOver ends svlogd in the middle of a line: the next one on the
// same pipe has the line whole.
func TestSvlogdHandsOver(t *testing.T) {
	t.Parallel()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		dir := logDir(t, "")
		in, out := pipe(t)
		r := startLoggerOn(t, ourLogger(t), dir, in, "d")
		out.WriteString("first\nsecond half ")
		r.has("d/current", "first\n")
		r.signal(sig)
		r.wait()
		r = startLoggerOn(t, ourLogger(t), dir, in, "d")
		r.until("runs", func() bool {
			st, err := os.Stat(filepath.Join(dir, "d/current"))
			return err == nil && st.Mode().Perm() == 0o644
		})
		out.WriteString("and whole\n")
		out.Close()
		if status := r.wait(); status != 0 {
			t.Errorf("%v: exit %d", sig, status)
		}
		if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != "first\nsecond half and whole\n" {
			t.Errorf("after %v: %q", sig, text)
		}
	}
}

// TestSvlogdTermInFlood ends svlogd with TERM again and again while lines come
// as fast as they can.
func TestSvlogdTermInFlood(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "s100000\nn0\n")
	in, out := pipe(t)
	done, stop := make(chan int), make(chan bool)
	go func() {
		defer out.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- i
				return
			default:
				fmt.Fprintf(out, "%d\n", i)
			}
		}
	}()
	for range 20 {
		r := startLoggerOn(t, ourLogger(t), dir, in, "d")
		r.until("writes", func() bool {
			st, err := os.Stat(filepath.Join(dir, "d/current"))
			return err == nil && st.Size() > 0 && st.Mode().Perm() == 0o644
		})
		r.signal(unix.SIGTERM)
		if status := r.wait(); status != 0 {
			t.Fatalf("exit %d: %s", status, r.said())
		}
	}
	r := startLoggerOn(t, ourLogger(t), dir, in, "d")
	close(stop)
	count := <-done
	r.wait()
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	var want bytes.Buffer
	for i := range count {
		fmt.Fprintf(&want, "%d\n", i)
	}
	if i := firstDifference(text, want.Bytes()); i >= 0 {
		t.Errorf("the files differ from the %d lines at %d: %q, want %q", count, i, around(text, i), around(want.Bytes(), i))
	}
	if left := glob(t, dir, "d/.svlogd"); len(left) > 0 {
		t.Errorf("an orderly end left %q", left)
	}
}

// TestSvlogdInput takes lines from a file, a socket and an input at its end.
func TestSvlogdInput(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, []byte(strings.Repeat("line\n", 50000)+"end"), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir := logDir(t, "")
	if status := startLoggerOn(t, ourLogger(t), dir, file, "d").wait(); status != 0 {
		t.Errorf("file: exit %d", status)
	}
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != strings.Repeat("line\n", 50000)+"end\n" {
		t.Errorf("file: %d bytes", len(text))
	}

	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, out := os.NewFile(uintptr(pair[0]), "in"), os.NewFile(uintptr(pair[1]), "out")
	defer in.Close()
	dir = logDir(t, "")
	r := startLoggerOn(t, ourLogger(t), dir, in, "d")
	out.WriteString("one\nha")
	r.has("d/current", "one\n")
	out.WriteString("lf\n")
	r.has("d/current", "one\nhalf\n")
	out.WriteString("partial")
	r.until("has read it", func() bool {
		left, err := unix.IoctlGetInt(pair[0], unix.TIOCINQ)
		return err == nil && left == 0
	})
	r.signal(unix.SIGTERM)
	out.WriteString(" line\n")
	if status := r.wait(); status != 0 {
		t.Errorf("socket: exit %d", status)
	}
	r.has("d/current", "one\nhalf\npartial line\n")
	out.Close()
}

// TestSvlogdLeavesInputAlone looks at the flags of the input, which others share.
func TestSvlogdLeavesInputAlone(t *testing.T) {
	t.Parallel()
	in, out := pipe(t)
	r := startLoggerOn(t, ourLogger(t), logDir(t, ""), in, "d")
	out.WriteString("x\n")
	r.has("d/current", "x\n")
	conn, err := in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	conn.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("flags %#x, %v", flags, err)
		}
	})
	out.Close()
	r.wait()
}

// TestSvlogdPausing ends a logger that cannot open its current.
func TestSvlogdPausing(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	if err := os.Mkdir(filepath.Join(dir, "d/current"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := startLogger(t, ourLogger(t), dir, "d")
	r.says("svlogd: pausing: unable to open current: d: is a directory\n", 2)
	r.signal(unix.SIGTERM)
	r.succeeds()
}

// TestSvlogdStalledStderr ends a logger whose stderr nobody reads, after the
// lines for it are in the file.
func TestSvlogdStalledStderr(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "e*\n")
	in, out := pipe(t)
	_, stderr := pipe(t)
	r := startLoggerWith(t, ourLogger(t), dir, in, stderr, "d")
	stderr.Close()
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", 1200) // more than two pipes hold
	out.WriteString(text[:65500])
	r.has("d/current", text[:65500])
	go out.WriteString(text[65500:])
	r.until("is stalled", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "d/current"))
		return err == nil && len(b) > 65500
	})
	r.signal(unix.SIGTERM)
	r.succeeds()
}

// TestSvlogdBrokenStderr goes on when stderr's reader is gone.
func TestSvlogdBrokenStderr(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "e*\n")
	in, out := pipe(t)
	gone, stderr := pipe(t)
	gone.Close()
	r := startLoggerWith(t, ourLogger(t), dir, in, stderr, "-v", "d")
	out.WriteString("a\n")
	r.has("d/current", "a\n")
	out.WriteString("b\n")
	r.has("d/current", "a\nb\n")
	out.Close()
	r.succeeds()
}

// TestSvlogdStoppedReader fills the pipe of a logger that is stopped: nothing
// is lost.
func TestSvlogdStoppedReader(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("first\n")
	r.has("d/current", "first\n")
	r.signal(unix.SIGSTOP)
	text := strings.Repeat("many lines\n", 60000)
	done := make(chan bool)
	go func() {
		r.in.WriteString(text)
		r.in.Close()
		close(done)
	}()
	select {
	case <-done:
		t.Fatal("a pipe took it all: this tests nothing")
	case <-time.After(100 * time.Millisecond):
	}
	r.signal(unix.SIGCONT)
	<-done
	r.wait()
	if got, _ := logFiles(t, filepath.Join(dir, "d")); string(got) != "first\n"+text {
		t.Errorf("%d bytes in the files, want %d", len(got), len(text)+6)
	}
}

// TestSvlogdLocked has a second logger on one directory give way, and take it
// over when the first is gone.
func TestSvlogdLocked(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	first := startLogger(t, ourLogger(t), dir, "d")
	first.write("first\n")
	first.has("d/current", "first\n")
	second := startLogger(t, ourLogger(t), dir, "d")
	if status := second.wait(); status != 111 || second.said() != "svlogd: warning: unable to lock directory: d: temporary failure\nsvlogd: fatal: no functional log directories.\n" {
		t.Errorf("exit %d: %s", status, second.said())
	}
	first.write("more\n")
	first.has("d/current", "first\nmore\n")
	first.end()
	third := startLogger(t, ourLogger(t), dir, "d")
	third.write("third\n")
	third.has("d/current", "first\nmore\nthird\n")
	third.end()
}

// TestSvlogdReloads changes the config under HUP in a loop, while lines come.
func TestSvlogdReloads(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "n0\n")
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	r.says("new: ", 1)
	stop, done := make(chan bool), make(chan int)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- i
				return
			default:
				fmt.Fprintf(r.in, "%d\n", i)
			}
		}
	}()
	for i := range 60 {
		setConfig(t, dir, fmt.Sprintf("n0\ns%d\np<%d>\n", []int{0, 3000, 50000}[i%3], i))
		r.signal(unix.SIGHUP)
		r.says("svlogd: info: close: ", i+1)
	}
	close(stop)
	count := <-done
	if status := r.end(); status != 0 {
		t.Errorf("exit %d", status)
	}
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	text = regexp.MustCompile(`(?m)^<\d+>`).ReplaceAll(text, nil)
	var want bytes.Buffer
	for i := range count {
		fmt.Fprintf(&want, "%d\n", i)
	}
	if i := firstDifference(text, want.Bytes()); i >= 0 {
		t.Errorf("differ at %d: %q, want %q", i, around(text, i), around(want.Bytes(), i))
	}
}

// TestSvlogdUnreadableConfig keeps what was in force, and says so.
func TestSvlogdUnreadableConfig(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "pkept: \n")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("a\n")
	r.has("d/current", "kept: a\n")
	if err := os.Remove(filepath.Join(dir, "d/config")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d/config"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.signal(unix.SIGHUP)
	r.says("svlogd: warning: unable to read config: d: is a directory\n", 1)
	r.write("b\n")
	r.has("d/current", "kept: a\nkept: b\n")
	r.end()
}

// TestSvlogdAge rotates by age, not sooner than that.
func TestSvlogdAge(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "t1d\nn0\n")
	begin := time.Now()
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	r.write("a\n")
	r.says("rename: d/current ", 1)
	if d := time.Since(begin); d < time.Second {
		t.Errorf("rotated after %v", d)
	}
	r.write("b\n")
	r.says("rename: d/current ", 2)
	if d := time.Since(begin); d < 2*time.Second {
		t.Errorf("rotated again after %v", d)
	}
	r.end()
}

// TestSvlogdFailingProcessor lets a processor that fails rest; TERM ends it
// all the same, and the file waits for the next logger, which processes it.
func TestSvlogdFailingProcessor(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"exit 3", "head -c 1; kill -9 $$"} {
		dir := logDir(t, "!"+command+"\n")
		r := startLogger(t, ourLogger(t), dir, "-v", "d")
		r.write("abc\n")
		r.has("d/current", "abc\n")
		begin := time.Now()
		r.signal(unix.SIGALRM)
		r.says("svlogd: warning: processor failed, restart: d\n", 2)
		if d := time.Since(begin); d < time.Second {
			t.Errorf("%s: a second attempt after %v", command, d)
		}
		r.write("def\n") // the input goes on
		r.has("d/current", "def\n")
		r.signal(unix.SIGTERM)
		if status := r.wait(); status != 0 {
			t.Errorf("%s: exit %d", command, status)
		}
		if u, s, p := glob(t, dir, "d/@*.u"), glob(t, dir, "d/@*.s"), glob(t, dir, "d/@*.t"); len(u) != 1 || len(s) != 0 || len(p) != 0 {
			t.Errorf("%s: left %q %q %q", command, u, s, p)
		}
		setConfig(t, dir, "!tr a-z A-Z\n")
		r = startLogger(t, ourLogger(t), dir, "d")
		r.until("is processed", func() bool { return len(glob(t, dir, "d/@*.u")) == 0 })
		r.end()
		if text, names := logFiles(t, filepath.Join(dir, "d")); string(text) != "ABC\ndef\n" || len(names) != 1 {
			t.Errorf("%s: %q in %q", command, text, names)
		}
	}
}

// TestSvlogdProcessorSurvivesHUP keeps a child and its file across a HUP.
func TestSvlogdProcessorSurvivesHUP(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "!until test -e go; do sleep 0.05; done; cat\n")
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	r.write("abc\n")
	r.has("d/current", "abc\n")
	r.signal(unix.SIGALRM)
	r.says("processing: ", 1)
	r.signal(unix.SIGHUP)
	r.says("append: ", 1)
	if err := os.WriteFile(filepath.Join(dir, "d/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.says("processed: ", 1)
	r.end()
	if u, s := glob(t, dir, "d/@*.u"), glob(t, dir, "d/@*.s"); len(u) != 0 || len(s) != 1 {
		t.Errorf("left %q and %q", u, s)
	}
	if n := strings.Count(r.said(), "processing: "); n != 1 {
		t.Errorf("started %d times", n)
	}
}

// TestSvlogdSecondTerm does not wait for a processor any more; the next logger
// processes the file.
func TestSvlogdSecondTerm(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "!until test -e go; do sleep 0.05; done; tr a-z A-Z\n")
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	defer os.WriteFile(filepath.Join(dir, "d/go"), nil, 0o644) // ends the processor
	r.write("abc\n")
	r.has("d/current", "abc\n")
	r.signal(unix.SIGALRM)
	r.says("processing: ", 1)
	r.signal(unix.SIGTERM)
	r.says("sigterm received.", 1)
	r.signal(unix.SIGTERM)
	r.succeeds()
	if err := os.WriteFile(filepath.Join(dir, "d/go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r = startLogger(t, ourLogger(t), dir, "d")
	r.until("is processed", func() bool { return len(glob(t, dir, "d/@*.u")) == 0 })
	r.end()
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != "ABC\n" {
		t.Errorf("files: %q", text)
	}
}

// TestSvlogdUncleanIsNotProcessed leaves a crashed logger's file to people.
func TestSvlogdUncleanIsNotProcessed(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "!tr a-z A-Z\n")
	if err := os.WriteFile(filepath.Join(dir, "d/current"), []byte("crashed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("x\n")
	r.has("d/current", "x\n")
	r.signal(unix.SIGALRM)
	r.until("has processed the other", func() bool { return len(glob(t, dir, "d/@*.s")) == 1 && len(glob(t, dir, "d/newstate")) == 0 })
	r.end()
	if u := glob(t, dir, "d/@*.u"); len(u) != 1 {
		t.Errorf("left %q", u)
	}
}

// TestSvlogdTotal keeps the old logs together under a bound, but for the newest.
func TestSvlogdTotal(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "s2000\nn0\nS3k\n")
	r := startLogger(t, ourLogger(t), dir, "d")
	for i := range 100 {
		r.write(fmt.Sprintf("%099d\n", i))
	}
	r.end()
	text, names := logFiles(t, filepath.Join(dir, "d"))
	if len(names) != 3 || len(text) != 3000 || !bytes.HasPrefix(text, fmt.Appendf(nil, "%099d\n", 70)) {
		t.Errorf("%d bytes in %q", len(text), names)
	}
}

// TestSvlogdUDP forwards to IPv4 and IPv6.
func TestSvlogdUDP(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		conn := listenUDP(t, host)
		defer conn.Close()
		port := conn.LocalAddr().(*net.UDPAddr).Port
		for _, only := range []bool{false, true} {
			letter := "u"
			if only {
				letter = "U"
			}
			dir := logDir(t, fmt.Sprintf("%s%s:%d\npPFX: \n-no*\n", letter, host, port))
			r := startLogger(t, ourLogger(t), dir, "-tt", "-l", "10", "d")
			r.write("hello\nnot this\n01234567890\n\n")
			var got string
			for range 3 {
				b := make([]byte, 1000)
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				n, _, err := conn.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				got += string(b[:n])
			}
			if got = clockStamps.ReplaceAllString(got, "CLOCK"); got != "CLOCK PFX: hello\nCLOCK PFX: 0123456789...\nCLOCK PFX: \n" {
				t.Errorf("%s: datagrams %q", host, got)
			}
			r.end()
			want := "CLOCK PFX: hello\nCLOCK PFX: 01234567890\nCLOCK PFX: \n"
			if only {
				want = ""
			}
			text, _ := logFiles(t, filepath.Join(dir, "d"))
			if text := clockStamps.ReplaceAllString(string(text), "CLOCK"); text != want {
				t.Errorf("%s: file %q, want %q", host, text, want)
			}
		}
	}
}

// TestSvlogdUDPFailure puts what cannot be sent into the log.
func TestSvlogdUDPFailure(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "U127.0.0.1:9\npPFX: \n")
	r := startLogger(t, ourLogger(t), dir, "-l", "70000", "-b", "70001", "d")
	line := strings.Repeat("x", 66000) // more than a datagram holds
	r.write(line + "\n")
	r.end()
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	if want := "warning: failure sending through udp: PFX: " + line + "\n"; string(text) != want {
		t.Errorf("%d bytes, want %d: %.80q", len(text), len(want), text)
	}
}

// smallDisk makes dir/d a file system of so many bytes.
func smallDisk(t *testing.T, size int, config string) string {
	t.Helper()
	dir := logDir(t, "")
	mountSmall(t, dir, size)
	setConfig(t, dir, config)
	return dir
}

// mountSmall mounts such a file system.
func mountSmall(t *testing.T, dir string, size int) {
	t.Helper()
	d := filepath.Join(dir, "d")
	if err := unix.Mount("tmpfs", d, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		skip(t, "a small file system needs root: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(d, unix.MNT_DETACH) })
}

// TestSvlogdDiskFull pauses, and goes on without a loss when there is room.
func TestSvlogdDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<10, "s0\n")
	ballast := filepath.Join(dir, "d/ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r := startLogger(t, ourLogger(t), dir, "d")
	var want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&want, "%099d\n", i)
	}
	r.write(want.String())
	r.says("svlogd: pausing: unable to write to current: d: out of disk space\n", 1)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.has("d/current", want.String())
	r.end()
}

// TestSvlogdDiskFullTerm ends a logger that pauses: the rest stays in the pipe
// and the next logger has it.
func TestSvlogdDiskFullTerm(t *testing.T) {
	t.Parallel()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		dir := smallDisk(t, 128<<10, "s20000\nn0\n")
		ballast := filepath.Join(dir, "d/ballast")
		if err := os.WriteFile(ballast, make([]byte, 80<<10), 0o644); err != nil {
			t.Fatal(err)
		}
		in, out := pipe(t)
		r := startLoggerOn(t, ourLogger(t), dir, in, "d")
		var want strings.Builder
		for i := range 500 {
			fmt.Fprintf(&want, "%099d\n", i)
		}
		out.WriteString(want.String())
		r.says("svlogd: pausing: ", 1)
		r.signal(sig)
		if status := r.wait(); status != 0 && sig == unix.SIGTERM {
			t.Errorf("exit %d", status)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		out.Close()
		r = startLoggerOn(t, ourLogger(t), dir, in, "d")
		r.wait()
		if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != want.String() {
			i := firstDifference(text, []byte(want.String()))
			t.Errorf("%v: %d bytes in the files, %d written; at %d %q; %s", sig, len(text), want.Len(), i, around(text, i), r.said())
		}
	}
}

// TestSvlogdDiskFullDeletes makes room down to N.
func TestSvlogdDiskFullDeletes(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<10, "s8000\nn20\nN2\n")
	r := startLogger(t, ourLogger(t), dir, "-l", "200", "d")
	for i := range 2000 {
		r.write(fmt.Sprintf("%099d\n", i))
	}
	r.end()
	text, names := logFiles(t, filepath.Join(dir, "d"))
	if !strings.Contains(r.said(), "svlogd: warning: out of disk space, delete: d/@") {
		t.Errorf("said %q", r.said())
	}
	if strings.Contains(r.said(), "pausing") {
		t.Errorf("paused: %s", r.said())
	}
	if len(names) < 2 || !bytes.HasSuffix(text, fmt.Appendf(nil, "%099d\n", 1999)) {
		t.Errorf("%d files, ending in %q", len(names), text[max(0, len(text)-100):])
	}
}

// TestSvlogdDiskFullDrops keeps reading, counts, and tells in the log.
func TestSvlogdDiskFullDrops(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<10, "s0\nodrop\n")
	ballast := filepath.Join(dir, "d/ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r := startLogger(t, ourLogger(t), dir, "d")
	for i := range 5000 { // far more than there is room for, and nothing blocks
		r.write(fmt.Sprintf("%099d\n", i))
	}
	var at int64
	r.until("has taken all", func() bool {
		st, err := os.Stat(filepath.Join(dir, "d/current"))
		if err != nil {
			return false
		}
		same := st.Size() == at && at > 0
		at = st.Size()
		conn, _ := r.in.SyscallConn()
		left := -1
		conn.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		return same && left == 0
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	notice := regexp.MustCompile(`(?m)^warning: out of disk space: dropped (\d+) lines, (\d+) bytes, from \S+ to \S+\n`)
	r.until("tells", func() bool { // without another line
		text, err := os.ReadFile(filepath.Join(dir, "d/current"))
		return err == nil && notice.Match(text)
	})
	r.write("after\n")
	r.end()
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	lines, size := 0, 0
	for _, m := range notice.FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		b, _ := strconv.Atoi(string(m[2]))
		lines, size = lines+n, size+b
	}
	kept := notice.ReplaceAll(text, nil)
	if got := bytes.Count(kept, []byte("\n")) - 1 + lines; got != 5000 {
		t.Errorf("%d lines kept or counted, want 5000", got)
	}
	if got := len(kept) - len("after\n") + size; got != 500000 {
		t.Errorf("%d bytes kept or counted, want 500000", got)
	}
	if !bytes.HasSuffix(kept, []byte("\nafter\n")) {
		t.Errorf("ends in %q", kept[max(0, len(kept)-120):])
	}
	for line := range bytes.Lines(bytes.TrimSuffix(kept, []byte("after\n"))) {
		if len(line) != 100 {
			t.Errorf("a torn line: %q", line)
		}
	}
}

// TestSvlogdFrugal looks at a logger's memory after long input, and at its
// wake-ups when nothing comes.
func TestSvlogdFrugal(t *testing.T) {
	dir := logDir(t, "s300000\n")
	in, out := pipe(t)
	r := startLoggerOn(t, loggerBinary(t), dir, in, "-tt", "d")
	short, long := strings.Repeat("short line\n", 6000), strings.Repeat("z", 66000)
	for range 300 {
		out.WriteString(short)
	}
	for range 300 {
		out.WriteString(long)
	}
	out.WriteString("\nlast\n")
	r.until("has all", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "d/current"))
		return err == nil && bytes.HasSuffix(b, []byte(" last\n"))
	})
	proc := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	text, err := os.ReadFile(proc + "smaps_rollup")
	if err != nil {
		skip(t, "the kernel tells no smaps_rollup")
	}
	// Not Private_Dirty alone: that counts a program's own pages, too, until the
	// disk has them. All that is anonymous is private and dirty.
	t.Logf("%s", regexp.MustCompile(`(Pss|Private_\w+): +\d+ kB`).FindAll(text, -1))
	m := regexp.MustCompile(`Anonymous: +(\d+) kB`).FindSubmatch(text)
	if kb, _ := strconv.Atoi(string(m[1])); kb > 2048 {
		t.Errorf("%d KiB private", kb)
	} else {
		t.Logf("%d KiB private", kb)
	}
	switches := func() (n int) {
		for _, path := range glob(t, proc, "task/*/status") {
			text, _ := os.ReadFile(path)
			if m := regexp.MustCompile(`nonvoluntary_ctxt_switches:\s(\d+)`).FindSubmatch(text); m != nil {
				k, _ := strconv.Atoi(string(m[1]))
				n += k
			}
			if m := regexp.MustCompile(`(?m)^voluntary_ctxt_switches:\s(\d+)`).FindSubmatch(text); m != nil {
				k, _ := strconv.Atoi(string(m[1]))
				n += k
			}
		}
		return n
	}
	// The runtime itself may still settle down, and looks once a minute: there
	// must be three seconds without a wake-up.
	quiet := false
	for range 8 {
		before := switches()
		time.Sleep(3 * time.Second)
		if quiet = switches() == before; quiet {
			break
		}
	}
	if !quiet {
		t.Error("wakes up though nothing comes")
	}
	out.Close()
	r.wait()
}
