package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// policyFile is a file by which a service directory says more than runit knows, as
// TestPolicyMatrix tries it.
type policyFile struct {
	name   string
	files  map[string]string // what is tried: names and contents, of a link what it leads to
	beside map[string]string // what is there in any case
	bad    map[string]string // what cannot be understood; nil: there is no such value
	warned string            // what is then said
	late   bool              // it is read when it is needed, and not with the start
	logs   bool              // a log service may have it, too
	root   bool              // only root can have it
}

var policyFiles = []policyFile{
	{name: "none", logs: true},
	{name: "notification-fd", files: map[string]string{"notification-fd": "7"},
		bad: map[string]string{"notification-fd": "stdout"}, warned: "a descriptor from 1 to 1023", logs: true},
	{name: "notify-socket", files: map[string]string{"notify-socket": ""},
		bad: map[string]string{"notify-socket/": ""}, warned: "unable to read ./notify-socket: is a directory", logs: true},
	{name: "watchdog", files: map[string]string{"watchdog": "6000"}, beside: map[string]string{"notify-socket": ""},
		bad: map[string]string{"watchdog": "-3"}, warned: "a time in milliseconds", logs: true},
	{name: "timeout-ready", files: map[string]string{"timeout-ready": "6000"}, beside: map[string]string{"notification-fd": "7"},
		bad: map[string]string{"timeout-ready": "3 s"}, warned: "a time in milliseconds", logs: true},
	{name: "down-signal", files: map[string]string{"down-signal": "INT"},
		bad: map[string]string{"down-signal": "LOUD"}, warned: "the name or number of a signal", logs: true},
	{name: "reload-signal", files: map[string]string{"reload-signal": "SIGUSR1"},
		bad: map[string]string{"reload-signal": "65"}, warned: "the name or number of a signal", logs: true},
	{name: "timeout-kill", files: map[string]string{"timeout-kill": "1500"},
		bad: map[string]string{"timeout-kill": "1.5"}, warned: "a time in milliseconds", late: true, logs: true},
	{name: "flag-timeout-killpg", files: map[string]string{"flag-timeout-killpg": ""}, beside: map[string]string{"timeout-kill": "1500"},
		bad: map[string]string{"flag-timeout-killpg/": ""}, warned: "unable to read ./flag-timeout-killpg: is a directory", logs: true},
	{name: "timeout-finish", files: map[string]string{"timeout-finish": "3000"},
		bad: map[string]string{"timeout-finish": "soon"}, warned: "a time in milliseconds", late: true},
	{name: "flag-kill-strays", files: map[string]string{"flag-kill-strays": ""},
		bad: map[string]string{"flag-kill-strays/": ""}, warned: "unable to read ./flag-kill-strays: is a directory"},
	{name: "finish-125", files: map[string]string{"code": "125"}, late: true},
	{name: "max-death-tally", files: map[string]string{"max-death-tally": "1"},
		bad: map[string]string{"max-death-tally": "0"}, warned: "a number from 1 to 4096", logs: true},
	{name: "backoff", files: map[string]string{"backoff": "1500 1500"},
		bad: map[string]string{"backoff": "1500"}, warned: "two times in milliseconds", logs: true},
	{name: "give-up", files: map[string]string{"give-up": "1 600000"},
		bad: map[string]string{"give-up": "1 hour"}, warned: "how many ends", logs: true},
	{name: "needs", files: map[string]string{"needs/other": ""},
		bad: map[string]string{"needs": "other"}, warned: "./needs is not understood: it should be a directory"},
	{name: "essential", files: map[string]string{"essential": "failure"},
		bad: map[string]string{"essential": "very"}, warned: "empty, success or failure"},
	{name: "flag-newpidns", files: map[string]string{"flag-newpidns": ""},
		bad: map[string]string{"flag-newpidns/": ""}, warned: "unable to read ./flag-newpidns: is a directory", logs: true},
	{name: "cgroup", files: map[string]string{"cgroup/cgroup.max.depth": "3"}, root: true},
	{name: "log", files: map[string]string{"log@": "../other/log"}},
	{name: "user-access", files: map[string]string{"user/access": "12345"},
		bad: map[string]string{"user/access": "no such"}, warned: "the name of a user", root: true},
}

// policyWay is what is done with them.
type policyWay struct {
	name     string
	absent   bool             // the files are not there
	bad      bool             // they cannot be understood
	changed  bool             // they come in the first life of a service, and go in the fourth
	logged   bool             // the services have log services
	ofLog    bool             // it is the log services that have the files
	catchAll bool             // the tree has a log service
	sv       bool             // sv start and sv stop wait meanwhile
	kills    func(n int) bool // the core is killed at the stage of that number
}

