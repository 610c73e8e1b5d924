package applets

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidding runs start in a thread whose children get an error for a system
// call, as in a container with rules for them. The thread stays for ever: its end would be
// that of all processes which others have started on it (Pdeathsig).
func forbidding(t *testing.T, call uint32, number uintptr, start func()) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		defer close(failed) // where start ends the test
		runtime.LockOSThread()
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(number)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
		}
		if err == nil {
			start()
		}
		failed <- err
		select {}
	}()
	if err := <-failed; err != nil {
		skip(t, "no rules for system calls here: "+err.Error())
	}
}

// TestSvlogdWithoutTee reads where bytes cannot be copied out of the pipe.
func TestSvlogdWithoutTee(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "s5000\nn0\n")
	in, out := pipe(t)
	var r *loggerRun
	forbidding(t, unix.SYS_TEE, uintptr(unix.ENOSYS), func() { r = startLoggerOn(t, loggerBinary(t), dir, in, "d") })
	text := strings.Repeat("a line\n", 50000)
	out.WriteString("first\nhalf")
	r.has("d/current", "first\n")
	out.WriteString("\n" + text + "rest")
	out.Close()
	if status := r.wait(); status != 0 {
		t.Errorf("exit %d: %s", status, r.said())
	}
	if got, _ := logFiles(t, filepath.Join(dir, "d")); string(got) != "first\nhalf\n"+text+"rest\n" {
		t.Errorf("%d bytes in the files", len(got))
	}
}

// TestSvlogdWithoutModes goes on where a file system has no modes.
func TestSvlogdWithoutModes(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "n0\n")
	in, out := pipe(t)
	var r *loggerRun
	forbidding(t, unix.SYS_FCHMOD, uintptr(unix.EPERM), func() { r = startLoggerOn(t, loggerBinary(t), dir, in, "d") })
	out.WriteString("a\n")
	r.has("d/current", "a\n")
	r.signal(unix.SIGALRM)
	r.has("d/current", "")
	out.WriteString("b\n")
	out.Close()
	r.succeeds()
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != "a\nb\n" {
		t.Errorf("files: %q", text)
	}
	if want := "svlogd: warning: unable to set mode of current: d: permission denied\n"; strings.Count(r.said(), "set mode") != 1 {
		t.Errorf("said %q, want %q", r.said(), want)
	}
}

// TestSvlogdWithoutUnshare runs a processor in the log directory all the same.
func TestSvlogdWithoutUnshare(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "!pwd; cat\n")
	in, out := pipe(t)
	var r *loggerRun
	forbidding(t, unix.SYS_UNSHARE, uintptr(unix.EPERM), func() { r = startLoggerOn(t, loggerBinary(t), dir, in, "d") })
	out.WriteString("a\n")
	r.has("d/current", "a\n")
	r.signal(unix.SIGALRM)
	r.until("is processed", func() bool { return len(glob(t, dir, "d/@*.s")) == 1 })
	out.Close()
	r.wait()
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != filepath.Join(dir, "d")+"\na\n" {
		t.Errorf("files: %q; said %s", text, r.said())
	}
}

// stalledLogger is one that has logged a line and has a full stderr that nobody
// reads, and tells of each signal: its input and both ends of its stderr.
func stalledLogger(t *testing.T) (r *loggerRun, out, nobody, stderr *os.File) {
	t.Helper()
	in, out := pipe(t)
	nobody, stderr = pipe(t)
	r = startLoggerWith(t, ourLogger(t), logDir(t, ""), in, stderr, "-v", "d")
	out.WriteString("a\n")
	r.has("d/current", "a\n")
	fd := int(stderr.Fd())
	unix.SetNonblock(fd, true)
	for err := error(nil); err == nil; { // until it is full
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	unix.SetNonblock(fd, false)
	return r, out, nobody, stderr
}

// TestSvlogdStalledStderrVerbose ends a logger that waits to tell of a HUP.
func TestSvlogdStalledStderrVerbose(t *testing.T) {
	t.Parallel()
	r, _, _, _ := stalledLogger(t)
	for range 3 {
		r.signal(unix.SIGHUP)
	}
	time.Sleep(100 * time.Millisecond) // for the HUPs; without them this tests less, and does not fail
	r.signal(unix.SIGTERM)
	r.succeeds()
}

// TestSvlogdSignalStorm has a logger that waits to tell of a storm of one signal
// take note of the others.
func TestSvlogdSignalStorm(t *testing.T) {
	t.Parallel()
	r, out, nobody, stderr := stalledLogger(t)
	for range 40 {
		r.signal(unix.SIGCHLD)
		r.until("has taken it", func() bool { return !pending(t, r, unix.SIGCHLD) })
	}
	for _, sig := range []unix.Signal{unix.SIGALRM, unix.SIGHUP} {
		r.signal(sig)
		r.until("has taken it", func() bool { return !pending(t, r, sig) })
	}
	said := make(chan string)
	stderr.Close()
	go func() {
		text, _ := io.ReadAll(nobody)
		said <- string(text)
	}()
	r.has("d/current", "") // rotated
	out.Close()
	r.wait()
	if text := <-said; !strings.Contains(text, "sighangup received.") || !strings.Contains(text, "sigalarm received.") {
		t.Errorf("said %q", strings.Trim(text, "\x00"))
	}
}

// pending says that a signal of the process waits for a thread to take it.
func pending(t *testing.T, r *loggerRun, sig unix.Signal) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nShdPnd:\t")
	hex, _, _ := strings.Cut(after, "\n")
	set, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return set>>(sig-1)&1 != 0
}

