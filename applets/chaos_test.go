package applets

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/scanner"
)

// TestChaos runs a tree of services that is hurt at random, and checks that
// nobody but those who were meant has noticed. make chaos runs it for long:
// RUNITBOX_CHAOS is the number of events, RUNITBOX_CHAOS_SEED repeats a run, and
// RUNITBOX_CHAOS_FAVOUR=EVENT,... has those come five times as often. Log services share
// processes but for a seed in four, or as RUNITBOX_CHAOS_SHARE=true or false says.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "is long")
	}
	if err := exec.Command("/usr/bin/perl", "-MTime::HiRes", "-e1").Run(); err != nil {
		skip(t, "no perl with Time::HiRes here for the services")
	}
	count, seed := "50", os.Getenv("RUNITBOX_CHAOS_SEED")
	if n := os.Getenv("RUNITBOX_CHAOS"); n != "" {
		count = n
	}
	if seed == "" {
		seed = strconv.FormatUint(rand.Uint64(), 10)
	}
	bin := withLinks(t, built(t))
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	driver := filepath.Join(bin, "chaos")
	if err := os.Symlink(me, driver); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Abs("../testdata/chaos")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "runitbox-chaos")
	if err != nil {
		t.Fatal(err)
	}
	// The driver and all it starts live in a PID namespace and end with it.
	strict := strconv.FormatBool(os.Getenv("RUNITBOX_CHAOS") != "")
	cmd := contained(t, exec.Command(driver, dir, bin, files, count, seed, strict))
	over := make(chan struct{})
	go lookOutside(dir, over)
	out, err := cmd.CombinedOutput()
	close(over)
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%v; RUNITBOX_CHAOS=%s RUNITBOX_CHAOS_SEED=%s repeats it; see %s", err, count, seed, dir)
		return
	}
	os.RemoveAll(dir)
}

// lookOutside answers the driver who has a pipe open: a process that is not in its
// namespace can read what its tree has written too.
func lookOutside(dir string, over chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-time.After(100 * time.Millisecond):
		}
		question := filepath.Join(dir, "pipe")
		text, err := os.ReadFile(question)
		ino, _ := strconv.ParseUint(string(text), 10, 64)
		if err == nil && ino != 0 {
			answer := filepath.Join(dir, "holders")
			os.WriteFile(answer+".new", []byte(holders(ino)), 0o644)
			os.Remove(question)
			os.Rename(answer+".new", answer)
		}
	}
}

func init() { players["chaos"] = func(argv []string) int { return newChaos(argv).play() } }

// chaos is a tree of services, what is done to it, and what was seen.
type chaos struct {
	dir, bin string
	session  bool // runsvdir -P
	share    bool // log services share processes
	rand     *rand.Rand
	events   int
	strict   bool // what costs no line and no service is a fault too
	scanner  *exec.Cmd
	pid      atomic.Int64 // of the scanner
	subjects []*subject
	slow     []*subject // on a file system that can be made to hang
	stallfs  *exec.Cmd  // its server; nil where there is none
	group    string     // the tree's cgroup, whose processes can be limited; "" where there is none

	mu       sync.Mutex
	faults   []string
	done     map[string]int
	kills    int
	hosts    int             // of those, of processes of several log services
	story    []string        // what was done, and when
	robbed   map[uint64]bool // pipes that somebody else reads, and that was told
	gaps     [][2]time.Time  // from a kill of scanner and core to their return
	cuts     [][2]time.Time  // from any kill of core or scanner to the return
	absent   [][2]time.Time  // from any kill of the scanner to its return
	hindered [][2]time.Time  // when a disk hung, or no process could be made
	unknown  int             // ends told as unknown in such gaps
	flaws    int
	again    int // ends told twice in such gaps
	lines    int
	torn     int // lines that a killed logger had read
	gone     int // lines that nobody was there to hold
	slowest  time.Duration
	timeouts int
	takeover time.Duration
	spanning sync.WaitGroup
	rests    []time.Time // kills of the core
}

// subject is one of the services: what it is ordered to be, and what was done
// to it.
type subject struct {
	name   string
	busy   sync.Mutex // one thing at a time
	linked bool
	up     bool
	paused bool
	gap    string // in the log, as it was last seen
	told   bool   // and it was told

	mu      sync.Mutex
	sent    []sending
	loggers []time.Time // kills of its log service
	unlinks []time.Time
	links   int // how often it was linked
}

// sending is a time in which a signal may have reached a subject.
type sending struct {
	sig      unix.Signal
	from, to time.Time
}

func newChaos(argv []string) *chaos {
	events, _ := strconv.Atoi(argv[3])
	seed, _ := strconv.ParseUint(argv[4], 10, 64)
	c := &chaos{dir: argv[0], bin: argv[1], events: events, strict: argv[5] == "true", rand: rand.New(rand.NewPCG(seed, 1)), done: map[string]int{}, robbed: map[uint64]bool{}}
	c.session = c.rand.IntN(2) == 0
	c.share = seed%4 != 0
	if share, err := strconv.ParseBool(os.Getenv("RUNITBOX_CHAOS_SHARE")); err == nil {
		c.share = share
	}
	fmt.Printf("chaos: %d events, seed %d, -P %t, shared logs %t\n", events, seed, c.session, c.share)
	c.hang()
	c.limited()
	c.must(os.Mkdir(filepath.Join(c.dir, "sv"), 0o755))
	for i := range 50 {
		s := &subject{name: fmt.Sprintf("s%02d", i), linked: true, up: true}
		c.subjects = append(c.subjects, s)
		if c.stallfs != nil && i >= 44 {
			c.slow = append(c.slow, s)
			c.must(os.Symlink("../slow/"+s.name, filepath.Join(c.dir, "sv", s.name)))
			c.must(os.Mkdir(filepath.Join(c.dir, "slow", s.name), 0o755))
		}
		for from, to := range map[string]string{"run": "run", "finish": "finish", "log": "log/run"} {
			text, err := os.ReadFile(filepath.Join(argv[2], from))
			c.must(err)
			c.must(os.MkdirAll(filepath.Dir(c.at(s, to)), 0o755))
			c.must(writeFile(c.at(s, to), text, 0o755))
		}
		c.must(os.Mkdir(c.at(s, "counts"), 0o755))
		// Each kill of a svlogd may rotate its log, and all files are counted in the end.
		c.must(os.Mkdir(c.at(s, "log/main"), 0o755))
		c.must(os.WriteFile(c.at(s, "log/main/config"), []byte("n0\n"), 0o644))
	}
	c.must(os.Mkdir(filepath.Join(c.dir, "service"), 0o755))
	for _, s := range c.subjects {
		c.link(s)
	}
	return c
}