var policyWays = []policyWay{
	{name: "present", sv: true},
	{name: "absent", absent: true},
	{name: "malformed", bad: true},
	{name: "changed", changed: true},
	{name: "with a log service", logged: true},
	{name: "of a log service", ofLog: true, kills: third(0)},
	{name: "with a log for all", catchAll: true, kills: third(2)},
	{name: "killed at each third stage", sv: true, kills: third(0)},
	{name: "killed at the next", sv: true, logged: true, kills: third(1)},
	{name: "killed at the one behind that", sv: true, kills: third(2)},
}

// third kills at each third stage: at more of them the next core would be started late.
func third(rest int) func(int) bool { return func(n int) bool { return n%3 == rest } }

// policyLife is ./run of each service: it notes what happens to it, and does what it is told
// by a byte in the FIFO gate: r, say that it is ready; h, say nothing more; a digit, exit so.
const policyLife = `#!/usr/bin/perl
sub note { open my $f, '>>', 'trace' or die; syswrite $f, "$_[0]\n"; close $f; syswrite STDOUT, "$_[0]\n" }
require Socket && Socket->import if $ENV{NOTIFY_SOCKET};
sub notify { socket my $s, AF_UNIX(), SOCK_DGRAM(), 0; (my $name = $ENV{NOTIFY_SOCKET}) =~ s/^\@/\0/; send $s, $_[0], 0, pack_sockaddr_un($name) }
my $descriptor;
open $descriptor, '>&=', 7 if -e '/proc/self/fd/7';
open my $gate, '+<', 'gate' or die;
if (-p 'child') { # who has it open lives
	open my $alive, '+<', 'child';
	if (!fork) { $SIG{TERM} = 'IGNORE' if -e 'deaf'; sysread $alive, my $x, 1; exit }
}
$SIG{$_} = \&note for qw(TERM INT HUP USR1);
$SIG{ABRT} = sub { note 'ABRT'; exit 6 };
open my $f, '<', '/proc/self/cgroup'; my $group = join '', <$f>; close $f;
sub stamp { open my $f, '<', '/proc/uptime'; my ($now) = split ' ', <$f>; open my $t, '>>', $_[0]; print $t "$now\n" }
stamp 'begins';
note 'up' . ($$ == 1 ? ', process 1' : '') . ($group =~ m{^0::.*/sv-cgroup$}m ? ', in a cgroup' : '');
my $works;
while (1) {
	my $set = ''; vec($set, fileno $gate, 1) = 1;
	my $n = select $set, undef, undef, $works ? .2 : 1;
	notify 'WATCHDOG=1' if $works;
	next unless $n > 0 && sysread $gate, my $order, 1;
	if ($order eq 'r') {
		if ($ENV{NOTIFY_SOCKET}) { notify 'READY=1'; $works = $ENV{WATCHDOG_USEC} } elsif ($descriptor) { syswrite $descriptor, "\n" }
	} elsif ($order eq 'h') { $works = 0 } else { stamp 'ends'; exit $order }
}
`

// The other programs of a service. What waits to read a FIFO goes on when that is open.
const (
	policyFinish = "#!/bin/sh\necho \"finish $1 $2\" >>trace; echo \"finish $1 $2\"\n: <end\necho finished >>trace; echo finished\nread -r now rest </proc/uptime; echo $now >>ends\ncode=0; [ ! -e code ] || read -r code <code\nexit $code\n"
	policyUp     = "#!/bin/sh\n: >up\n: <begin\n"
	policyOther  = "#!/bin/sh\n: >up\n: <gate\necho >&3\nexec 3>&-\nexec sleep 1000\n"
	policyLog    = "#!/bin/sh\nwhile read -r line; do echo \"$line\" >>lines; done\n"
)

// policyStages are the moments at which a core is killed.
var policyStages = []string{"idle", "starting", "being made", "not ready", "ready", "in finish", "resting", "second life", "in finish again", "resting again", "stopping", "in finish, down", "down", "fourth life"}

// policyTree is one tree of services, of which each has one of the files.
type policyTree struct {
	t     *testing.T
	way   policyWay
	dir   string // of the tree
	cmd   *exec.Cmd
	err   bytes.Buffer
	bin   string
	all   []*policyService
	ready map[string]string // as sv list told it last
	lease *os.File

	mu    sync.Mutex
	met   *sync.Cond
	here  int // how many services are at the next stage
	round int
	going int
}

// policyService is one of its services.
type policyService struct {
	*policyTree
	file  policyFile
	path  string // its directory
	seen  int    // how many lines of its trace were there
	life  int
	begun bool                // and it has begun earlier than others have theirs
	held  map[string]*os.File // the FIFOs that are open
}

// policyFailure ends the goroutine of a service.
type policyFailure struct{ text string }

func (s *policyService) fail(format string, args ...any) {
	panic(policyFailure{s.file.name + ": " + fmt.Sprintf(format, args...)})
}

// until waits for a condition.
func (s *policyService) until(what string, ok func() bool) {
	for limit := time.Now().Add(90 * time.Second); !ok(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(limit) {
			s.fail("never: %s; life %d, trace %q", what, s.life, s.trace())
		}
		if s.t.Failed() {
			s.fail("given up")
		}
	}
}

