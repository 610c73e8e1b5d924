//go:build bench

package applets

import (
	"bytes"
	encoding "encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	players["bench-spawn"] = benchSpawn // only where there are benches
	ownMounts()
}

// ownMounts has the suite start again with mounts of its own, where it may: the
// trees are then on a tmpfs, as what is below /run is. A file system on a disk
// remembers for minutes which inodes were deleted, and the files of a tree would
// pay for the end of the one before.
func ownMounts() {
	const done = "RUNITBOX_OWN_MOUNTS"
	if !strings.HasSuffix(os.Args[0], ".test") || os.Geteuid() != 0 || os.Getenv(done) != "" {
		return
	}
	if unshare, err := exec.LookPath("unshare"); err == nil {
		self, _ := os.Executable()
		syscall.Exec(unshare, append([]string{"unshare", "--mount", self}, os.Args[1:]...), append(os.Environ(), done+"=1"))
	}
}

// benchSpawn is the floor of what starting processes costs: it opens as many
// descriptors as its first argument says, waits for a line, and then starts
// ./run in each directory below the others.
func benchSpawn(argv []string) int {
	n, err := strconv.Atoi(argv[0])
	if err != nil {
		return 100
	}
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	limit.Cur = limit.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for range n {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			fmt.Fprintln(os.Stderr, "bench-spawn: open:", err)
			return 111
		}
	}
	var dirs []string
	for _, dir := range argv[1:] {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return 111
		}
		for _, e := range entries {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	for _, dir := range dirs {
		if _, err := syscall.ForkExec("./run", []string{"./run"}, &syscall.ProcAttr{Dir: dir, Files: []uintptr{0, 1, 2}}); err != nil {
			fmt.Fprintln(os.Stderr, "bench-spawn:", err)
			return 111
		}
	}
	for {
		unix.Pause()
	}
}

// tiny is a static program of some two hundred bytes that writes one byte to a
// FIFO and then waits for ever. Other architectures use the shell.
func tiny(fifo string) []byte {
	if runtime.GOARCH != "amd64" {
		return []byte("#!/bin/sh\necho >" + fifo + "\nexec sleep 1000000\n")
	}
	const base, head = 0x400000, 64 + 56
	code := []byte{
		0xb8, 2, 0, 0, 0, // mov eax, open
		0x48, 0x8d, 0x3d, 0, 0, 0, 0, // lea rdi, [rip+path]
		0xbe, 1, 0, 0, 0, // mov esi, O_WRONLY
		0x31, 0xd2, // xor edx, edx
		0x0f, 0x05, // syscall
		0x89, 0xc7, // mov edi, eax
		0x48, 0x8d, 0x35, 0, 0, 0, 0, // lea rsi, [rip+path]
		0xba, 1, 0, 0, 0, // mov edx, 1
		0xb8, 1, 0, 0, 0, // mov eax, write
		0x0f, 0x05, // syscall
		0xb8, 3, 0, 0, 0, // mov eax, close
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov before
	}
	for _, end := range []int{12, 30} { // the path comes behind the code
		encoding.LittleEndian.PutUint32(code[end-4:], uint32(len(code)-end))
	}
	body := append(code, append([]byte(fifo), 0)...)
	size := uint64(head + len(body))
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le := encoding.LittleEndian
	b = le.AppendUint16(b, 2)         // an executable
	b = le.AppendUint16(b, 62)        // for amd64
	b = le.AppendUint32(b, 1)         // version
	b = le.AppendUint64(b, base+head) // entry
	b = le.AppendUint64(b, 64)        // program headers
	b = le.AppendUint64(b, 0)         // no sections
	b = le.AppendUint32(b, 0)         // flags
	b = le.AppendUint16(b, 64)        // this header's size
	b = le.AppendUint16(b, 56)        // a program header's size
	b = le.AppendUint16(b, 1)         // and their number
	b = append(b, 64, 0, 0, 0, 0, 0)  // section header's size, number, names
	b = le.AppendUint32(b, 1)         // load
	b = le.AppendUint32(b, 4|1)       // readable, executable
	b = le.AppendUint64(b, 0)         // from the file's start
	b = le.AppendUint64(b, base)      // to there
	b = le.AppendUint64(b, base)      //
	b = le.AppendUint64(b, size)      // in the file
	b = le.AppendUint64(b, size)      // in memory
	b = le.AppendUint64(b, 0x1000)    // aligned
	return append(b, body...)
}