// hang mounts the file system of the slow subjects, where that can be had.
func (c *chaos) hang() {
	dir, rules := filepath.Join(c.dir, "slow"), filepath.Join(c.dir, "rules")
	c.must(os.Mkdir(dir, 0o755))
	me, err := os.Executable()
	c.must(err)
	cmd := &exec.Cmd{Path: me, Args: []string{"stallfs", dir, rules}, Stderr: os.Stdout}
	c.must(cmd.Start())
	gone := make(chan struct{})
	go func() {
		cmd.Wait()
		close(gone)
	}()
	for {
		if _, err := os.Stat(rules + ".ready"); err == nil {
			c.stallfs = cmd
			return
		}
		select {
		case <-gone:
			fmt.Println("chaos: no disk hangs here")
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// limited makes the cgroup of the tree, where that can be had.
func (c *chaos) limited() {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		base := "/sys/fs/cgroup"
		if len(part) == 3 && part[1] == "pids" {
			base += "/pids"
		} else if len(part) != 3 || part[1] != "" {
			continue
		}
		group, err := os.MkdirTemp(filepath.Join(base, part[2]), "runitbox-chaos")
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(group, "pids.max")); err == nil {
			c.group = group
			return
		}
		os.Remove(group)
	}
	fmt.Println("chaos: processes cannot be limited here")
}

// stall has a slow subject's disk hang for a while, for one operation or all.
func (c *chaos) stall() {
	if c.stallfs == nil {
		return
	}
	s := c.slow[c.rand.IntN(len(c.slow))]
	ops := []string{"access", "open", "lookup", "getattr", "mkdir", "mknod", "create", "rename", "unlink", "write", "read", "*"}
	below := []string{"", "/*", "/supervise/*", "/log", "/log/*", "/log/supervise/*", "/log/main/*"}
	rule := ops[c.rand.IntN(len(ops))] + " " + s.name + below[c.rand.IntN(len(below))]
	c.hinder(time.Duration(c.rand.IntN(2000))*time.Millisecond, func(on bool) {
		if !on {
			rule = ""
		}
		c.must(os.WriteFile(filepath.Join(c.dir, "rules"), []byte(rule+"\n"), 0o644))
	})
}

// limit lets the tree make no more processes, or just a few, for a while.
func (c *chaos) limit() {
	if c.group == "" {
		return
	}
	n := c.rand.IntN(3)
	c.hinder(time.Duration(c.rand.IntN(2000))*time.Millisecond, func(on bool) {
		most := "max"
		if on {
			text, err := os.ReadFile(filepath.Join(c.group, "pids.current"))
			c.must(err)
			current, err := strconv.Atoi(strings.TrimSpace(string(text)))
			c.must(err)
			most = strconv.Itoa(current + n)
		}
		c.must(os.WriteFile(filepath.Join(c.group, "pids.max"), []byte(most), 0o644))
	})
}

// hinder sets something for a while, beside what else happens.
func (c *chaos) hinder(d time.Duration, set func(on bool)) {
	c.mu.Lock()
	at := len(c.hindered)
	begin := time.Now()
	c.hindered = append(c.hindered, [2]time.Time{begin, begin.Add(time.Hour)})
	c.mu.Unlock()
	set(true)
	c.spanning.Go(func() {
		time.Sleep(d)
		set(false)
		c.mu.Lock()
		defer c.mu.Unlock()
		// What could not be made is tried again in five seconds.
		c.hindered[at][1] = time.Now().Add(5 * time.Second)
	})
}

// must ends the driver: the machine it runs on lets it down.
func (c *chaos) must(err error) {
	if err != nil {
		fmt.Println("chaos:", err)
		os.Exit(2)
	}
}

// clock is how times of the day are told.
const clock = "15:04:05.000"

// flaw notes what should not happen but hurts no service and loses no line: a
// log service that was started again, or that reads its lines late. The short
// run only tells of it.
func (c *chaos) flaw(format string, args ...any) {
	if c.strict {
		c.fault(format, args...)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flaws++
}

// fault notes, once, what must never happen.
func (c *chaos) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	known := slices.ContainsFunc(c.faults, func(f string) bool { return strings.HasSuffix(f, text) })
	if len(c.faults) < 50 && !known {
		c.faults = append(c.faults, time.Now().Format(clock)+" "+text)
	}
}

// at is the path of a subject's file.
func (c *chaos) at(s *subject, name string) string { return filepath.Join(c.dir, "sv", s.name, name) }

func (c *chaos) link(s *subject) {
	s.links++
	c.must(os.Symlink("../sv/"+s.name, filepath.Join(c.dir, "service", s.name)))
}

// start starts runsvdir.
func (c *chaos) start() {
	messages, err := os.OpenFile(filepath.Join(c.dir, "messages"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	c.must(err)
	defer messages.Close()
	argv := []string{"runsvdir", filepath.Join(c.dir, "service")}
	if !c.share {
		argv = []string{"runsvdir", scanner.NoShareLogs, argv[1]}
	}
	if c.session {
		argv = append([]string{"runsvdir", "-P"}, argv[1:]...)
	}
	path := filepath.Join(c.bin, "runsvdir")
	if c.group != "" {
		argv = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs"; exec "$@"`, c.group}, argv...)
		path = "/bin/sh"
	}
	c.scanner = &exec.Cmd{
		Path: path, Args: argv, Dir: c.dir,
		Env: []string{"PATH=" + c.bin + ":/usr/bin:/bin"}, Stderr: messages,
	}
	c.must(c.scanner.Start())
	c.pid.Store(int64(c.scanner.Process.Pid))
}

// core is the scanner's child that supervises; 0 while there is none.
func (c *chaos) core() int {
	for _, p := range processes() {
		if p.parent == c.scannerPid() && p.comm == "runsv" && p.state != 'Z' {
			return p.pid
		}
	}
	return 0
}

// task is a line of the table of processes.
type task struct {
	pid, parent int
	state       byte
	comm        string
	ticks       uint64
}

// processes lists all there are in this namespace.
func processes() []task {
	var all []task
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		if err != nil || open < 0 || end < open {
			continue
		}
		f := strings.Fields(string(text[end+1:]))
		p := task{state: f[0][0], comm: string(text[open+1 : end])}
		p.pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:open])))
		p.parent, _ = strconv.Atoi(f[1])
		p.ticks, _ = strconv.ParseUint(f[19], 10, 64)
		all = append(all, p)
	}
	return all
}