func (s *policyService) trace() []string {
	b, _ := os.ReadFile(s.path + "/trace")
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// next waits for the next line of the trace, which must be this.
func (s *policyService) next(want string) {
	var trace []string
	s.until("the line "+want, func() bool { trace = s.trace(); return len(trace) > s.seen })
	if got := trace[s.seen]; got != want {
		s.fail("%q in place of %q in life %d; trace %q", got, want, s.life, trace)
	}
	s.seen++
}

// tell gives an order to what runs, and order one to its supervisor.
func (s *policyService) tell(order string) { s.write("gate", order) }
func (s *policyService) order(cmd string)  { s.write("supervise/control", cmd) }

func (s *policyService) write(name, text string) {
	fd, err := unix.Open(s.path+"/"+name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		s.fail("open %s: %v", name, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		s.fail("write to %s: %v", name, err)
	}
}

// open has those go on that wait to read a FIFO, until shut.
func (s *policyService) open(name string) {
	f, err := os.OpenFile(s.path+"/"+name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		s.fail("%v", err)
	}
	s.held[name] = f
}

func (s *policyService) shut(name string) {
	s.held[name].Close()
	delete(s.held, name)
}

// exists says whether a file is there, record whether supervise/proc begins so.
func (s *policyService) exists(name string) bool {
	_, err := os.Lstat(s.path + "/" + name)
	return err == nil
}

func (s *policyService) record(word string) bool {
	b, _ := os.ReadFile(s.path + "/supervise/proc")
	return bytes.HasPrefix(b, []byte(word+" "))
}

func (s *policyService) stat() string {
	b, _ := os.ReadFile(s.path + "/supervise/stat")
	return strings.TrimSpace(string(b))
}

// childLives says whether what ./run has started lives.
func (s *policyService) childLives() bool {
	fd, err := unix.Open(s.path+"/child", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// on says whether the service is that of the file of that name, and it counts in the
// present life.
func (s *policyService) on(name string) bool {
	if s.file.name != name || s.way.absent || s.way.bad {
		return false
	}
	return !s.way.changed || s.life == 2 || s.life == 3 || s.life == 4 && !s.file.late || s.life == 1 && s.file.late
}

// put makes the files of a service, or removes them.
func (s *policyService) put(files map[string]string) {
	for name, text := range files {
		path := s.path + "/" + name
		os.MkdirAll(filepath.Dir(path), 0o755)
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
		case strings.HasSuffix(name, "@"):
			err = os.Symlink(text, strings.TrimSuffix(path, "@"))
		default:
			err = writeFile(path, []byte(text), 0o644)
		}
		if err != nil {
			s.fail("%v", err)
		}
	}
}

func (s *policyService) remove(files map[string]string) {
	for name := range files {
		first, _, _ := strings.Cut(strings.TrimSuffix(name, "@"), "/")
		if err := os.RemoveAll(s.path + "/" + first); err != nil {
			s.fail("%v", err)
		}
	}
}

// make makes the directory of a service.
func (s *policyService) make() {
	programs := map[string]string{"finish": policyFinish, "control/u": policyUp}
	fifos := []string{"gate", "begin", "end"}
	switch s.file.name {
	case "flag-kill-strays", "flag-timeout-killpg":
		fifos = append(fifos, "child")
	}
	if s.way.ofLog {
		programs = nil
	}
	os.MkdirAll(s.path, 0o755)
	for _, name := range fifos {
		if err := unix.Mkfifo(s.path+"/"+name, 0o600); err != nil {
			s.fail("%v", err)
		}
	}
	for name, text := range programs {
		os.MkdirAll(filepath.Dir(s.path+"/"+name), 0o755)
		if err := writeFile(s.path+"/"+name, []byte(text), 0o755); err != nil {
			s.fail("%v", err)
		}
	}
	if s.way.logged && s.file.name != "log" {
		os.MkdirAll(s.path+"/log", 0o755)
		if err := writeFile(s.path+"/log/run", []byte(policyLog), 0o755); err != nil {
			s.fail("%v", err)
		}
	}
	s.put(map[string]string{"down": ""})
	s.put(s.file.beside)
	if s.file.name == "flag-timeout-killpg" {
		s.put(map[string]string{"deaf": ""})
	}
	switch {
	case s.way.bad:
		s.put(s.file.bad)
	case !s.way.absent && !s.way.changed:
		s.put(s.file.files)
	}
	depth := "../../"
	if s.way.ofLog {
		depth = "../../../"
		if err := writeFile(filepath.Dir(s.path)+"/run", []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
			s.fail("%v", err)
		}
	}
	if err := os.Symlink(depth+"life", s.path+"/run"); err != nil {
		s.fail("%v", err)
	}
}

// stage waits until all services are at their next stage; then what is to be done there is.
func (s *policyService) stage(name string) {
	g := s.policyTree
	g.mu.Lock()
	defer g.mu.Unlock()
	if name != policyStages[g.round] {
		s.fail("stage %s in place of %s", name, policyStages[g.round])
	}
	round := g.round
	g.here++
	if g.here == g.going {
		g.pass(s)
	}
	for g.round == round && !g.t.Failed() {
		g.met.Wait()
	}
}

// pass does what is to be done at a stage.
func (g *policyTree) pass(s *policyService) {
	name := policyStages[g.round]
	if g.way.kills != nil && g.way.kills(g.round) {
		g.killCore(s)
	}
	if name != "being made" {
		g.served(s)
	}
	switch name {
	case "starting":
		g.hold(s)
	case "being made":
		g.letGo()
	case "not ready", "ready":
		g.ready = g.list(s)
	}
	g.here = 0
	g.round++
	g.met.Broadcast()
}

// hold keeps ./run of all services from being executed, until letGo: whoever has a lease of
// a file is asked before it is.
func (g *policyTree) hold(s *policyService) {
	if g.way.ofLog {
		return
	}
	var err error
	if g.lease, err = os.Open(filepath.Dir(g.dir) + "/life"); err != nil {
		s.fail("%v", err)
	}
	s.until("a lease", func() bool {
		_, err := unix.FcntlInt(g.lease.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		return err == nil
	})
}

func (g *policyTree) letGo() {
	if g.lease != nil {
		g.lease.Close()
	}
}

// scanner and core are their process ids, as this process sees them.
func (g *policyTree) scanner() int { return childOf(childOf(g.cmd.Process.Pid, "sh"), "runsvdir") }
func (g *policyTree) core() int    { return childOf(g.scanner(), "runsv") }

// childOf is the one of a process's children that has the name and lives; 0 for none.
func childOf(pid int, name string) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(b)) {
			stat, _ := os.ReadFile("/proc/" + field + "/stat")
			if _, state, ok := strings.Cut(string(stat), " ("+name+") "); ok && state[0] != 'Z' {
				n, _ := strconv.Atoi(field)
				return n
			}
		}
	}
	return 0
}

// killCore kills the core and waits until there is another.
func (g *policyTree) killCore(s *policyService) {
	old := g.core()
	if old == 0 {
		s.fail("there is no core")
	}
	unix.Kill(old, unix.SIGKILL)
	s.until("another core", func() bool { now := g.core(); return now != 0 && now != old })
}

// served waits until a core has all services.
func (g *policyTree) served(s *policyService) {
	for _, other := range g.all {
		other.order("c") // which does nothing here but is read
		s.until("the next core has "+other.file.name, func() bool {
			fd, err := unix.Open(other.path+"/supervise/control", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return false
			}
			defer unix.Close(fd)
			n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			return err == nil && n == 0
		})
	}
}

// sv calls sv.
func (g *policyTree) sv(args ...string) (string, error) {
	cmd := exec.Command(g.bin+"/sv", args...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "SVDIR="+g.dir, gorace(g.t))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// list is what sv list tells of the readiness of each service.
func (g *policyTree) list(s *policyService) map[string]string {
	paths := []string{"list", "--json"}
	for _, s := range g.all {
		paths = append(paths, s.path)
	}
	out, _ := g.sv(paths...)
	all := map[string]string{}
	for line := range strings.Lines(out) {
		var l struct {
			Path  string
			Ready *bool
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.fail("sv list: %v: %s", err, line)
		}
		all[filepath.Clean(l.Path)] = "null"
		if l.Ready != nil {
			all[filepath.Clean(l.Path)] = strconv.FormatBool(*l.Ready)
		}
	}
	return all
}

// says checks what sv list told of the service's readiness.
func (s *policyService) says(want string) {
	if got := s.ready[s.path]; got != want {
		s.fail("ready is %q in place of %q", got, want)
	}
}

// policyCall is a call of sv that waits.
type policyCall struct {
	over chan struct{}
	out  string
	err  error
}

func (s *policyService) start(args ...string) *policyCall {
	w := &policyCall{over: make(chan struct{})}
	go func() {
		w.out, w.err = s.sv(args...)
		close(w.over)
	}()
	return w
}

// waits says that it is not over, done waits for its end, which must be this.
func (s *policyService) waits(w *policyCall) {
	select {
	case <-w.over:
		s.fail("sv does not wait: %v, %s", w.err, w.out)
	default:
	}
}

func (s *policyService) done(w *policyCall, want string) {
	s.until("the end of sv", func() bool {
		select {
		case <-w.over:
			return true
		default:
			return false
		}
	})
	if w.err != nil || !strings.Contains(w.out, want) {
		s.fail("sv: %v, %q in place of %q", w.err, w.out, want)
	}
}

// up waits for the next life of ./run.
func (s *policyService) up() {
	s.life++
	line := "up"
	if s.on("flag-newpidns") {
		line += ", process 1"
	}
	if s.on("cgroup") {
		line += ", in a cgroup"
	}
	s.next(line)
	s.until("it runs", func() bool { return strings.HasPrefix(s.stat(), "run") })
	if s.life >= 3 {
		s.tell("r")
	}
	if s.file.name == "user-access" {
		info, err := os.Stat(s.path + "/supervise/ok")
		if open := err == nil && info.Mode()&0o060 != 0; open != s.on("user-access") {
			s.fail("supervise/ok: %v, %v", info.Mode(), err)
		}
	}
}

// ended sees ./run to its end, with finish, which is told the code and the signal.
func (s *policyService) ended(code, sig int, stage string) {
	if !s.way.ofLog {
		s.next(fmt.Sprintf("finish %d %d", code, sig))
	}
	if s.file.name == "flag-kill-strays" {
		if lives := s.childLives(); lives == s.on("flag-kill-strays") {
			s.fail("what it has left behind: lives %v", lives)
		}
		s.lets()
	}
	if s.way.ofLog && s.file.name == "timeout-ready" && stage != "in finish, down" { // nothing holds up the next life
		s.up()
		s.tell("r")
		s.begun = true
	}
	s.stage(stage)
	if s.way.ofLog {
		return
	}
	if s.on("timeout-finish") {
		s.until("finish is killed", func() bool { return s.stat() != "finish" && s.stat() != "finish, want down" })
		return
	}
	s.open("end")
	s.next("finished")
	s.until("the end of finish", func() bool { return !strings.HasPrefix(s.stat(), "finish") })
	s.shut("end")
}

// exits has ./run end by itself.
func (s *policyService) exits(code int, stage string) {
	if s.file.name == "flag-timeout-killpg" {
		s.lets()
	}
	s.tell(strconv.Itoa(code))
	s.ended(code, 0, stage)
}

// lets ends what ./run has left behind.
func (s *policyService) lets() {
	if s.exists("child") && s.childLives() {
		s.write("child", "x")
		s.until("the child is gone", func() bool { return !s.childLives() })
	}
}

// again waits for the next life, or starts it where the service was given up.
func (s *policyService) again(givenUp bool) {
	if givenUp {
		s.until("it is given up", func() bool { return s.record("failed") })
	}
	name := "resting"
	if s.life == 2 && !s.begun || s.life == 3 {
		name = "resting again"
	}
	if s.begun {
		s.begun = false
		s.stage(name)
		return
	}
	if s.way.ofLog && s.on("backoff") {
		s.until("it rests", func() bool { return s.stat() == "down" || len(s.trace()) > s.seen })
	}
	s.stage(name)
	if givenUp {
		if !s.record("failed") {
			s.fail("it does not stay given up")
		}
		s.order("u")
	}
	if s.life == 1 && s.way.changed && s.file.name == "needs" {
		s.until("it waits", func() bool { return s.record("waits") })
		s.openOther()
	}
	s.up()
	if s.file.name == "backoff" {
		s.rested()
	}
}

// noted waits until the status file says that the service was told to end: it is written a
// moment later, and who takes over from a core that is killed before that tells it again.
func (s *policyService) noted() {
	if s.way.kills == nil || s.way.ofLog {
		return
	}
	s.until("it is noted that it was told to end", func() bool {
		b, _ := os.ReadFile(s.path + "/supervise/status")
		return len(b) == 20 && b[18] == 1 || !strings.HasPrefix(s.stat(), "run")
	})
}

// rested checks the pause between the last end and the present life.
func (s *policyService) rested() {
	if !s.on("backoff") || s.way.changed && s.life == 2 {
		return
	}
	last := func(name string) float64 {
		b, _ := os.ReadFile(s.path + "/" + name)
		f := strings.Fields(string(b))
		if len(f) == 0 {
			s.fail("%s is empty", name)
		}
		x, _ := strconv.ParseFloat(f[len(f)-1], 64)
		return x
	}
	if pause := last("begins") - last("ends"); pause < 1.45 {
		s.fail("it has rested for %.2f s before life %d", pause, s.life)
	}
}

// stop has the service told to end, and sees to that.
func (s *policyService) stop(code int, stages bool) {
	var w *policyCall
	if s.way.sv && stages {
		w = s.start("-w", "80", "stop", s.path)
	} else {
		s.order("d")
	}
	s.told()
	if stages {
		s.noted()
		s.stage("stopping")
	}
	if w != nil {
		s.waits(w)
	}
	sig := 0
	if s.on("timeout-kill") || s.file.name == "flag-timeout-killpg" {
		code, sig = -1, 9
	} else {
		s.tell(strconv.Itoa(code))
	}
	if stages {
		s.ended(code, sig, "in finish, down")
	} else if !s.way.ofLog {
		s.next(fmt.Sprintf("finish %d %d", code, sig))
		if !s.on("timeout-finish") {
			s.open("end")
			s.next("finished")
		}
	}
	if s.file.name == "flag-timeout-killpg" {
		if s.on("flag-timeout-killpg") {
			s.until("its group is killed", func() bool { return !s.childLives() })
		} else if !s.childLives() {
			s.fail("what it has started is killed, too")
		}
		s.lets()
	}
	s.until("it is down", func() bool { return s.stat() == "down" || !s.exists("supervise/proc") })
	if s.held["end"] != nil {
		s.shut("end")
	}
	if w != nil {
		s.done(w, "ok: down: ")
	}
}

// told waits for the signal that asks it to end.
func (s *policyService) told() {
	if s.on("down-signal") {
		s.next("INT")
	} else {
		s.next("TERM")
	}
}

// live is all that happens to a service.
func (s *policyService) live() {
	s.until("it is supervised", func() bool { return s.stat() == "down" })
	s.stage("idle")

	// the first life: it starts, is ready, and ends by itself
	var w *policyCall
	if s.way.sv {
		w = s.start("-w", "80", "start", s.path)
	} else {
		s.order("u")
	}
	if !s.way.ofLog && !s.needsOther() {
		s.until("it begins", func() bool { return s.exists("up") })
	}
	s.stage("starting")
	waits := s.needsOther()
	if !s.way.ofLog {
		s.open("begin")
		if !waits {
			s.until("it is being made", func() bool { return s.record("making") })
		}
	}
	s.stage("being made")
	if waits {
		s.until("it waits", func() bool { return s.record("waits") })
	} else {
		s.up()
	}
	s.stage("not ready")
	if waits {
		if s.seen != len(s.trace()) {
			s.fail("it does not wait: %q", s.trace())
		}
		if w != nil {
			s.waits(w)
		}
		s.openOther()
		s.up()
	}
	says := s.on("notification-fd") || s.on("notify-socket") || s.hasReadiness()
	mute := s.on("timeout-ready")
	if says && !mute {
		s.says("false")
	} else if !mute && !waits {
		s.says("null")
	}
	if w != nil && says && !mute {
		s.waits(w)
	}
	if !mute {
		s.tell("r")
	}
	if says && !mute {
		s.until("it is ready", func() bool { return s.readyNow() })
	}
	if w != nil && !mute {
		s.done(w, "ok: run: ")
	}
	s.stage("ready")
	if says && !mute {
		s.says("true")
	}
	if s.file.name == "reload-signal" || s.file.name == "none" {
		if out, err := s.sv("reload", s.path); err != nil {
			s.fail("sv reload: %v: %s", err, out)
		}
		if s.on("reload-signal") {
			s.next("USR1")
		} else {
			s.next("HUP")
		}
	}
	if s.way.changed {
		s.put(s.file.files)
	}
	switch {
	case mute:
		s.next("TERM")
		s.tell("0")
		s.ended(0, 0, "in finish")
	case s.on("watchdog"):
		s.tell("h")
		s.next("ABRT")
		s.ended(6, 0, "in finish")
	default:
		s.exits(3, "in finish")
	}
	s.again(s.on("finish-125"))
	if s.on("timeout-ready") && !s.way.changed {
		s.tell("r")
	}
	if w != nil && mute {
		s.done(w, "ok: run: ")
	}
	s.stage("second life")

	// the second: it ends again
	if s.on("timeout-ready") && s.way.changed {
		s.next("TERM")
		s.tell("0")
		s.ended(0, 0, "in finish again")
	} else {
		s.exits(3, "in finish again")
	}
	s.again(s.on("finish-125") || s.on("give-up") && !s.way.changed)
	s.tallied()

	// the third: it is told to end
	s.stop(0, true)
	s.stage("down")
	if s.stat() != "down" {
		s.fail("it does not stay down: %s", s.stat())
	}
	s.lets()
	s.order("u")
	s.up()
	if s.way.changed {
		s.remove(s.file.files)
	}
	s.stage("fourth life")
}

// needsOther says whether it waits for the other service before all else.
func (s *policyService) needsOther() bool {
	s.life = 1
	defer func() { s.life = 0 }()
	return s.on("needs")
}

// hasReadiness says whether it says that it is ready, whatever is tried.
func (s *policyService) hasReadiness() bool {
	_, socket := s.file.beside["notify-socket"]
	_, fd := s.file.beside["notification-fd"]
	return socket || fd
}

// readyNow says what the record tells.
func (s *policyService) readyNow() bool {
	b, _ := os.ReadFile(s.path + "/supervise/proc")
	return len(b) == 128 && b[125] == 'r'
}

// openOther starts what the service needs, and has it be ready.
func (s *policyService) openOther() {
	other := &policyService{policyTree: s.policyTree, path: s.dir + "/other", file: policyFile{name: "other"}, held: s.held}
	other.order("u")
	other.until("other runs", func() bool { return other.exists("up") })
	if s.seen != len(s.trace()) {
		s.fail("it does not wait until it is ready: %q", s.trace())
	}
	other.open("gate")
}

// tallied checks how many ends are remembered.
func (s *policyService) tallied() {
	if s.file.name != "max-death-tally" && s.file.name != "none" {
		return
	}
	out, _ := s.sv("why", "--json", s.path)
	var l struct{ Ends []any }
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		s.fail("sv why: %v: %s", err, out)
	}
	want := 2
	if s.on("max-death-tally") {
		want = 1
	}
	if len(l.Ends) != want {
		s.fail("%d ends are remembered in place of %d: %s", len(l.Ends), want, out)
	}
}

// end sees to the end of what runs, with all of the tree.
func (s *policyService) end() {
	if s.way.ofLog { // it is told by the end of what it reads
		s.until("its service is down", func() bool {
			b, _ := os.ReadFile(filepath.Dir(s.path) + "/supervise/stat")
			return strings.HasPrefix(string(b), "down")
		})
		s.tell("0")
		s.gone()
		return
	}
	s.told()
	code, sig := 0, 0
	if s.on("timeout-kill") || s.file.name == "flag-timeout-killpg" {
		code, sig = -1, 9
	} else {
		s.tell("0")
	}
	s.next(fmt.Sprintf("finish %d %d", code, sig))
	if !s.on("timeout-finish") {
		s.open("end")
		s.next("finished")
	}
	s.lets()
	s.gone()
}

// gone waits until the service is let go.
func (s *policyService) gone() {
	s.until("it is let go", func() bool { return !s.exists("supervise/proc") })
}

// each calls f for each service beside the others.
func (g *policyTree) each(all []*policyService, f func(s *policyService)) {
	g.going, g.round, g.here = len(all), 0, 0
	var over sync.WaitGroup
	for _, s := range all {
		over.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					failure, ours := r.(policyFailure)
					if !ours {
						buf := make([]byte, 4096)
						failure.text = fmt.Sprint(r, "\n", string(buf[:runtime.Stack(buf, false)]))
					}
					if failure.text != s.file.name+": given up" || !g.t.Failed() {
						g.t.Error(failure.text)
					}
					g.met.Broadcast()
				}
			}()
			f(s)
		})
	}
	over.Wait()
}