// ups counts the bytes that services write when they are up.
type ups struct{ fifo *os.File }

// wait waits for n services to say that they are up.
func (u ups) wait(n int, limit time.Duration) error {
	u.fifo.SetReadDeadline(time.Now().Add(limit))
	buf := make([]byte, 4096)
	for got := 0; got < n; {
		k, err := u.fifo.Read(buf[:min(len(buf), n-got)])
		if err != nil {
			return fmt.Errorf("%d of %d services are up: %w", got, n, err)
		}
		got += k
	}
	return nil
}

// contender is a supervision suite, or what takes the place of one.
type contender struct {
	name   string
	argv   []string // the services directory is appended
	env    []string
	most   int    // services in one directory; 0: no limit
	sv     string // shows states, where it has one
	usrBin string // what it insists on finding in /usr/bin is here
	picks  bool   // finds new links by itself
	single bool   // all services have one supervisor that can be replaced
	logs   bool   // each service has a log service
	chain  int    // so many services in a row need the one before; 0: none does
}

// contenders are ours and what is found of the others. The first is the
// measure of all; the last is the floor.
func contenders(t *testing.T) map[string]contender {
	t.Helper()
	self := built(t)
	bin := withLinks(t, self)
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spawn := filepath.Join(bin, "bench-spawn")
	if err := os.Symlink(me, spawn); err != nil {
		t.Fatal(err)
	}
	all := map[string]contender{"bare spawn": {argv: []string{spawn, "0"}}}
	if known("runsvdir") && known("runsv") {
		all["runitbox"] = contender{argv: []string{filepath.Join(bin, "runsvdir")}, env: []string{"PATH=" + bin + ":/usr/bin:/bin"}, sv: filepath.Join(bin, "sv"), picks: true, single: true}
	}
	root := os.Getenv("RUNITBOX_PEERS")
	if root == "" {
		root = "../build/peers"
	}
	root, err = filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	usr := filepath.Join(root, "usr/bin")
	have := func(names ...string) bool {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(usr, name)); err != nil {
				fmt.Fprintf(t.Output(), "%s is missing among the peers\n", name)
				return false
			}
		}
		return true
	}
	if have("runsvdir", "runsv", "sv") {
		all["runit"] = contender{argv: []string{filepath.Join(usr, "runsvdir")}, env: []string{"PATH=" + usr + ":/usr/bin:/bin"}, most: 1000, sv: filepath.Join(usr, "sv"), picks: true}
	}
	if have("s6-svscan", "s6-supervise") {
		libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*/libs6.so*"))
		env := []string{"PATH=" + usr + ":/usr/bin:/bin"}
		if len(libs) > 0 {
			env = append(env, "LD_LIBRARY_PATH="+filepath.Dir(libs[0]))
		}
		all["s6"] = contender{argv: []string{filepath.Join(usr, "s6-svscan"), "-c", "6000"}, env: env, usrBin: usr}
	}
	busybox := filepath.Join(root, "bin/busybox")
	if list, err := exec.Command(busybox, "--list").Output(); err == nil && bytes.Contains(list, []byte("\nrunsvdir\n")) && bytes.Contains(list, []byte("\nrunsv\n")) {
		box := t.TempDir()
		for _, name := range []string{"runsvdir", "runsv", "sv"} {
			if err := os.Symlink(busybox, filepath.Join(box, name)); err != nil {
				t.Fatal(err)
			}
		}
		all["busybox"] = contender{argv: []string{filepath.Join(box, "runsvdir")}, env: []string{"PATH=" + box + ":/usr/bin:/bin"}, sv: filepath.Join(box, "sv"), picks: true}
	} else {
		fmt.Fprintln(t.Output(), "busybox has no runsvdir and runsv here")
	}
	for name, c := range all {
		c.name = name
		all[name] = c
	}
	return all
}

// tree is a running tree of services.
type tree struct {
	contender
	root  string
	dirs  []string // the services directories
	n     int
	tiny  string
	init  int // process 1 of the namespace that holds it all
	up    ups
	began time.Time
	took  time.Duration // until all services were up
	group string        // its memory cgroup, or empty
}