// TestSvlogdReconsiders waits for a processor that fails until HUP brings a
// config without it.
func TestSvlogdReconsiders(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "n1\n!exit 1\n")
	r := startLogger(t, ourLogger(t), dir, "-v", "d")
	for _, line := range []string{"a\n", "b\n"} {
		r.write(line)
		r.has("d/current", line)
		r.signal(unix.SIGALRM)
		r.has("d/current", "")
	}
	r.write("c\n") // which nobody reads
	r.says("processor failed", 2)
	setConfig(t, dir, "n5\n!tr a-z A-Z\n")
	r.signal(unix.SIGHUP)
	r.has("d/current", "c\n")
	r.says("processed: ", 2)
	r.end()
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != "A\nB\nc\n" {
		t.Errorf("files: %q; said\n%s", text, r.said())
	}
}

// TestSvlogdMoved goes on in a directory that was moved, and in one that was
// removed until it has to rotate; TERM ends it there.
func TestSvlogdMoved(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "n0\n")
	r := startLogger(t, ourLogger(t), dir, "d")
	r.write("a\n")
	r.has("d/current", "a\n")
	if err := os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e")); err != nil {
		t.Fatal(err)
	}
	r.write("b\n")
	r.has("e/current", "a\nb\n")
	r.signal(unix.SIGALRM)
	r.has("e/current", "")
	r.write("c\n")
	r.has("e/current", "c\n")
	if err := os.RemoveAll(filepath.Join(dir, "e")); err != nil {
		t.Fatal(err)
	}
	r.write("d\n")
	r.signal(unix.SIGALRM)
	r.says("svlogd: pausing: unable to rename current: d: file does not exist\n", 1)
	r.signal(unix.SIGTERM)
	r.succeeds()
}

// TestSvlogdLogComesBack loses one of two directories at a HUP and has it again
// at the next.
func TestSvlogdLogComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, e, gone := filepath.Join(dir, "d"), filepath.Join(dir, "e"), filepath.Join(dir, "gone")
	for _, name := range []string{d, e} {
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{ourLogger(t), peer(t, "svlogd")} {
		os.Remove(filepath.Join(d, "current"))
		os.Remove(filepath.Join(e, "current"))
		r := startLogger(t, program, dir, "-v", "d", "e")
		r.racy = program != ourLogger(t)
		r.write("a\n")
		r.has("e/current", "a\n")
		os.Rename(d, gone)
		r.signal(unix.SIGHUP)
		r.says("svlogd: warning: unable to open log directory: d: file does not exist\n", 1)
		r.write("b\n")
		r.has("e/current", "a\nb\n")
		os.Rename(gone, d)
		r.signal(unix.SIGHUP)
		r.says("append: d/current", 1)
		r.write("c\n")
		r.has("d/current", "a\nc\n")
		r.has("e/current", "a\nb\nc\n")
		if status := r.end(); status != 0 {
			t.Errorf("%s: exit %d", program, status)
		}
	}
}

// TestSvlogdPipeMadeSmall takes a line that fills a pipe which was made smaller
// than it was.
func TestSvlogdPipeMadeSmall(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "")
	in, out := pipe(t)
	r := startLoggerOn(t, ourLogger(t), dir, in, "d")
	out.WriteString("a\n")
	r.has("d/current", "a\n")
	r.until("is small", func() bool {
		_, err := unix.FcntlInt(out.Fd(), unix.F_SETPIPE_SZ, 4096)
		return err == nil
	})
	line := strings.Repeat("x", 20000) + "\n"
	done := make(chan bool)
	go func() {
		out.WriteString(line)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the line is never taken")
	}
	r.has("d/current", "a\n"+line)
	out.Close()
	r.wait()
}