// policyWords are the lines on standard error that belong to what is tried.
var policyWords = regexp.MustCompile(`killed by signal 9|still being made; trying again|not ended within timeout|not ready within timeout-ready|hangs: it has not said|given up: (it has ended 2 times|\./finish exited 125)|waits for other, which is down|it is essential, and has ended`)

// TestPolicyMatrix has each file that a service directory may have beyond runit's, and none,
// be present, absent, malformed, and changed while the service runs; with a log service, of
// one, and with a log for all; while sv waits; and across a kill of the core at each stage of
// a service's life: before it starts, while it is being started, while it runs and is not
// ready, when it is ready, in its finish, while it rests, while it is being stopped and its
// times run, and when it is down. A service notes what happens to it, and that is compared.
func TestPolicyMatrix(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "trees of services that live four times")
	}
	needNamespaces(t)
	if _, err := exec.LookPath("perl"); err != nil {
		skip(t, "needs perl")
	}
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range policyWays {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			tryPolicies(t, way, bin)
		})
	}
}

func tryPolicies(t *testing.T, way policyWay, bin string) {
	top := t.TempDir()
	g := &policyTree{t: t, way: way, dir: top + "/tree", bin: bin}
	g.met = sync.NewCond(&g.mu)
	if err := writeFile(top+"/life", []byte(policyLife), 0o755); err != nil {
		t.Fatal(err)
	}
	group := policyGroup(t)
	for _, f := range policyFiles {
		switch {
		case way.ofLog && !f.logs, way.logged && f.name == "log", f.root && os.Geteuid() != 0, f.name == "cgroup" && group < 0:
			continue
		}
		s := &policyService{policyTree: g, file: f, path: g.dir + "/" + f.name, held: map[string]*os.File{}}
		if way.ofLog {
			s.path += "/log"
		}
		g.all = append(g.all, s)
	}
	g.each(g.all, (*policyService).make)
	other := map[string]string{"run": policyOther, "log/run": policyLog}
	if way.catchAll {
		other["../.log/run"] = policyLog
	}
	for name, text := range other {
		path := g.dir + "/other/" + name
		os.MkdirAll(filepath.Dir(path), 0o755)
		os.MkdirAll(g.dir+"/other", 0o755)
		if err := writeFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(g.dir+"/other/notification-fd", []byte("3"), 0o644)
	writeFile(g.dir+"/other/down", nil, 0o644)
	if err := unix.Mkfifo(g.dir+"/other/gate", 0o600); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		return
	}

	// What is left in the pid namespace ends with the shell.
	if err := unix.Mkfifo(top+"/over", 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "$0 --stop-timeout=90 $1; code=$?; : <over; exit $code", bin+"/runsvdir", g.dir)
	cmd.Dir, cmd.Env, cmd.Stderr = top, append(os.Environ(), "SVDIR=", gorace(t)), &g.err
	g.cmd = contained(t, cmd)
	if group >= 0 {
		g.cmd.SysProcAttr.UseCgroupFD, g.cmd.SysProcAttr.CgroupFD = true, group
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { g.cmd.Process.Kill() }
	defer func() {
		if t.Failed() {
			kill()
			g.cmd.Wait()
			t.Logf("standard error:\n%s", g.err.String())
		}
	}()
	g.each(g.all, (*policyService).live)
	if t.Failed() {
		return
	}

	// The essential service ends for good, and then all of the tree.
	want := 111
	rest := slices.Clone(g.all)
	g.each(g.all, func(s *policyService) {
		if s.file.name != "essential" {
			return
		}
		s.stop(7, false)
		if s.on("essential") {
			want = 7
		}
	})
	if t.Failed() {
		return
	}
	rest = slices.DeleteFunc(rest, func(s *policyService) bool { return s.file.name == "essential" })
	if want != 7 {
		unix.Kill(g.scanner(), unix.SIGHUP)
	}
	g.each(rest, (*policyService).end)
	if t.Failed() {
		return
	}
	over, err := os.OpenFile(top+"/over", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	g.cmd.Wait()
	if got := g.cmd.ProcessState.Sys().(syscall.WaitStatus).ExitStatus(); got != want {
		t.Errorf("runsvdir exits %d, want %d", got, want)
	}
	g.check()
}

// check looks at what was written, when all is over.
func (g *policyTree) check() {
	text := g.err.String()
	if g.way.catchAll {
		b, _ := os.ReadFile(g.dir + "/.log/lines")
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "runsv") {
				text += line
			}
		}
	}
	for line := range strings.Lines(text) {
		understood := g.way.bad && regexp.MustCompile(`is not understood|unable to read \./`).MatchString(line)
		if !understood && !policyWords.MatchString(line) {
			g.t.Errorf("it is said: %s", line)
		}
	}
	ups := func(path, line string) int {
		b, _ := os.ReadFile(g.dir + path)
		return strings.Count("\n"+string(b), "\n"+line+"\n")
	}
	for _, s := range g.all {
		if s.file.name == "log" {
			want := 0
			for s.life = 1; s.life <= 4; s.life++ {
				if s.on("log") {
					want++
				}
			}
			if got := ups("/other/log/lines", "up"); got != want {
				g.t.Errorf("the log service that ./log leads to has read of %d starts, want %d", got, want)
			}
		}
		if g.way.bad && s.file.bad != nil && !regexp.MustCompile(`(?m)^runsv `+s.file.name+`: .*`+regexp.QuoteMeta(s.file.warned)).MatchString(text) {
			g.t.Errorf("%s: it is not said: %s\n%s", s.file.name, s.file.warned, text)
		}
		if n := len(s.trace()); n != s.seen {
			g.t.Errorf("%s: %q behind the end", s.file.name, s.trace()[s.seen:])
		}
		if g.way.catchAll && s.file.name != "log" {
			if got, want := g.handed(s.file.name), strings.Join(s.trace(), "\n"); got != want {
				g.t.Errorf("the log for all has of %s %q, and it wrote %q", s.file.name, got, want)
			}
		}
		if g.way.logged && s.file.name != "log" {
			b, _ := os.ReadFile(s.path + "/log/lines")
			if got, want := string(b), strings.Join(s.trace(), "\n")+"\n"; got != want {
				g.t.Errorf("%s: its log has %q, and it wrote %q", s.file.name, got, want)
			}
		}
	}
}