// plant lays out n services for c and starts them.
func plant(t *testing.T, c contender, n int) *tree {
	t.Helper()
	// The tree is ended by the namespace's end; then its directory can go.
	root, err := os.MkdirTemp("", "runitbox-bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if os.Geteuid() == 0 && unix.Mount("runitbox-bench", root, "tmpfs", 0, "mode=755") == nil {
		t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	}
	tr := &tree{contender: c, root: root, n: n, tiny: filepath.Join(root, "tiny")}
	fifo := filepath.Join(root, "up")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(tr.tiny, tiny(fifo), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tr.up = ups{f}
	most := c.most
	if most == 0 {
		most = n
	}
	for i := range n {
		if i%most == 0 {
			tr.dirs = append(tr.dirs, filepath.Join(root, fmt.Sprintf("services%d", i/most)))
		}
		dir := tr.dirs[len(tr.dirs)-1]
		tr.service(t, dir, fmt.Sprintf("s%04d", i))
		if c.chain > 0 && i%c.chain > 0 {
			needs := filepath.Join(dir, fmt.Sprintf("s%04d", i), "needs")
			if err := errors.Join(os.Mkdir(needs, 0o755), os.WriteFile(filepath.Join(needs, fmt.Sprintf("s%04d", i-1)), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	hour := time.Now().Add(-time.Hour) // so that nobody waits for the second to be over
	for _, dir := range tr.dirs {
		if err := os.Chtimes(dir, hour, hour); err != nil {
			t.Fatal(err)
		}
	}

	// The shell tells that it is there, waits for a line, and becomes the
	// suite: what the namespace costs is not measured.
	line := "echo >\"$0\"; read x; "
	if c.usrBin != "" { // the namespace has its own mounts
		line = "mount --bind " + c.usrBin + " /usr/bin; " + line
	}
	argv := []string{"-c", "", fifo}
	if c.name == "bare spawn" {
		line += "exec \"$@\" </dev/null"
		argv = append(append(argv, c.argv...), tr.dirs...)
	} else {
		for _, dir := range tr.dirs {
			line += strings.Join(c.argv, " ") + " " + dir + " </dev/null 2>" + filepath.Join(root, "messages") + " & "
		}
		line += "wait"
	}
	argv[1] = line
	cmd := contained(t, exec.Command("/bin/sh", argv...))
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	tr.group = inMemoryGroup(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	tr.init = cmd.Process.Pid
	if err := tr.up.wait(1, time.Minute); err != nil {
		t.Fatal(err)
	}
	tr.began = time.Now()
	io.WriteString(in, "\n")
	ups := n
	if c.logs {
		ups = 2 * n
	}
	if err := tr.up.wait(ups, time.Minute+time.Duration(n)*20*time.Millisecond); err != nil {
		text, _ := os.ReadFile(filepath.Join(root, "messages"))
		t.Fatalf("%s: %v\n%.2000s", c.name, err, text)
	}
	tr.took = time.Since(tr.began)
	return tr
}

// service makes a service directory.
func (tr *tree) service(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	homes := []string{path}
	if tr.logs {
		homes = append(homes, filepath.Join(path, "log"))
	}
	for _, home := range homes {
		if err := os.MkdirAll(home, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(tr.tiny, filepath.Join(home, "run")); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// below lists the processes that descend from root.
func below(root int) []task {
	children := map[int][]task{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p)
	}
	var all []task
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			all = append(all, p)
			next = append(next, p.pid)
		}
	}
	return all
}

// parts tells the services of the tree from the processes that supervise them;
// the shell that has started it belongs to neither.
func (tr *tree) parts() (services map[string]int, supervisors []task) {
	services = map[string]int{}
	for _, p := range below(tr.init) {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); exe == tr.tiny {
			cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid))
			name := filepath.Base(cwd)
			if name == "log" {
				name = filepath.Base(filepath.Dir(cwd)) + "/log"
			}
			services[name] = p.pid
		} else if p.parent != tr.init {
			supervisors = append(supervisors, p)
		}
	}
	return services, supervisors
}

// private is the sum of the processes' private memory in bytes.
func private(t *testing.T, of []task) int {
	t.Helper()
	sum := 0
	for _, p := range of {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "Private_"); ok {
				kib, _ := strconv.Atoi(strings.Fields(rest)[1])
				sum += kib << 10
			}
		}
	}
	return sum
}

// wakeups is how often the processes have slept until now, threads and all.
func wakeups(of []task) int {
	sum := 0
	for _, p := range of {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
		for _, path := range paths {
			text, _ := os.ReadFile(path)
			if _, rest, ok := strings.Cut(string(text), "\nvoluntary_ctxt_switches:"); ok {
				n, _ := strconv.Atoi(strings.Fields(rest)[0])
				sum += n
			}
		}
	}
	return sum
}

// comeToRest waits until the processes have slept for two seconds: what follows a
// start is over.
func comeToRest(t *testing.T, of []task) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		before := wakeups(of)
		time.Sleep(2 * time.Second)
		if wakeups(of) == before {
			return
		}
		if time.Now().After(end) {
			fmt.Fprintln(t.Output(), "after a minute there is no rest yet")
			return
		}
	}
}