// running is the process of a subject's last life, if that goes on.
func (c *chaos) running(s *subject) int {
	lives := c.lives(s)
	if len(lives) == 0 || lives[len(lives)-1].ended {
		return 0
	}
	return lives[len(lives)-1].pid
}

// taken waits until the core holds the lock of every linked service and log
// service: then it has taken over. That the FIFOs answer says nothing, since
// the scanner keeps them open while no core is there.
func (c *chaos) taken(limit time.Duration) {
	begin := time.Now()
	for {
		missing := ""
		if core := c.core(); core == 0 {
			missing = "all"
		} else {
			held := locksOf(core)
			for _, s := range c.subjects {
				for _, name := range []string{"supervise/lock", "log/supervise/lock"} {
					var st unix.Stat_t
					if unix.Stat(c.at(s, name), &st) == nil && held[st.Ino] && answers(c.at(s, "supervise/ok")) {
						continue
					}
					if _, err := os.Lstat(filepath.Join(c.dir, "service", s.name)); err == nil {
						missing += " " + s.name + "/" + name
					}
				}
			}
		}
		if missing == "" {
			break
		}
		if time.Since(begin) > limit {
			c.fault("not taken over within %v: %s%s", limit, missing, supervisors())
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.takeover = max(c.takeover, time.Since(begin))
}

// answers says whether somebody supervises.
func answers(ok string) bool {
	fd, err := unix.Open(ok, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// supervisors tells of the scanners and cores there are: what they wait for,
// and how they are connected.
func supervisors() string {
	var b strings.Builder
	for _, p := range processes() {
		if p.comm != "runsvdir" && p.comm != "runsv" {
			continue
		}
		wchan, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", p.pid))
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		fmt.Fprintf(&b, "\n\t%s (%d), a child of %d, %c in %s, %q:", p.comm, p.pid, p.parent, p.state, wchan, line)
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
				fmt.Fprintf(&b, " %s %s", filepath.Base(fd), to)
			}
		}
	}
	return b.String()
}

// locksOf lists the inodes of the files that a process has locked.
func locksOf(pid int) map[uint64]bool {
	held := map[uint64]bool{}
	text, _ := os.ReadFile("/proc/locks")
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[4] != strconv.Itoa(pid) {
			continue
		}
		ino, _ := strconv.ParseUint(f[5][strings.LastIndexByte(f[5], ':')+1:], 10, 64)
		held[ino] = true
	}
	return held
}

// replaced waits for a core that is not the old one.
func (c *chaos) replaced(old int) {
	for end := time.Now().Add(30 * time.Second); ; {
		if now := c.core(); now != 0 && now != old {
			return
		}
		if time.Now().After(end) {
			c.fault("no core took over from %d: %s", old, supervisors())
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// span notes in the lists the time from the beginning until a core has taken
// over. Every other time it waits for that; else the next event comes meanwhile.
func (c *chaos) span(from time.Time, lists ...*[][2]time.Time) {
	var at []int
	c.mu.Lock()
	for _, list := range lists { // open for now
		at = append(at, len(*list))
		*list = append(*list, [2]time.Time{from, from.Add(time.Hour)})
	}
	c.mu.Unlock()
	taken := func() {
		c.taken(time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, list := range lists {
			(*list)[at[i]][1] = time.Now()
		}
	}
	if c.rand.IntN(2) == 0 {
		taken()
	} else {
		c.spanning.Go(taken)
	}
}

// within says whether t is in one of the spans, or up to slack behind.
func (c *chaos) within(list [][2]time.Time, from, to time.Time, slack time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(list, func(s [2]time.Time) bool {
		return !to.Before(s[0]) && !from.After(s[1].Add(slack))
	})
}

// kill kills a process and counts it.
func (c *chaos) kill(pid int) {
	if unix.Kill(pid, unix.SIGKILL) == nil {
		c.kills++
	}
}

// killCore has another core take over, and looks whether each service's
// process is what it was.
func (c *chaos) killCore() {
	// More than four in ten seconds are throttled, which is another test's.
	c.rests = slices.DeleteFunc(c.rests, func(t time.Time) bool { return time.Since(t) > 10*time.Second })
	if len(c.rests) > 3 {
		return
	}
	old := c.core()
	if old == 0 {
		return
	}
	c.rests = append(c.rests, time.Now())
	begin := time.Now()
	c.kill(old)
	c.replaced(old)
	c.span(begin, &c.cuts)
}

// killScanner ends the scanner, maybe with its core, and starts another.
func (c *chaos) killScanner(both bool) {
	begin := time.Now()
	core := c.core()
	pids := []int{c.scanner.Process.Pid}
	if both && core != 0 {
		pids = append(pids, core)
		if c.rand.IntN(2) == 0 {
			slices.Reverse(pids)
		}
	}
	for _, pid := range pids {
		c.kill(pid)
	}
	c.scanner.Wait()
	time.Sleep(time.Duration(c.rand.IntN(500)) * time.Millisecond)
	if c.group != "" { // without room for its threads no other could start
		c.must(os.WriteFile(filepath.Join(c.group, "pids.max"), []byte("max"), 0o644))
	}
	c.start()
	c.replaced(core)
	// A service that the old core holds is let go of one by one. A core that was to follow
	// one that was killed a moment before has not got all from the scanner.
	if both || c.within(c.spans(&c.cuts), begin, begin, 0) {
		c.span(begin, &c.cuts, &c.absent, &c.gaps)
	} else {
		c.span(begin, &c.cuts, &c.absent)
	}
}

// upgrade has runsvdir execute itself anew.
func (c *chaos) upgrade() {
	begin := time.Now()
	old := c.core()
	pid := c.scanner.Process.Pid
	c.must(unix.Kill(pid, unix.SIGUSR2))
	c.replaced(old)
	if err := unix.Kill(pid, 0); err != nil {
		c.fault("runsvdir is gone after SIGUSR2: %v", err)
	}
	c.span(begin, &c.cuts)
}

// killService kills a service's process, and waits until the death was told.
func (c *chaos) killService(s *subject) {
	pid := c.running(s)
	if pid == 0 {
		return
	}
	s.send(unix.SIGKILL, time.Now(), time.Now().Add(30*time.Second))
	c.kill(pid)
}

// killLogger kills a log service's process, which may be the others', too.
func (c *chaos) killLogger(s *subject) {
	pid := c.logger(s)
	if pid == 0 {
		return
	}
	if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) != "svlogd\n" {
		return // it is not there yet, or not any more
	}
	its := make([]bool, len(c.subjects))
	for i, o := range c.subjects {
		its[i] = c.logger(o) == pid
	}
	open, now := filesOf(pid), time.Now()
	all := 0
	for i, o := range c.subjects {
		if its[i] || slices.Contains(open, c.pipe(o)) { // one that has just come
			all++
			o.mu.Lock()
			o.loggers = append(o.loggers, now)
			o.mu.Unlock()
		}
	}
	if c.kill(pid); all > 1 {
		c.hosts++
	}
}

// crowded is a subject whose log service shares its process with as many as none other.
func (c *chaos) crowded() (most *subject) {
	count := map[int]int{}
	for _, s := range c.subjects {
		pid := c.logger(s)
		count[pid]++
		if most == nil || pid != 0 && count[pid] > count[c.logger(most)] {
			most = s
		}
	}
	return most
}

// logger is the process of a log service; 0 if there is none.
func (c *chaos) logger(s *subject) int {
	text, _ := os.ReadFile(c.at(s, "log/supervise/pid"))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// send notes that sig may reach the subject.
func (s *subject) send(sig unix.Signal, from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, sending{sig, from, to})
}

// sv runs sv and checks how long it took and what it says.
func (c *chaos) sv(s *subject, words ...string) bool {
	begin := time.Now()
	argv := append(append([]string{"sv"}, words...), c.at(s, ""))
	cmd := &exec.Cmd{Path: filepath.Join(c.bin, "sv"), Args: argv, Env: []string{}}
	out, err := cmd.CombinedOutput()
	end := time.Now()
	c.mu.Lock()
	c.slowest = max(c.slowest, end.Sub(begin))
	linked := s.linked
	c.mu.Unlock()
	if end.Sub(begin) > 10*time.Second && !c.within(c.spans(&c.hindered), begin, end, 0) { // its seven seconds, on a busy machine
		c.fault("sv %q took %v: %s", words, end.Sub(begin), out)
	}
	if err == nil {
		return true
	}
	switch {
	case !linked:
	case bytes.Contains(out, []byte("timeout: ")) || bytes.Contains(out, []byte("kill: ")):
		c.mu.Lock()
		c.timeouts++
		c.mu.Unlock()
		if !c.within(c.spans(&c.cuts), begin, end, 0) && !c.within(c.spans(&c.hindered), begin, end, 0) {
			c.fault("sv %q: %v: %s", words, err, out)
		}
	case c.within(c.spans(&c.absent), begin, end, 3*time.Second):
	default:
		c.fault("sv %q: %v: %s", words, err, out)
	}
	return false
}

func (c *chaos) spans(list *[][2]time.Time) [][2]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(*list)
}

// order gives a subject an order, whatever its state is.
func (c *chaos) order(s *subject, word string) {
	begin := time.Now()
	ends := func(sig unix.Signal) { s.send(sig, begin, time.Now().Add(15*time.Second)) }
	switch word {
	case "restart":
		ends(unix.SIGTERM)
		if c.sv(s, "restart") {
			s.up, s.paused = true, false
		}
		ends(unix.SIGTERM)
	case "down":
		ends(unix.SIGTERM)
		if c.sv(s, "stop") {
			s.up, s.paused = false, false
			if pid := c.running(s); pid != 0 && !c.recent(s) {
				c.fault("%s: sv stop returned and %d runs", s.name, pid)
			}
		}
		ends(unix.SIGTERM)
	case "up":
		if c.sv(s, "start") {
			s.up = true
		}
	case "pause":
		c.sv(s, "pause")
		s.paused = true
	case "cont":
		c.sv(s, "cont")
		s.paused = false
	case "hup":
		s.send(unix.SIGHUP, begin, begin.Add(time.Hour)) // one that is paused gets it when it goes on
		c.sv(s, "hup")
	case "status":
		c.sv(s, "status")
	case "unlink":
		if s.linked {
			ends(unix.SIGTERM)
			c.mu.Lock()
			s.linked = false
			c.mu.Unlock()
			s.mu.Lock()
			s.unlinks = append(s.unlinks, begin)
			s.mu.Unlock()
			c.must(os.Remove(filepath.Join(c.dir, "service", s.name)))
		}
	case "link":
		if !s.linked {
			c.link(s)
			time.Sleep(100 * time.Millisecond)
			// It comes back as a new service: up, unless it was still on its way out.
			c.awaitOK(s)
			c.mu.Lock()
			s.linked = true
			c.mu.Unlock()
			s.up, s.paused = true, false
		}
	}
}

// recent says whether the last life has only just ended: ./finish may not have
// written it down yet.
func (c *chaos) recent(s *subject) bool {
	for range 100 {
		if c.running(s) == 0 {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// awaitOK waits until a subject has a supervisor.
func (c *chaos) awaitOK(s *subject) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if answers(c.at(s, "supervise/ok")) {
			return
		}
	}
	c.fault("%s: linked again, and not supervised within 30 s", s.name)
}

// play runs the events and returns the driver's exit status.
func (c *chaos) play() int {
	c.start()
	defer func() { c.scanner.Process.Kill() }()
	c.replaced(0)
	c.taken(time.Minute)
	c.settle("at the start")
	before := c.descriptors()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(stop) })

	var orders sync.WaitGroup
	weights := []struct {
		what string
		of   int
	}{
		{"core", 14}, {"scanner", 6}, {"both", 6}, {"upgrade", 6}, {"logger", 8}, {"host", 6}, {"service", 14},
		{"restart", 12}, {"down", 7}, {"up", 7}, {"pause", 4}, {"cont", 5}, {"hup", 6}, {"unlink", 5}, {"link", 6}, {"status", 5},
		{"stall", 6}, {"limit", 4},
	}
	sum := 0
	favoured := strings.Split(os.Getenv("RUNITBOX_CHAOS_FAVOUR"), ",")
	for i := range weights {
		if w := &weights[i]; slices.Contains(favoured, w.what) {
			w.of *= 5
		}
		sum += weights[i].of
	}
	for range c.events {
		k := c.rand.IntN(sum)
		what := ""
		for _, w := range weights {
			if k -= w.of; k < 0 {
				what = w.what
				break
			}
		}
		s := c.subjects[c.rand.IntN(len(c.subjects))]
		if what == "link" { // one that is not
			for _, o := range c.subjects {
				if o.busy.TryLock() {
					if !o.linked {
						s = o
					}
					o.busy.Unlock()
				}
			}
		}
		c.mu.Lock()
		c.done[what]++
		c.story = append(c.story, fmt.Sprintf("%s %s %s", time.Now().Format(clock), what, s.name))
		c.mu.Unlock()
		switch what {
		case "core":
			c.killCore()
		case "scanner", "both":
			c.killScanner(what == "both")
		case "upgrade":
			c.upgrade()
		case "logger":
			c.killLogger(s)
		case "host":
			c.killLogger(c.crowded())
		case "service":
			c.killService(s)
		case "stall":
			c.stall()
		case "limit":
			c.limit()
		default:
			orders.Go(func() {
				s.busy.Lock()
				defer s.busy.Unlock()
				c.order(s, what)
			})
		}
		time.Sleep(time.Duration(c.rand.IntN(300)) * time.Millisecond)
	}
	c.spanning.Wait()
	orders.Wait()
	c.settle("at the end")
	after := c.descriptors()
	// A process that was taken over is held by a descriptor, here and there.
	if after > before+4*len(c.subjects)+8 {
		c.fault("scanner and core had %d descriptors open and have %d", before, after)
	}
	close(stop)
	watching.Wait()
	c.end()
	for _, s := range c.subjects {
		c.examine(s)
	}
	if c.group != "" {
		for end := time.Now().Add(10 * time.Second); os.Remove(c.group) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // until the last process has gone from it
		}
	}
	if c.stallfs != nil {
		c.must(unix.Unmount(filepath.Join(c.dir, "slow"), unix.MNT_DETACH))
	}
	return c.report()
}

// settle brings every service up again, and waits until all run once.
func (c *chaos) settle(when string) {
	var all sync.WaitGroup
	for _, s := range c.subjects {
		all.Go(func() {
			c.order(s, "link")
			c.order(s, "cont")
			c.order(s, "up")
		})
	}
	all.Wait()
	end := time.Now().Add(30 * time.Second)
	for _, s := range c.subjects {
		for c.running(s) == 0 {
			if time.Now().After(end) {
				stat, _ := os.ReadFile(c.at(s, "supervise/stat"))
				c.fault("%s: %s does not run: %s", when, s.name, stat)
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	c.count(when)
}

// count looks for services that run twice, and for those that do not write to
// what their log service reads: it returns them with both pipes.
func (c *chaos) count(when string) map[string]string {
	copies := map[string][]int{}
	writes, reads := map[string]string{}, map[string]string{}
	all := processes()
	loggers, hosts := map[int]bool{}, map[int]bool{}
	for _, p := range all {
		loggers[p.pid] = p.comm == "svlogd"
	}
	for _, p := range all {
		look := func(what string) string {
			to, _ := os.Readlink(fmt.Sprintf("/proc/%d/%s", p.pid, what))
			return to
		}
		switch {
		case p.state == 'Z':
		case p.comm == "run":
			cwd := look("cwd")
			if cwd == "" {
				continue // it has just gone
			}
			copies[cwd] = append(copies[cwd], p.pid)
			writes[cwd] = look("fd/1")
		case p.comm == "svlogd" && look("fd/0") == os.DevNull: // it hosts log services
			hosts[p.pid] = true
		case p.comm == "svlogd" && !loggers[p.parent]: // whose child sees whether there is room for a thread, and ends
			dir, pipe := filepath.Dir(look("cwd")), look("fd/0")
			for other, its := range reads {
				if pipe != "" && its == pipe {
					c.fault("%s: the log services of %s and %s (%d) read one pipe", when, other, dir, p.pid)
				}
			}
			reads[dir] = pipe
		}
	}
	apart := map[string]string{}
	for dir, pipe := range writes {
		if host := hostOf(dir); hosts[host] && slices.Contains(filesOf(host), pipe) {
			reads[dir] = pipe
		}
		if filepath.Base(dir) != "log" && pipe != "" && pipe != reads[dir] {
			apart[filepath.Base(dir)] = fmt.Sprintf("writes to %s and its log service reads %q", pipe, reads[dir])
		}
	}
	for dir, pids := range copies {
		if len(pids) > 1 && filepath.Base(dir) != "log" { // there the shell's name may still be seen
			c.fault("%s: %s has the processes %v", when, dir, pids)
		}
	}
	return apart
}

// hostOf is the process that hosts the log service of a directory, as its record tells.
func hostOf(dir string) (pid int) {
	text, _ := os.ReadFile(filepath.Join(dir, "log/supervise/proc"))
	fmt.Sscanf(string(text), "hosted %d", &pid)
	return pid
}

// pipe is what a log service reads, as its record tells.
func (c *chaos) pipe(s *subject) string {
	text, _ := os.ReadFile(c.at(s, "log/supervise/proc"))
	if f := strings.Fields(string(text)); len(f) > 8 {
		return "pipe:[" + f[8] + "]"
	}
	return "none"
}

// filesOf is what a process has open.
func filesOf(pid int) (all []string) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		to, _ := os.Readlink(fd)
		all = append(all, to)
	}
	return all
}

// descriptors counts what the scanner and the core have open.
func (c *chaos) descriptors() int {
	n := 0
	for _, pid := range []int{c.scanner.Process.Pid, c.core()} {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(entries)
	}
	return n
}

// watch looks on all the while: zombies are gone within ten seconds, no
// service runs twice.
func (c *chaos) watch(stop chan struct{}) {
	dead := map[task]time.Time{}
	apart := map[string]string{}
	for {
		select {
		case <-stop:
			return
		case <-time.After(500 * time.Millisecond):
		}
		now := map[task]time.Time{}
		for _, p := range processes() {
			if p.state != 'Z' || p.pid == c.scannerPid() {
				continue
			}
			since, ok := dead[p]
			if !ok {
				since = time.Now()
			}
			if now[p] = since; time.Since(since) > 10*time.Second {
				c.fault("%s (%d), a child of %d, is a zombie for %v", p.comm, p.pid, p.parent, time.Since(since))
			}
		}
		dead = now
		c.readers()
		for _, s := range c.subjects {
			if !slices.Contains(c.slow, s) { // whose disk may hang
				c.missing(s)
			}
		}
		before := apart
		apart = c.count("meanwhile")
		for name, how := range apart {
			if how == before[name] && !strings.HasSuffix(how, `""`) {
				c.flaw("%s %s", name, how)
			}
		}
		if text, _ := filepath.Glob(filepath.Join(c.dir, "sv/*/lives")); text == nil {
			c.fault("no service tells of its lives")
		}
	}
}

func (c *chaos) scannerPid() int { return int(c.pid.Load()) }

// readers looks for those who read what only a log service may read: scanner and core
// hold the pipes of the services and never read them.
func (c *chaos) readers() {
	all := processes()
	pipes := map[uint64]int{} // log services, by the inode of what they read
	for _, p := range all {
		if ino := pipeOf(p.pid, "0"); ino != 0 && p.comm == "svlogd" {
			pipes[ino] = p.pid
		}
	}
	for _, p := range all {
		for _, ino := range readBy(p.pid) {
			log, ok := pipes[ino]
			if ok && log != p.pid && p.comm != "svlogd" && !c.robbed[ino] { // that one may be it by now
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.pid)); string(comm) == "svlogd\n" {
					continue
				}
				// An epoll set goes on naming a descriptor that was closed, by its number, as long as a
				// child that is not a program yet has a copy; the number may be a pipe's by then.
				time.Sleep(200 * time.Millisecond)
				if !slices.Contains(readBy(p.pid), ino) {
					continue
				}
				c.robbed[ino] = true
				c.fault("%s (%d) reads the pipe of the log service %d:%s", p.comm, p.pid, log, holders(ino))
			}
		}
	}
}