// handed is what the log service of the tree has of one, without what came twice.
func (g *policyTree) handed(name string) string {
	b, _ := os.ReadFile(g.dir + "/.log/lines")
	var all []string
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), name+": "); ok && (len(all) == 0 || all[len(all)-1] != text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// policyGroup is a cgroup for a tree, -1 where there can be none.
func policyGroup(t *testing.T) int {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	own, _ := os.ReadFile("/proc/self/cgroup")
	m := regexp.MustCompile(`(?m)^\S+ \S+ \S+ / (\S+) .* - cgroup2 `).FindSubmatch(mounts)
	o := regexp.MustCompile(`(?m)^0::(.*)$`).FindSubmatch(own)
	if m == nil || o == nil {
		return -1
	}
	dir := filepath.Join(string(m[1]), string(o[1]), fmt.Sprintf("test-policy-%d-%s", os.Getpid(), strings.ReplaceAll(filepath.Base(t.Name()), "_", "")))
	if os.Mkdir(dir, 0o755) != nil {
		return -1
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	t.Cleanup(func() {
		unix.Close(fd)
		for limit := time.Now().Add(10 * time.Second); os.Remove(dir) != nil && time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
			below, _ := filepath.Glob(dir + "/*/")
			for _, b := range below {
				os.Remove(b)
			}
		}
	})
	return fd
}