// inMemoryGroup calls start inside a new memory cgroup and returns its path,
// or just calls it where none can be made.
func inMemoryGroup(t *testing.T, start func()) string {
	t.Helper()
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		base := "/sys/fs/cgroup"
		switch {
		case len(part) != 3:
			continue
		case part[1] == "memory":
			base = "/sys/fs/cgroup/memory"
		case part[1] != "":
			continue
		}
		home := filepath.Join(base, part[2])
		group, err := os.MkdirTemp(home, "runitbox-bench")
		if err != nil {
			continue
		}
		if _, err := kernelMemory(group); err != nil || join(group) != nil {
			os.Remove(group)
			continue
		}
		start()
		if err := join(home); err != nil {
			t.Fatalf("back into %s: %v", home, err)
		}
		t.Cleanup(func() {
			for range 100 { // until the last process has gone
				if os.Remove(group) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Logf("%s is left", group)
		})
		return group
	}
	start()
	return ""
}

// join puts this process, and what it starts from now on, into a cgroup.
func join(group string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// kernelMemory is what the kernel holds for a cgroup's processes, in bytes.
func kernelMemory(group string) (int, error) {
	if text, err := os.ReadFile(filepath.Join(group, "memory.kmem.usage_in_bytes")); err == nil {
		return strconv.Atoi(strings.TrimSpace(string(text)))
	}
	text, err := os.ReadFile(filepath.Join(group, "memory.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "kernel "); ok {
			return strconv.Atoi(strings.TrimSpace(rest))
		}
	}
	return 0, errors.New("no kernel memory in memory.stat")
}

// median is the middle one of what was measured.
func median[T int | float64 | time.Duration](of []T) T {
	s := slices.Clone(of)
	slices.Sort(s)
	return s[len(s)/2]
}

// order is a new order of the contenders for each round, so that none of them
// always comes first.
func order(all map[string]contender, round int) []contender {
	names := []string{"runit", "runitbox", "busybox", "s6", "bare spawn"}
	var some []contender
	for i := range names {
		if c, ok := all[names[(i+round)%len(names)]]; ok {
			some = append(some, c)
		}
	}
	return some
}

// table prints rows under a title.
func table(t *testing.T, title string, rows [][]string) {
	t.Helper()
	w := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s\n", title)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	w.Flush()
}

// verdicts are what the benches have found of the targets, for the summary.
var verdicts []string

// target says of a figure whether it holds, at once and again at the end.
func target(t *testing.T, what string, figure float64, unit string, atMost bool, limit float64) {
	t.Helper()
	sign, holds := "at least", figure >= limit
	if atMost {
		sign, holds = "at most", figure <= limit
	}
	word := "holds"
	if !holds {
		word = "MISSED"
	}
	line := fmt.Sprintf("%-6s  %s: %.2f%s, target %s %g%s", word, what, figure, unit, sign, limit, unit)
	fmt.Fprintln(t.Output(), line)
	verdicts = append(verdicts, line)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

// TestBenchStart measures how long a tree takes until all services are up.
func TestBenchStart(t *testing.T) {
	all := contenders(t)
	perService := map[int]time.Duration{} // ours
	// No more than there are descriptors for, at four a service.
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	large := int(min(5000, (limit.Max-100)/4))
	for _, size := range []struct{ n, rounds int }{{100, 7}, {500, 7}, {2000, 4}, {large, 2}} {
		took := map[string][]time.Duration{}
		for round := range size.rounds {
			for _, c := range order(all, round) {
				if size.n > 2000 && c.name != "runitbox" && c.name != "bare spawn" {
					continue
				}
				t.Run(fmt.Sprint(c.name, size.n), func(t *testing.T) {
					took[c.name] = append(took[c.name], plant(t, c, size.n).took)
				})
			}
		}
		rows := [][]string{{"", "ms", "least", "most", "µs/service", "runit/it", "it/bare"}}
		for _, c := range order(all, 0) {
			d := took[c.name]
			if len(d) == 0 {
				continue
			}
			ratio := func(a, b []time.Duration) string {
				if len(a) == 0 || len(b) == 0 {
					return "-"
				}
				return fmt.Sprintf("%.2f", float64(slices.Min(a))/float64(slices.Min(b)))
			}
			rows = append(rows, []string{c.name, ms(median(d)), ms(slices.Min(d)), ms(slices.Max(d)),
				fmt.Sprintf("%.0f", float64(slices.Min(d))/1e3/float64(size.n)), ratio(took["runit"], d), ratio(d, took["bare spawn"])})
			if c.name == "runitbox" {
				perService[size.n] = slices.Min(d) / time.Duration(size.n)
			}
		}
		table(t, fmt.Sprintf("%d services: from the start until all are up (median of %d, in turns; ratios of the least, since what else runs only adds)", size.n, size.rounds), rows)
		if ours := took["runitbox"]; len(ours) > 0 {
			least := float64(slices.Min(ours))
			if d := took["runit"]; len(d) > 0 && size.n == 500 {
				target(t, "start of 500 services, times as fast as runit", float64(slices.Min(d))/least, "", false, 4)
			}
			if d := took["bare spawn"]; len(d) > 0 {
				target(t, fmt.Sprintf("start of %d services, times the bare spawn", size.n), least/float64(slices.Min(d)), "", true, 1.4)
			}
		}
	}
	if a, b := perService[100], perService[2000]; a > 0 && b > 0 {
		target(t, "start: cost per service at 2000, times that at 100", float64(b)/float64(a), "", true, 1.3)
	}
}

// TestBenchNeeds measures what it costs that services need each other.
func TestBenchNeeds(t *testing.T) {
	plain := contenders(t)["runitbox"]
	chained := plain
	chained.chain = 10
	took := [2][]time.Duration{}
	for round := range 10 {
		for i := range 2 {
			which := (i + round) % 2
			t.Run(fmt.Sprint(which), func(t *testing.T) {
				took[which] = append(took[which], plant(t, []contender{plain, chained}[which], 500).took)
			})
		}
	}
	least := func(i int) float64 { return float64(slices.Min(took[i])) }
	target(t, "start of 500 services with needs in chains of 10, times that without", least(1)/least(0), "", true, 1.3)
}

// TestBenchRunning measures trees that run: memory, wake-ups, a killed
// service, a new link, sv status.
func TestBenchRunning(t *testing.T) {
	all := contenders(t)
	for _, n := range []int{100, 500, 2000} {
		type figures struct {
			private, kernel, wake float64
			kill, link, status    []time.Duration
		}
		got := map[string]*figures{}
		bare := 0.0
		for _, c := range order(all, 4) { // the floor first: the others are measured from there
			t.Run(fmt.Sprint(c.name, n), func(t *testing.T) {
				tr := plant(t, c, n)
				f := &figures{private: -1, kernel: -1, wake: -1}
				time.Sleep(5 * time.Second) // services are older than a second, and memory was given back
				services, supervisors := tr.parts()
				comeToRest(t, supervisors)
				if len(services) != n {
					t.Fatalf("%d services run, want %d", len(services), n)
				}
				if tr.group != "" {
					k, err := kernelMemory(tr.group)
					if err != nil {
						t.Fatal(err)
					}
					if f.kernel = float64(k) / float64(n); c.name == "bare spawn" {
						bare = f.kernel
					}
				}
				got[c.name] = f
				if c.name == "bare spawn" {
					return
				}
				f.private = float64(private(t, supervisors)) / float64(n)
				look := 10 * time.Second
				if n == 500 { // what happens once a minute is in it
					look = time.Minute
				}
				before := wakeups(supervisors)
				time.Sleep(look)
				f.wake = float64(wakeups(supervisors)-before) / look.Seconds()
				names := make([]string, 0, n)
				for name := range services {
					names = append(names, name)
				}
				slices.Sort(names)
				for i := range 11 {
					name := names[(i*n/11+n/2)%n]
					begin := time.Now()
					if err := unix.Kill(services[name], unix.SIGKILL); err != nil {
						t.Fatal(err)
					}
					if err := tr.up.wait(1, time.Minute); err != nil {
						t.Fatal(err)
					}
					f.kill = append(f.kill, time.Since(begin))
				}
				if c.sv != "" {
					var paths []string
					for _, dir := range tr.dirs {
						all, _ := filepath.Glob(dir + "/s*")
						paths = append(paths, all...)
					}
					for range 7 {
						cmd := exec.Command(c.sv, append([]string{"status"}, paths...)...)
						begin := time.Now()
						out, err := cmd.Output()
						f.status = append(f.status, time.Since(begin))
						if err != nil || bytes.Count(out, []byte("run: ")) != n {
							t.Fatalf("sv status: %v, %d services", err, bytes.Count(out, []byte("run: ")))
						}
					}
				}
				if c.picks && n <= 500 {
					for i := range 5 {
						path := tr.service(t, filepath.Join(tr.root, "more"), fmt.Sprintf("m%d", i))
						time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Second)))) // anywhere in a look's period
						begin := time.Now()
						if err := os.Symlink(path, filepath.Join(tr.dirs[0], filepath.Base(path))); err != nil {
							t.Fatal(err)
						}
						if err := tr.up.wait(1, time.Minute); err != nil {
							t.Fatal(err)
						}
						f.link = append(f.link, time.Since(begin))
					}
				}
			})
		}
		rows := [][]string{{"", "private KiB", "kernel KiB", "sum KiB", "runit/it", "wake-ups/s", "killed ms", "new link ms", "sv status ms", "runit/it"}}
		sum := func(f *figures) float64 {
			if f.kernel < 0 {
				return f.private
			}
			return f.private + f.kernel - bare
		}
		for _, c := range order(all, 0) {
			f := got[c.name]
			if f == nil {
				continue
			}
			kib := func(x float64) string {
				if x < 0 {
					return "-"
				}
				return fmt.Sprintf("%.1f", x/1024)
			}
			if c.name == "bare spawn" {
				rows = append(rows, []string{c.name, "-", kib(f.kernel), "-", "-", "-", "-", "-", "-", "-"})
				continue
			}
			mid := func(d []time.Duration) string {
				if len(d) == 0 {
					return "-"
				}
				return ms(median(d))
			}
			less, quick := "-", "-"
			if r := got["runit"]; r != nil {
				less = fmt.Sprintf("%.2f", sum(r)/sum(f))
				if len(f.status) > 0 {
					quick = fmt.Sprintf("%.2f", float64(median(r.status))/float64(median(f.status)))
				}
			}
			added := "-"
			if f.kernel >= 0 {
				added = kib(f.kernel - bare)
			}
			rows = append(rows, []string{c.name, kib(f.private), added, kib(sum(f)), less, fmt.Sprintf("%.1f", f.wake), mid(f.kill), mid(f.link), mid(f.status), quick})
		}
		table(t, fmt.Sprintf("%d services that run: memory added for each (for the bare spawn: its own), and what the tree does", n), rows)
		ours, theirs := got["runitbox"], got["runit"]
		if ours == nil {
			continue
		}
		what := func(text string) string { return fmt.Sprintf("%d services: %s", n, text) }
		target(t, what("wake-ups per second when idle"), ours.wake, "", true, 0.4)
		if len(ours.link) > 0 {
			target(t, what("a new link runs, after"), float64(median(ours.link))/1e6, " ms", true, 50)
		}
		if theirs != nil {
			target(t, what("memory per service, times less than runit"), sum(theirs)/sum(ours), "", false, 5)
			target(t, what("a killed service runs again, times runit's time"), float64(median(ours.kill))/float64(median(theirs.kill)), "", true, 1)
		}
	}
}