// pipeOf is the inode of the pipe behind a descriptor; 0 where it is none.
func pipeOf(pid int, fd string) (ino uint64) {
	to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd))
	fmt.Sscanf(to, "pipe:[%d]", &ino)
	return ino
}

// readBy lists the inodes of the pipes that a process just reads, or waits to read:
// by a system call of one of its threads, or by an epoll descriptor.
func readBy(pid int) (inodes []uint64) {
	calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, path := range calls {
		var number, fd uint64
		text, _ := os.ReadFile(path)
		fmt.Sscanf(string(text), "%d 0x%x", &number, &fd)
		switch number {
		case unix.SYS_READ, unix.SYS_READV, unix.SYS_SPLICE, unix.SYS_TEE:
			// The number may have been another file's when the call was read, so it is read again.
			if ino := pipeOf(pid, strconv.FormatUint(fd, 10)); ino != 0 {
				if again, _ := os.ReadFile(path); string(again) == string(text) {
					inodes = append(inodes, ino)
				}
			}
		}
	}
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, path := range infos {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, filepath.Base(path))); to != "anon_inode:[eventpoll]" {
			continue
		}
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			var fd int
			if n, _ := fmt.Sscanf(line, "tfd: %d", &fd); n == 1 {
				if ino := pipeOf(pid, strconv.Itoa(fd)); ino != 0 {
					inodes = append(inodes, ino)
				}
			}
		}
	}
	return inodes
}

