//go:build bench

package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBenchLogged starts trees of logged services, with unchanged scripts and, for
// runitbox, with each log service in a process of its own too, in turns, on a tmpfs. A
// row tells how long it took until the first line of each was in its file, and what
// memory the tree had then, as its memory cgroup counts it: what is anonymous and what the
// kernel has for it; without the services (the kernel's for as many of them without a
// supervisor), and with them. Pages of files are not counted: the log files' are in a tmpfs
// here, and an executable's are there once, for whoever was the first to read them. Two rows
// tell how long the scripts alone take, of log services too and without, which no supervisor
// can save.
func TestBenchLogged(t *testing.T) {
	kinds := loggedKinds(t)
	rows := [][]string{{"", "", "start", "memory", "of that the kernel's", "each", "with the services"}}
	for _, n := range []int{5, 20, 100, 500} {
		best := map[string]loggedTree{}
		for round := range 2 * len(kinds) {
			k := kinds[round%len(kinds)]
			t.Run(fmt.Sprint(k.name, n), func(t *testing.T) {
				b := logged(t, n, k)
				if old, ok := best[k.name]; !ok || b.took < old.took {
					best[k.name] = b
				}
			})
		}
		for _, k := range kinds {
			b, c := best[k.name], best["runit"]
			rows = append(rows, []string{fmt.Sprint(n), k.name, fmt.Sprintf("%.0f ms (%.2f)", b.took*1e3, c.took/b.took),
				fmt.Sprintf("%.0f KiB (%.2f)", b.own()/1024, b.own()/c.own()), fmt.Sprintf("%.0f KiB", b.kernel/1024),
				fmt.Sprintf("%.0f KiB", b.own()/1024/float64(n)), fmt.Sprintf("%.0f KiB (%.2f)", b.all/1024, b.all/c.all)})
		}
		for _, logs := range []bool{true, false} {
			name := map[bool]string{true: "the scripts alone", false: "the services' alone"}[logs]
			took := min(alone(t, n, logs), alone(t, n, logs), alone(t, n, logs))
			rows = append(rows, []string{fmt.Sprint(n), name, fmt.Sprintf("%.0f ms (%.2f)", took*1e3, best["runit"].took/took)})
		}
	}
	table(t, "logged services: start until each first line is in its file, memory of the tree without its services", rows)
}

// loggedKind is a way to supervise logged services.
type loggedKind struct {
	name, path, runsvdir string
	log                  string // what log/run is a link to, "" for a script
}

// loggedKinds are all of them.
func loggedKinds(t *testing.T) []loggedKind {
	bin := withLinks(t, built(t))
	path := bin + ":/usr/bin:/bin"
	return []loggedKind{
		{"runit", filepath.Dir(peer(t, "svlogd")) + ":/usr/bin:/bin", peer(t, "runsvdir"), ""},
		{"runitbox", path, bin + "/runsvdir", ""},
		{"runitbox, links to rsvlog", path, bin + "/runsvdir", bin + "/rsvlog"},
		{"own processes", path, bin + "/runsvdir --no-share-logs", ""},
	}
}