// adoption kills the core of a tree of n logged services, and returns, with the moment
// of that, when its successor holds all locks: that says that it has taken them over,
// while the FIFOs answer all the time.
func adoption(t *testing.T, tr *tree, n int) (begin time.Time) {
	t.Helper()
	time.Sleep(2600 * time.Millisecond) // of five in ten seconds the last would be followed by a pause
	_, supervisors := tr.parts()
	core := slices.IndexFunc(supervisors, func(p task) bool { return p.comm == "runsv" })
	if core < 0 {
		t.Fatalf("no core among %v", supervisors)
	}
	old := supervisors[core]
	begin = time.Now()
	if err := unix.Kill(old.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Who asks for the scanner's children looks at a thousand, and who reads /proc/locks keeps all
	// others from theirs: so it looks only when there is something to be seen, and not all the time.
	next, pause := 0, time.Millisecond
	for ; ; time.Sleep(pause) {
		switch state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", old.pid)); {
		case next != 0:
			if len(locksOf(next)) == 2*n {
				return begin
			}
		case len(state) == 0: // it is collected, and the next is about to be made
			if next = childOf(old.parent, "runsv"); next != 0 {
				pause = 5 * time.Millisecond
			}
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d of %d services and log services are adopted by %d", len(locksOf(next)), 2*n, next)
		}
	}
}