// holders tells of all who have a pipe open: where, how, and what their threads do.
func holders(ino uint64) string {
	var b strings.Builder
	if ino == 0 {
		return ""
	}
	for _, p := range processes() {
		var fds []string
		names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
		for _, name := range names {
			fd := filepath.Base(name)
			if pipeOf(p.pid, fd) == ino {
				info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", p.pid, fd))
				fds = append(fds, fd+" "+strings.Join(strings.Fields(string(info))[2:4], " "))
			}
		}
		if fds == nil {
			continue
		}
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid))
		fmt.Fprintf(&b, "\n\t%s (%d), a child of %d, %c in %s: %s; its threads:", p.comm, p.pid, p.parent, p.state, cwd, strings.Join(fds, ", "))
		calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.pid))
		for _, path := range calls {
			text, _ := os.ReadFile(path)
			number, args, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
			first, _, _ := strings.Cut(args, " ")
			fmt.Fprintf(&b, " %s(%s)", number, first)
		}
	}
	return b.String()
}

// outside asks TestChaos who has a pipe open, as it sees the processes of the machine.
func (c *chaos) outside(ino uint64) string {
	if ino == 0 {
		return ""
	}
	answer := filepath.Join(c.dir, "holders")
	os.Remove(answer)
	c.must(os.WriteFile(filepath.Join(c.dir, "pipe"), []byte(strconv.FormatUint(ino, 10)), 0o644))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(answer); err == nil {
			return "\n\tand as the machine sees it:" + string(text)
		}
	}
	return "\n\tand nobody tells how the machine sees it"
}