// layLogged makes n services with log services, in root/sv, and their log directories.
func layLogged(t *testing.T, n int, k loggedKind, run, options string) (root string, currents []string) {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	os.Chmod(root, 0o755) // rsvlog writes as another user
	for i := range n {
		dir := filepath.Join(root, "sv", fmt.Sprintf("s%04d", i))
		main := filepath.Join(dir, "log/main")
		files := map[string]string{"run": run, "log/run": "#!/bin/sh\nexec svlogd " + options + " ./main\n"}
		if k.log != "" {
			main = filepath.Join(root, "log", filepath.Base(dir))
			delete(files, "log/run")
			files["log/conf"] = "SV_LOGDIR=" + main + "\nSV_TIMESTAMP='" + options + "'\n"
		}
		currents = append(currents, filepath.Join(main, "current"))
		if err := os.MkdirAll(filepath.Join(dir, "log"), 0o755); err != nil {
			t.Fatal(err)
		}
		if k.log == "" {
			err = os.Mkdir(main, 0o755)
		} else {
			err = os.Symlink(k.log, filepath.Join(dir, "log/run"))
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if k.log != "" {
		ownLogs(t, filepath.Join(root, "sv/s0000/log"), currents)
	}
	hour := time.Now().Add(-time.Hour)
	os.Chtimes(filepath.Join(root, "sv"), hour, hour)
	return root, currents
}

// ownLogs makes the log directories of links to rsvlog, as they are when it has run before: of
// the owner whom it gives them to, which is found by running the first. The scripts have
// theirs as well: who starts a machine for the second time is what is measured.
func ownLogs(t *testing.T, log string, currents []string) {
	t.Helper()
	cmd := exec.Command("./run")
	cmd.Dir, cmd.Stderr = log, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	err := unix.Stat(filepath.Dir(currents[0]), &st)
	for _, current := range currents[1:] {
		dir := filepath.Dir(current)
		err = errors.Join(err, os.Mkdir(dir, 0o750), os.Chown(dir, int(st.Uid), int(st.Gid)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// plantLogged makes n services with log services, and starts their supervisor; go has that
// begin.
func plantLogged(t *testing.T, n int, k loggedKind, run, options string) (currents []string, group string, cmd *exec.Cmd, begin func()) {
	t.Helper()
	root, currents := layLogged(t, n, k, run, options)
	cmd = contained(t, exec.Command("/bin/sh", "-c", "read x; exec "+k.runsvdir+" "+filepath.Join(root, "sv")+" 2>/dev/null"))
	cmd.Env = []string{"PATH=" + k.path}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	group = inMemoryGroup(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return currents, group, cmd, func() { in.Write([]byte("\n")) }
}

// loggedTree is what was measured of a tree: seconds, and bytes, without the services; all
// is with them.
type loggedTree struct {
	took, anonymous, kernel, all float64
}

func (l loggedTree) own() float64 { return l.anonymous + l.kernel }

// loggedRun is the ./run of a service.
const loggedRun = "#!/bin/sh\necho begin\nexec sleep 100000\n"

// logged measures one tree.
func logged(t *testing.T, n int, k loggedKind) (l loggedTree) {
	t.Helper()
	currents, group, cmd, goes := plantLogged(t, n, k, loggedRun, "-tt")
	if group == "" {
		skip(t, "no memory cgroup can be made")
	}
	begin := time.Now()
	goes()
	for i, current := range currents {
		for st, err := os.Stat(current); err != nil || st.Size() == 0; st, err = os.Stat(current) {
			if time.Since(begin) > 2*time.Minute {
				t.Fatalf("%d of %d have written", i, n)
			}
			time.Sleep(time.Millisecond)
		}
	}
	l.took = time.Since(begin).Seconds()
	time.Sleep(6 * time.Second)
	services := 0
	for _, p := range below(cmd.Process.Pid) {
		if strings.HasPrefix(p.comm, "sleep") {
			services++
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		m := regexp.MustCompile(`Anonymous: +(\d+)`).FindSubmatch(text)
		if err != nil || m == nil {
			t.Fatalf("%v: %s", err, text)
		}
		kib, _ := strconv.ParseFloat(string(m[1]), 64)
		l.anonymous += kib * 1024
	}
	if services != n {
		t.Fatalf("%d services run, want %d", services, n)
	}
	anonymous, kernel := groupMemory(t, group)
	l.kernel, l.all = kernel-float64(n)*serviceKernel(t), anonymous+kernel
	return l
}

// alone is how many seconds the scripts of n logged services take, one after the other as
// fast as they can be executed, where nobody supervises them: what no supervisor can save.
// With logs those of the log services are among them, each with a program in svlogd's place
// that does nothing.
func alone(t *testing.T, n int, logs bool) float64 {
	t.Helper()
	root, _ := layLogged(t, n, loggedKind{}, loggedRun, "-tt")
	nothing, err := exec.LookPath("true")
	if err == nil {
		err = os.Symlink(nothing, root+"/svlogd")
	}
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in, out := r.Fd(), w.Fd()
	start := func(dir string) int {
		pid, err := syscall.ForkExec("./run", []string{"./run"}, &syscall.ProcAttr{
			Dir: dir, Env: []string{"PATH=" + root + ":/usr/bin:/bin"}, Files: []uintptr{in, out, 2}})
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	var services, loggers []int
	begin := time.Now()
	for i := range n {
		dir := fmt.Sprintf("%s/sv/s%04d", root, i)
		if logs {
			loggers = append(loggers, start(dir+"/log"))
		}
		services = append(services, start(dir))
	}
	for _, pid := range loggers {
		syscall.Wait4(pid, nil, 0, nil)
	}
	w.Close()
	io.ReadFull(r, make([]byte, n*len("begin\n")))
	took := time.Since(begin).Seconds()
	for _, pid := range services {
		syscall.Kill(pid, syscall.SIGKILL)
		syscall.Wait4(pid, nil, 0, nil)
	}
	return took
}

// groupMemory is the anonymous memory of a cgroup's processes, and the kernel's for them.
func groupMemory(t *testing.T, group string) (anonymous, kernel float64) {
	t.Helper()
	k, err := kernelMemory(group)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(group, "memory.stat"))
	m := regexp.MustCompile(`(?m)^(?:rss|anon) (\d+)`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s: %s", group, text)
	}
	anonymous, _ = strconv.ParseFloat(string(m[1]), 64)
	return anonymous, float64(k)
}

// TestBenchLoggedFlood has 50 services write as fast as they can, all at once, and tells
// how many megabytes a second come into the files, of all kinds in turns.
func TestBenchLoggedFlood(t *testing.T) {
	const n, size = 50, 8 << 20
	kinds := loggedKinds(t)
	rows := [][]string{{"", "", "in all", "of own processes", "of runit's"}}
	for _, c := range []struct{ name, options string }{{"plain", "-l 1000"}, {"-tt", "-tt"}} {
		rates := map[string][]float64{}
		for round := range 4 * len(kinds) {
			k := kinds[round%len(kinds)]
			if k.log == "" {
				t.Run(k.name, func(t *testing.T) {
					rates[k.name] = append(rates[k.name], flooded(t, n, size, k, c.options))
				})
			}
		}
		for _, k := range kinds {
			if r := rates[k.name]; len(r) > 0 {
				m := median(r)
				rows = append(rows, []string{c.name, k.name, fmt.Sprintf("%.0f MB/s (%.0f to %.0f)", m, slices.Min(r), slices.Max(r)),
					fmt.Sprintf("%.2f", m/median(rates["own processes"])), fmt.Sprintf("%.2f", m/median(rates["runit"]))})
			}
		}
	}
	table(t, "50 logged services that write lines of 100 bytes at once (medians)", rows)
}

// TestBenchLoggedLate has services write as fast as they can, without an end, and tells how
// late a line of another is in its file meanwhile, of all kinds in turns.
func TestBenchLoggedLate(t *testing.T) {
	kinds := loggedKinds(t)
	rows := [][]string{{"", "", "as a rule", "one of 20", "the latest"}}
	for _, n := range []int{1, 4, 20} {
		late := map[string][]time.Duration{}
		for round := range 3 * len(kinds) {
			k := kinds[round%len(kinds)]
			if k.log == "" {
				t.Run(k.name, func(t *testing.T) { late[k.name] = append(late[k.name], lateness(t, n, k)...) })
			}
		}
		for _, k := range kinds {
			if l := late[k.name]; len(l) > 0 {
				slices.Sort(l)
				rows = append(rows, []string{fmt.Sprint(n), k.name, fmt.Sprint(l[len(l)/2].Round(10 * time.Microsecond)),
					fmt.Sprint(l[len(l)*19/20].Round(10 * time.Microsecond)), fmt.Sprint(l[len(l)-1].Round(10 * time.Microsecond))})
			}
		}
	}
	table(t, "how late a line is in its file while so many others flood theirs", rows)
}

// lateness is how late each of 40 lines of a service is in its file while n others write
// without an end.
func lateness(t *testing.T, n int, k loggedKind) (all []time.Duration) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fifo := dir + "/lines"
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	// The first says what comes through the FIFO, the others flood when there is a file.
	currents, _, _, goes := plantLogged(t, n+1, k, `#!/bin/sh
case $PWD in */s0000) exec cat <>`+fifo+`;; esac
until [ -e `+dir+`/flood ]; do sleep .01; done
exec yes a line of a flood
`, "-l 1000")
	goes()
	file, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	line := func(text string) time.Duration {
		begin := time.Now()
		file.WriteString(text + "\n")
		for !strings.HasSuffix(tail(currents[0]), text+"\n") {
			if time.Since(begin) > time.Minute {
				t.Fatalf("no %q", text)
			}
			time.Sleep(200 * time.Microsecond)
		}
		return time.Since(begin)
	}
	line("ready")
	if err := os.WriteFile(dir+"/flood", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, current := range currents[1:] {
		for st, err := os.Stat(current); err != nil || st.Size() == 0; st, err = os.Stat(current) {
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 40 {
		all = append(all, line(fmt.Sprintf("line %d", i)))
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

// flooded is the rate at which lines come into the files of n services, in MB/s.
func flooded(t *testing.T, n, size int, k loggedKind, options string) float64 {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	lines := bytes.Repeat([]byte(strings.Repeat("x", 99)+"\n"), size/100)
	if err := os.WriteFile(dir+"/lines", lines, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/go", 0o644); err != nil {
		t.Fatal(err)
	}
	currents, _, _, goes := plantLogged(t, n, k, "#!/bin/sh\necho ready\nread x <"+dir+"/go\ncat "+dir+"/lines\necho the end\nexec sleep 100000\n", options)
	goes()
	endsIn := func(words string) {
		for _, current := range currents {
			for begin := time.Now(); !strings.HasSuffix(tail(current), words); time.Sleep(time.Millisecond) {
				if time.Since(begin) > 2*time.Minute {
					t.Fatalf("%s: no %q", current, words)
				}
			}
		}
	}
	endsIn("ready\n")
	time.Sleep(time.Second)
	begin := time.Now()
	if err := os.WriteFile(dir+"/go", bytes.Repeat([]byte("\n"), n), 0); err != nil {
		t.Fatal(err)
	}
	endsIn("the end\n")
	return float64(n*len(lines)) / 1e6 / time.Since(begin).Seconds()
}

// tail is the end of a file.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 16)
	f.Seek(-int64(len(b)), io.SeekEnd)
	n, _ := f.Read(b)
	return string(b[:n])
}

// serviceKernel is what the kernel holds for a service that sleeps, in bytes.
func serviceKernel(t *testing.T) float64 {
	t.Helper()
	const some = 100
	var all []*exec.Cmd
	group := inMemoryGroup(t, func() {
		for range some {
			cmd := exec.Command("sleep", "1000")
			if cmd.Start() == nil {
				all = append(all, cmd)
			}
		}
	})
	defer func() {
		for _, cmd := range all {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	_, kernel := groupMemory(t, group)
	return kernel / some
}