// TestSvlogdTerminal takes lines from a terminal.
func TestSvlogdTerminal(t *testing.T) {
	t.Parallel()
	master, tty := terminal(t)
	defer tty.Close()
	dir := logDir(t, "")
	r := startLoggerOn(t, ourLogger(t), dir, tty, "d")
	master.WriteString("one\ntwo\n")
	r.has("d/current", "one\ntwo\n")
	master.WriteString("three\n\x04") // the key for the end
	r.succeeds()
	r.has("d/current", "one\ntwo\nthree\n")
}

// TestSvlogdLineLengths cuts lines of about the buffer's and the pipe's size.
func TestSvlogdLineLengths(t *testing.T) {
	t.Parallel()
	dir := logDir(t, "s0\n")
	r := startLogger(t, ourLogger(t), dir, "-tt", "d")
	var want strings.Builder
	for _, size := range []int{4096, 1 << 16, 2 << 16, 4 << 16} {
		for n := size - 2; n <= size+2; n++ {
			r.write(strings.Repeat("x", n) + "\r\n\x00\n")
			want.WriteString("CLOCK " + strings.Repeat("x", n) + "\r\nCLOCK \x00\n")
		}
	}
	r.end()
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	if got := clockStamps.ReplaceAll(text, []byte("CLOCK")); string(got) != want.String() {
		t.Errorf("%d bytes, want %d; differ at %d", len(got), want.Len(), firstDifference(got, []byte(want.String())))
	}
}

// TestSvlogdAnotherBuffer kills a logger with a large buffer in the middle of a
// batch; the next has a small one.
func TestSvlogdAnotherBuffer(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 256<<10, "s30000\nn0\n")
	ballast := filepath.Join(dir, "d/ballast")
	if err := os.WriteFile(ballast, make([]byte, 120<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	in, out := pipe(t)
	if size, err := unix.FcntlInt(out.Fd(), unix.F_SETPIPE_SZ, 256<<10); err != nil || size < 200000 {
		skip(t, "pipes cannot be made large")
	}
	var want strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&want, "%099d\n", i)
	}
	out.WriteString(want.String())
	r := startLoggerOn(t, ourLogger(t), dir, in, "-b", "200000", "d")
	r.says("svlogd: pausing: ", 1)
	r.signal(unix.SIGKILL)
	r.wait()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	setConfig(t, dir, "s20000\nn0\n")
	out.Close()
	r = startLoggerOn(t, ourLogger(t), dir, in, "d")
	r.wait()
	if text, _ := logFiles(t, filepath.Join(dir, "d")); string(text) != want.String() {
		i := firstDifference(text, []byte(want.String()))
		t.Errorf("%d bytes in the files, %d written; at %d %q", len(text), want.Len(), i, around(text, i))
	}
}

// TestSvlogdDiskFullN0 deletes all old logs rather than wait, as N0 says.
func TestSvlogdDiskFullN0(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<10, "s30000\nn2\nN0\n")
	r := startLogger(t, ourLogger(t), dir, "-l", "200", "d")
	for i := range 2000 {
		r.write(fmt.Sprintf("%099d\n", i))
	}
	r.end()
	text, _ := logFiles(t, filepath.Join(dir, "d"))
	if !bytes.HasSuffix(text, fmt.Appendf(nil, "%099d\n", 1999)) || strings.Contains(r.said(), "pausing") {
		t.Errorf("ends in %q; said %s", text[max(0, len(text)-100):], r.said())
	}
}

// TestSvlogdDropsToTheEnd tells on stderr what was dropped if the log still has
// no room for it, and goes back to waiting when the config says so.
func TestSvlogdDropsToTheEnd(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 64<<10, "s0\nodrop\n")
	r := startLogger(t, ourLogger(t), dir, "d")
	line := strings.Repeat("x", 99) + "\n"
	for range 2000 {
		r.write(line)
	}
	if r.end(); !strings.Contains(r.said(), "svlogd: warning: out of disk space: dropped ") {
		t.Errorf("said %q", r.said())
	}

	ballast := filepath.Join(dir, "d/ballast")
	os.Remove(filepath.Join(dir, "d/current"))
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r = startLogger(t, ourLogger(t), dir, "-v", "d")
	for range 1000 {
		r.write(line)
	}
	conn, err := r.in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r.until("has dropped", func() bool {
		left := -1
		conn.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		return left == 0
	})
	config := filepath.Join(dir, "d/config") // the disk is full: as long as before
	if err := os.WriteFile(config, []byte("s0\nowait\n"), 0o644); err != nil {
		skip(t, "no room for a config: "+err.Error())
	}
	r.signal(unix.SIGHUP)
	r.says("append: ", 1)
	r.write("kept\n")
	r.says("svlogd: pausing: unable to write to current: d: out of disk space\n", 1)
	os.Remove(ballast)
	r.until("has it", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "d/current"))
		return bytes.Contains(text, []byte("\nwarning: out of disk space: dropped ")) && bytes.HasSuffix(text, []byte("\nkept\n"))
	})
	r.end()
}