// missing says soon when the log goes on behind lines that are not in it, and who could
// have read them. What is seen once may be a file that was just renamed.
func (c *chaos) missing(s *subject) {
	gap, last := "", map[string]int{}
	for line := range strings.Lines(string(c.logged(s))) {
		id, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, _ := strconv.Atoi(number)
		if n > last[id]+1 && gap == "" {
			gap = fmt.Sprintf("%q is in the log after line %d", line, last[id])
		}
		last[id] = max(n, last[id])
	}
	if gap != "" && gap == s.gap && !s.told {
		s.told = true
		c.fault("%s: %s:%s", s.name, gap, c.traffic(s))
	}
	s.gap = gap
}

// logged is all that is in a subject's log.
func (c *chaos) logged(s *subject) (text []byte) {
	paths, _ := filepath.Glob(c.at(s, "log/main/@*"))
	slices.Sort(paths)
	for _, path := range append(paths, c.at(s, "log/main/current")) {
		b, _ := os.ReadFile(path)
		text = append(text, b...)
	}
	return text
}

// traffic tells who has to do with what a subject writes, and what the core has open.
func (c *chaos) traffic(s *subject) string {
	text, _ := os.ReadFile(c.at(s, "log/supervise/pid"))
	log, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	out := fmt.Sprintf(" ./run (%d) writes to %d, its log service (%d) reads %d", c.running(s), pipeOf(c.running(s), "1"), log, pipeOf(log, "0"))
	for _, ino := range slices.Compact([]uint64{pipeOf(c.running(s), "1"), pipeOf(log, "0")}) {
		out += holders(ino) + c.outside(ino)
	}
	core := c.core()
	out += fmt.Sprintf("\n\tthe core (%d) has:", core)
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", core))
	for _, name := range names {
		to, _ := os.Readlink(name)
		out += " " + filepath.Base(name) + " " + strings.TrimPrefix(to, c.dir)
	}
	return out
}