// TestBenchAdopt measures how long a tree is without its supervisor when that
// is killed: until a new one has taken over all services, with their log
// services, and sv shows them.
func TestBenchAdopt(t *testing.T) {
	c, ok := contenders(t)["runitbox"]
	if !ok {
		t.Skip("no runsvdir yet")
	}
	c.logs = true
	rows := [][]string{{"services", "adopted ms", "least", "most", "sv status too"}}
	for _, n := range []int{100, 500, 2000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			tr := plant(t, c, n)
			paths, _ := filepath.Glob(tr.dirs[0] + "/s*")
			var adopted, shown []time.Duration
			for range 7 {
				before, _ := tr.parts()
				begin := adoption(t, tr, n)
				adopted = append(adopted, time.Since(begin))
				out, err := exec.Command(c.sv, append([]string{"status"}, paths...)...).Output()
				shown = append(shown, time.Since(begin))
				if err != nil || bytes.Count(out, []byte("run: ")) != 2*n {
					t.Fatalf("sv status: %v, %d services", err, bytes.Count(out, []byte("run: ")))
				}
				after, _ := tr.parts()
				for name, pid := range before {
					if after[name] != pid {
						t.Errorf("%s was %d and is %d", name, pid, after[name])
					}
				}
			}
			rows = append(rows, []string{strconv.Itoa(n), ms(median(adopted)), ms(slices.Min(adopted)), ms(slices.Max(adopted)), ms(median(shown))})
			if n == 500 {
				target(t, "500 services with log services: from a killed core to sv showing all", float64(median(shown))/1e6, " ms", true, 500)
			}
		})
	}
	table(t, "services with log services: from kill -9 of the core until its successor holds them all, and sv has shown them (median of 7)", rows)
}