// end stops the tree with SIGHUP; after that there is nothing.
func (c *chaos) end() {
	for _, s := range c.subjects {
		s.send(unix.SIGTERM, time.Now(), time.Now().Add(time.Minute))
	}
	unix.Kill(c.scanner.Process.Pid, unix.SIGHUP)
	err := c.scanner.Wait()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 111 {
		c.fault("runsvdir after SIGHUP: %v", err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left []task
		for _, p := range processes() {
			if p.pid != 1 && p.pid != os.Getpid() && (c.stallfs == nil || p.pid != c.stallfs.Process.Pid) {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			for _, p := range left {
				c.fault("%s (%d), a child of %d, is left in state %c", p.comm, p.pid, p.parent, p.state)
			}
			return
		}
	}
}

// life is one life of a service, as it and ./finish have told of it.
type life struct {
	id    string
	pid   int
	exit  string // the code it has announced
	ended bool
	left  bool   // nobody was there to run ./finish
	args  string // of ./finish
	from  time.Time
	at    time.Time // of ./finish
}

// lives reads what a service has told of itself.
func (c *chaos) lives(s *subject) []life {
	text, _ := os.ReadFile(c.at(s, "lives"))
	var all []life
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		sec, _ := strconv.ParseFloat(f[len(f)-1], 64)
		at := time.UnixMicro(int64(sec * 1e6))
		f = f[:len(f)-1]
		last := len(all) - 1
		switch {
		case f[0] == "start":
			pid, _ := strconv.Atoi(strings.SplitN(f[1], "-", 2)[0])
			if last >= 0 && !all[last].ended {
				if all[last].left = c.left(s, all[last].from, at); !all[last].left {
					c.fault("%s: life %s began, and no finish was run for %s", s.name, f[1], all[last].id)
				}
			}
			all = append(all, life{id: f[1], pid: pid, from: at})
		case f[0] == "exit":
			all[last].exit = f[1]
		case f[0] == "end" && last >= 0 && !all[last].ended:
			all[last].ended, all[last].args, all[last].at = true, strings.Join(f[1:], " "), at
		default:
			// A life can be over before it has told of its begin: killed while
			// perl was being loaded. Its finish is then a second one in a row.
			all = append(all, life{id: "?", ended: true, args: strings.Join(f[1:], " "), at: at, exit: f[0]})
		}
	}
	return all
}

// left says whether a life may have ended without ./finish: it was to exit, that could
// not be made for want of room, and before it was tried again those who had to do it
// were killed. Who comes after them does not know the service.
func (c *chaos) left(s *subject, from, to time.Time) bool {
	gaps, hindered := c.spans(&c.gaps), c.spans(&c.hindered)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.unlinks, func(t time.Time) bool {
		return t.After(from) && t.Before(to) && c.within(hindered, t, t, 0) && c.within(gaps, t, t.Add(15*time.Second), 0)
	})
}