// TestBenchDescriptors measures what a parent's open descriptors cost each of
// its children: their table is made as large as the parent's.
func TestBenchDescriptors(t *testing.T) {
	c := contenders(t)["bare spawn"]
	const n = 2000
	rows := [][]string{{"open in the parent", "kernel KiB per child", "more", "µs per spawn"}}
	first := 0.0
	for _, open := range []int{0, 1000, 5000, 10000, 15000} {
		t.Run(strconv.Itoa(open), func(t *testing.T) {
			c := c
			c.argv = []string{c.argv[0], strconv.Itoa(open)}
			var kernel []float64
			var took []time.Duration
			for range 3 {
				t.Run("", func(t *testing.T) {
					tr := plant(t, c, n)
					took = append(took, tr.took)
					if tr.group == "" {
						t.Skip("no memory cgroup can be made here")
					}
					k, err := kernelMemory(tr.group)
					if err != nil {
						t.Fatal(err)
					}
					kernel = append(kernel, float64(k)/n)
				})
			}
			if len(kernel) == 0 {
				t.Skip("no memory cgroup can be made here")
			}
			k := median(kernel)
			if first == 0 {
				first = k
			}
			rows = append(rows, []string{strconv.Itoa(open), fmt.Sprintf("%.1f", k/1024), fmt.Sprintf("%+.1f", (k-first)/1024), fmt.Sprintf("%.0f", float64(median(took))/1e3/n)})
		})
	}
	table(t, "children of a parent with open descriptors", rows)
}

// TestBenchSupervised repeats the targets of supervision and whether they hold.
// It stands last in this file, and so comes after the benches that measure them.
func TestBenchSupervised(t *testing.T) {
	if len(verdicts) > 0 {
		fmt.Fprintf(t.Output(), "\nThe targets of supervision:\n%s\n", strings.Join(verdicts, "\n"))
	}
}