// examine checks a service's whole story, when all is over.
func (c *chaos) examine(s *subject) {
	text, _ := os.ReadFile(c.at(s, "lives"))
	if bytes.Contains(text, []byte("twice")) {
		c.fault("%s: two copies ran", s.name)
	}
	lives := c.lives(s)
	for i, l := range lives {
		switch {
		case l.id == "?" && l.exit != "end":
			c.fault("%s: %q without a life", s.name, l.exit)
		case l.id == "?" && i > 0 && l.args == lives[i-1].args && c.within(c.spans(&c.gaps), l.at, l.at, 3*time.Second):
			// It was killed with core and scanner before either knew of it.
			c.mu.Lock()
			c.again++
			c.mu.Unlock()
			fmt.Printf("chaos: %s was told %q twice, at %s and %s\n", s.name, l.args, lives[i-1].at.Format(clock), l.at.Format(clock))
			continue
		}
		if !l.ended {
			if !l.left && !c.left(s, l.from, time.Now()) {
				c.fault("%s: no finish was run for %s", s.name, l.id)
			}
			continue
		}
		if l.exit != "" && l.exit != "end" && l.args == l.exit+" 0" {
			continue
		}
		var sig int
		if n, _ := fmt.Sscanf(l.args, "-1 %d", &sig); n != 1 {
			c.fault("%s: finish of %s was told %q", s.name, l.id, l.args)
			continue
		}
		if sig == 0 {
			c.mu.Lock()
			c.unknown++
			c.mu.Unlock()
			// Nobody can know it while there is neither core nor scanner.
			if !c.within(c.spans(&c.gaps), l.at, l.at, 3*time.Second) {
				c.fault("%s: finish of %s was told that its end is unknown, at %v", s.name, l.id, l.at.Format(clock))
			}
			continue
		}
		if !slices.ContainsFunc(s.sent, func(x sending) bool {
			return x.sig == unix.Signal(sig) && !l.at.Before(x.from) && l.at.Before(x.to)
		}) {
			c.fault("%s: finish of %s was told %q at %v, which nobody sent", s.name, l.id, l.args, l.at.Format(clock))
		}
	}
	// A log service ends when it is killed, and with the service. When scanner
	// and core are killed while ./run is not there, nobody holds its pipe. Where there is
	// no room for the threads of its start it ends too.
	starts, _ := os.ReadFile(c.at(s, "log/starts"))
	if n, most := bytes.Count(starts, []byte("\n")), s.links+len(s.loggers)+c.done["both"]+c.done["limit"]; n > most {
		c.flaw("%s: the log service was started %d times, for %d reasons", s.name, n, most)
	}
	c.readLog(s, lives)
}

// readLog checks that each line of each life is in the log exactly once and in
// order.
func (c *chaos) readLog(s *subject, lives []life) {
	text := c.logged(s)
	last := map[string]int{}
	gaps := 0
	for line := range strings.Lines(string(text)) {
		id, number, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || !strings.HasSuffix(line, "\n") {
			c.fault("%s: %q is in the log", s.name, line)
			continue
		}
		if last[id] == 0 && !slices.ContainsFunc(lives, func(l life) bool { return l.id == id }) {
			c.fault("%s: the log has lines of %s, which is no life of its", s.name, id)
		}
		c.lines++
		switch want := last[id] + 1; {
		case n == want:
		case n > want:
			gaps++
			c.torn += n - want
		default:
			c.fault("%s: the log has %s %d after %d", s.name, id, n, last[id])
		}
		last[id] = n
	}
	entries, _ := os.ReadDir(c.at(s, "counts"))
	for _, e := range entries {
		b, _ := os.ReadFile(c.at(s, "counts/"+e.Name()))
		wrote, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		if got := last[e.Name()]; got < wrote && c.unheld(s, lives, e.Name()) {
			c.gone += wrote - got
		} else if got < wrote {
			gaps++
			c.torn += wrote - got
		} else if got > wrote+1 {
			c.fault("%s: %s wrote %d lines, %d are in the log", s.name, e.Name(), wrote, got)
		}
	}
	if gaps > 0 {
		c.fault("%s: %d gaps in the log; its log service was killed %d times", s.name, gaps, len(s.loggers))
	}
}

// unheld says whether the last lines of a life may be gone with it: when core and scanner
// were killed, its log service had been killed before, or was meanwhile, and had not been
// started again. So nobody had its pipe when it ended.
func (c *chaos) unheld(s *subject, lives []life, id string) bool {
	gaps, starts := c.spans(&c.gaps), c.logStarts(s)
	lost := func(l life, gap [2]time.Time) bool {
		return !l.at.After(gap[1].Add(3*time.Second)) && slices.ContainsFunc(s.loggers, func(kill time.Time) bool {
			return kill.Before(gap[1]) && kill.Before(l.at.Add(time.Second)) &&
				!slices.ContainsFunc(starts, func(t time.Time) bool { return t.After(kill) && t.Before(gap[0]) })
		})
	}
	return slices.ContainsFunc(lives, func(l life) bool {
		return l.id == id && slices.ContainsFunc(gaps, func(gap [2]time.Time) bool { return lost(l, gap) })
	})
}

// logStarts are the times at which a log service was started, but for those at which there
// may have been no room for its threads.
func (c *chaos) logStarts(s *subject) (all []time.Time) {
	text, _ := os.ReadFile(c.at(s, "log/starts"))
	hindered := c.spans(&c.hindered)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		sec, _ := strconv.ParseFloat(f[len(f)-1], 64)
		if t := time.UnixMicro(int64(sec * 1e6)); !c.within(hindered, t, t, 0) {
			all = append(all, t)
		}
	}
	return all
}

// report tells what was done and seen.
func (c *chaos) report() int {
	var did []string
	for _, what := range slices.Sorted(maps.Keys(c.done)) {
		did = append(did, fmt.Sprintf("%s %d", what, c.done[what]))
	}
	lives := 0
	for _, s := range c.subjects {
		lives += len(c.lives(s))
	}
	fmt.Printf("chaos: %s: %d kills, %d of hosts of log services\n", strings.Join(did, ", "), c.kills, c.hosts)
	fmt.Printf("chaos: %d lives, %d lines in the logs, %d lost, %d gone with all who had their pipe; %d ends unknown, %d told twice; sv at most %v, %d timeouts; takeover at most %v; %d flaws of log services\n",
		lives, c.lines, c.torn, c.gone, c.unknown, c.again, c.slowest.Round(time.Millisecond), c.timeouts, c.takeover.Round(time.Millisecond), c.flaws)
	if len(c.faults) == 0 {
		return 0
	}
	fmt.Println(strings.Join(c.story, "\n"))
	for _, f := range c.faults {
		fmt.Println("fault:", f)
	}
	text, _ := os.ReadFile(filepath.Join(c.dir, "messages"))
	fmt.Printf("runsvdir said, at the end:\n%s", text[max(0, len(text)-4000):])
	return 1
}
