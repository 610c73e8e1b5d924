package survey

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
)

// Why tells what explains the state of a service, what matters most first. Dir is the
// directory of the tree, collection that of all services, and now the time. What is
// as it should be needs no cause.
func Why(s *Service, dir, collection string, now time.Time) (all []Cause) {
	w := &why{s: s, dir: dir, collection: collection, now: now}
	switch {
	case s.Err != nil && !s.Unsupervised():
		w.unreachable()
	case s.Err != nil:
		w.unsupervised()
	case s.Record.State == state.Finish:
		w.say("finish-runs", fmt.Sprintf("./finish runs, for %s; until it ends the service is not started again", span(now.Sub(s.Record.Since))), "sv kill "+s.Name)
	case s.Record.PID != 0:
		w.running()
	case s.Resting():
		w.resting()
	default:
		w.down()
	}
	if s.Err == nil {
		w.helpers()
	}
	w.core()
	w.twice()
	w.disk()
	if s.Log != nil {
		w.log()
	}
	return w.all
}

// why collects causes.
type why struct {
	s               *Service
	dir, collection string
	now             time.Time
	all             []Cause
}

func (w *why) say(code, text, mend string) { w.all = append(w.all, Cause{code, text, mend}) }

// unreachable is about a directory that cannot be entered, or files that cannot be read.
func (w *why) unreachable() {
	s := w.s
	if errors.Is(s.Err, unix.EACCES) || errors.Is(s.Err, unix.EPERM) {
		w.say("no-permission", "you may not look into "+s.Path, "ask as root, or name yourself in user/access")
		return
	}
	if _, away := errors.AsType[client.Unreachable](s.Err); !away {
		w.say("unreadable", s.Err.Error(), "")
		return
	}
	target, err := os.Readlink(s.Path)
	switch {
	case err == nil:
		w.say("directory-gone", s.Path+" is a link to "+target+", which cannot be entered: it is not there", "rm "+s.Path)
	case errors.Is(s.Err, unix.ENOTDIR):
		w.say("not-a-directory", s.Path+" is no directory", "")
	case isDir(w.collection + "/" + s.Name):
		w.say("not-linked", w.collection+"/"+s.Name+" is there, but it has no link in "+w.dir, "sv enable "+s.Name)
	default:
		text := "there is no service " + s.Name
		if near := Nearest(s.Name, w.names()); near != "" {
			w.say("no-such-service", text+"; the nearest name is "+near, "")
			return
		}
		w.say("no-such-service", text+" in "+w.dir+" or "+w.collection, "")
	}
}

// names are those of all services.
func (w *why) names() []string {
	linked, _ := Entries(w.dir)
	rest, _ := Entries(w.collection)
	return append(linked, rest...)
}

func isDir(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// unsupervised is about a directory that no supervisor serves.
func (w *why) unsupervised() {
	s := w.s
	if entries := w.entries(); len(entries) == 0 {
		w.say("not-linked", s.Path+" has no entry in "+w.dir, "ln -s "+absolute(s.Path)+" "+w.dir+"/")
	} else if name := filepath.Base(entries[0]); Hidden(name) {
		w.say("hidden-name", "the entry "+name+" begins with a dot, and such are left alone", "rename it")
	}
	scanned := client.Scanned(w.dir)
	if !scanned {
		w.say("no-runsvdir", "no runsvdir looks at "+w.dir, "runsvdir "+w.dir)
	}
	w.stale(scanned)
	if pid := holder(s.Files + "/lock"); pid != 0 {
		w.say("locked", fmt.Sprintf("process %d%s holds supervise/lock", pid, called(pid)), "")
	}
	w.all = append(w.all, Program(s.Path, "run")...)
	if scanned {
		w.descriptors()
	}
}

// core is about a supervisor that is gone while its scanner keeps what it served.
func (w *why) core() {
	p, ok := recordOf(w.s.Path)
	if w.s.Err != nil || !ok || p.Core == 0 {
		return
	}
	if ours, err := proc.IsOwn(); err != nil || !ours {
		return
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(p.Core)); os.IsNotExist(err) || processState(p.Core) == 'Z' {
		w.say("supervisor-replaced", fmt.Sprintf("its supervisor, process %d, is dead; another is about to take over, and what is told here may be stale", p.Core), "")
	}
}

// twice is about a directory that has several entries in the tree.
func (w *why) twice() {
	if entries := w.entries(); len(entries) > 1 {
		w.say("linked-twice", "its directory has several entries: "+strings.Join(entries, ", ")+"; only one of them is served", "remove all but one")
	}
}

// stale is about a status that a supervisor left behind.
func (w *why) stale(scanned bool) {
	b, err := sys.Slurp(unix.AT_FDCWD, w.s.Files+"/status", 64)
	if err != nil {
		return
	}
	rec, err := state.ParseRecord(b)
	if err != nil {
		return
	}
	text := fmt.Sprintf("its supervisor is dead: what supervise/status says, %s since %s, is stale", rec.State, rec.Since.UTC().Format(time.RFC3339))
	code := "supervisor-dead"
	if p, ok := recordOf(w.s.Path); ok {
		if rec.PID != 0 && alive(p) {
			text += fmt.Sprintf("; its process %d still runs", rec.PID)
		}
		if scanned {
			code, text = "supervisor-replaced", text+"; another is about to take over"
		}
	}
	w.say(code, text, "")
}

// alive says whether the process of a record is there.
func alive(p state.Process) bool {
	u := Usage{}
	_, ok := u.add(p.PID)
	return p.PID != 0 && ok
}

// entries are the names in the tree that lead to the service's directory.
func (w *why) entries() (found []string) {
	id := client.IdentityOf(w.s.Path)
	if id == (client.Identity{}) {
		return nil
	}
	list, _ := sys.ReadDir(w.dir)
	for _, entry := range list {
		if client.IdentityOf(w.dir+"/"+entry.Name()) == id {
			found = append(found, entry.Name())
		}
	}
	return found
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// running is about a process that is there.
func (w *why) running() {
	s, rec := w.s, w.s.Record
	if rec.Want == state.WantDown && rec.Termed {
		w.say("does-not-end", fmt.Sprintf("it was told to stop and has not ended yet; it runs for %s", span(w.now.Sub(rec.Since))), "sv kill "+s.Name)
	} else if rec.Want == state.WantDown {
		w.say("once", "it runs once: when it ends it is not started again", "sv up "+s.Name)
	}
	w.flaps()
	if s.Ready == state.NotReady {
		w.say("not-ready", fmt.Sprintf("it runs for %s and has not said that it is ready", span(w.now.Sub(rec.Since))), "")
	}
	if n := s.Notice; !n.Hung.IsZero() {
		w.say("hung", "it has not said in time that it works, and was sent ABRT", "sv kill "+s.Name)
	} else if n.Stopping && rec.Want == state.WantUp {
		w.say("stopping", "it has said that it is about to stop", "")
	}
	switch processState(rec.PID) {
	case 'T', 't':
		if rec.Paused {
			w.say("paused", "it was paused by sv", "sv cont "+s.Name)
		} else {
			w.say("stopped", fmt.Sprintf("process %d is stopped (T), but not by sv: by a signal STOP, a terminal or a debugger", rec.PID), "sv cont "+s.Name)
		}
	case 'D':
		w.say("in-kernel", fmt.Sprintf("process %d waits in the kernel (D), as for a disk or a file server", rec.PID), "")
	}
	if s.Blocked {
		w.say("blocked", "it cannot write: nobody reads the pipe to its log service", "sv status "+s.Name+"/log")
	}
}

// helpers is about programs beside ./run that are there and cannot be executed.
func (w *why) helpers() {
	for _, name := range []string{"finish", "check"} {
		var st unix.Stat_t
		if unix.Lstat(w.s.Path+"/"+name, &st) == nil {
			w.all = append(w.all, Program(w.s.Path, name)...)
		}
	}
}

// processState is the letter that /proc tells of a process, 0 where it tells none.
func processState(pid int) byte {
	b, err := sys.Slurp(unix.AT_FDCWD, proc.Path(pid, "stat"), 1024)
	if err != nil {
		return 0
	}
	if i := strings.LastIndexByte(string(b), ')'); i >= 0 && i+2 < len(b) {
		return b[i+2]
	}
	return 0
}

// resting is about a service that is to run and does not.
func (w *why) resting() {
	s := w.s
	problems := Program(s.Path, "run")
	w.all = append(w.all, problems...)
	for _, need := range s.Waits {
		mend := "sv why " + need.Name
		if need.Asks {
			mend = "sv up " + need.Name
		}
		w.say("waits", "it waits for "+need.Name+", which it needs and which "+need.Why, mend)
	}
	if end, known := s.Life.Last(); known && s.Life.Flaps == 0 && len(problems) == 0 {
		w.ended(end)
	}
	w.flaps()
	if s.GivenUp {
		w.say("given-up", "it is given up: it ended too often, or its ./finish said that it is for good (exit status 125)", "sv up "+s.Name)
	} else if text, err := sys.Slurp(unix.AT_FDCWD, s.Path+"/backoff", 64); err == nil && len(s.Waits) == 0 {
		w.say("backs-off", "it is not started again at once: backoff says "+strings.TrimSpace(string(text))+" ms", "sv up "+s.Name)
	}
	w.descriptors()
}

// flaps is about a service that is started again and again.
func (w *why) flaps() {
	if n := w.s.Life.Flaps; n > 0 {
		end, _ := w.s.Life.Last()
		w.ended(end)
		mend := ""
		if w.s.Log != nil {
			mend = "sv log " + w.s.Name
		}
		w.say("flaps", fmt.Sprintf("it is started again and again: it has ended %d times after short lives", n), mend)
	}
}

// codeWords are what an exit status means by custom, "" where there is none.
func codeWords(code int) string {
	return map[int]string{
		0:   "it ended by itself: a program that puts itself into the background looks so too",
		78:  "its configuration is wrong, by the custom of sysexits.h",
		100: "it was called with wrong arguments, by the custom of runit's programs",
		111: "a system call failed, by the custom of runit's programs, or ./run could not be executed",
		125: "by custom it is not to be started again",
		126: "a command in it could not be executed, by the custom of shells",
		127: "a command in it was not found, by the custom of shells",
	}[code]
}

// signalWords are what a signal that ends a process means, "" where that says nothing.
func signalWords(sig unix.Signal) string {
	return map[unix.Signal]string{
		unix.SIGSEGV: "it used memory that it does not have: a fault of the program",
		unix.SIGBUS:  "a fault of the program, or of a disk below its memory",
		unix.SIGILL:  "an instruction that this processor has not, or a fault of the program",
		unix.SIGFPE:  "a fault of the program",
		unix.SIGABRT: "it gave up by itself, or a watchdog had enough",
		unix.SIGKILL: "by somebody, or by the kernel for lack of memory",
		unix.SIGTERM: "by somebody who asked it to end",
		unix.SIGXCPU: "it used up its limit of processor time",
		unix.SIGXFSZ: "it wrote a file beyond its limit",
		unix.SIGSYS:  "it made a system call that is forbidden to it (seccomp)",
		unix.SIGPIPE: "nobody read what it wrote",
		unix.SIGHUP:  uncaught, unix.SIGINT: uncaught, unix.SIGQUIT: uncaught, unix.SIGALRM: uncaught, unix.SIGUSR1: uncaught, unix.SIGUSR2: uncaught,
	}[sig]
}

// uncaught is what such a signal means.
const uncaught = "by itself or by somebody, and it does not catch that"

// ended tells of the end of the last life.
func (w *why) ended(end End) {
	ago := span(w.now.Sub(end.At)) + " ago"
	switch {
	case end.OOM:
		w.say("memory-limit", "./run ended "+ago+": the kernel has killed it, or a process of it, for lack of memory", "raise its limit of memory")
		return
	case end.Status == state.StatusUnknown:
		w.say("end-unknown", "./run ended "+ago+" while its supervisor was dead: nobody saw how", "")
		return
	}
	if !end.Status.Signaled() {
		code := end.Status.ExitStatus()
		text := fmt.Sprintf("./run ended %s with exit status %d", ago, code)
		if code > 128 && code <= 128+64 {
			text += fmt.Sprintf(": a command in it was killed by signal %d", code-128)
		} else if words := codeWords(code); words != "" {
			text += ": " + words
		}
		w.say("exit-"+strconv.Itoa(code), text, "")
		return
	}
	sig := end.Status.Signal()
	name := strings.TrimPrefix(unix.SignalName(sig), "SIG")
	if name == "" {
		name = strconv.Itoa(int(sig))
	}
	text := fmt.Sprintf("./run was killed %s by signal %s", ago, name)
	if words := signalWords(sig); words != "" {
		text += ": " + words
	}
	if end.Status.CoreDump() {
		text += "; it left a core dump"
	}
	w.say("signal-"+name, text, "")
}

// down is about a service that is not to run.
func (w *why) down() {
	s := w.s
	if s.Record.Want != state.WantDown {
		return
	}
	since := s.Record.Since.UTC().Format("2006-01-02 15:04:05 UTC")
	if end, known := s.Life.Last(); known {
		w.say("wanted-down", "somebody told it to be down, or to run once; it is down since "+since, "sv up "+s.Name)
		w.ended(end)
		return
	}
	if s.HasDown {
		w.say("down-file", "there is a file down: it is not started until somebody asks for it", "sv up "+s.Name+"; for good: rm "+s.Path+"/down")
		return
	}
	w.say("wanted-down", "somebody told it to be down; it is down since "+since, "sv up "+s.Name)
}

// disk is about file systems that are full.
func (w *why) disk() {
	places := []string{w.s.Files}
	if w.s.Log != nil {
		places = append(places, LogDirs(w.s)...)
	}
	for _, place := range places {
		var fs unix.Statfs_t
		if unix.Statfs(place, &fs) != nil || fs.Blocks == 0 {
			continue
		}
		switch {
		case fs.Flags&unix.ST_RDONLY != 0:
			w.say("read-only", place+" is on a file system that is read-only", "")
		case fs.Bavail == 0 || fs.Files > 0 && fs.Ffree == 0:
			w.say("full-disk", place+" is on a file system that is full", "make room there")
		}
	}
}

// log is about the log service.
func (w *why) log() {
	l := w.s.Log
	if l.Err == nil && l.Record.State == state.Run && l.Record.Want == state.WantUp {
		return
	}
	if l.Err == nil && l.Record.PID == 0 && w.s.Err == nil && w.s.Record.PID == 0 && l.Record.Want == state.WantDown {
		return // both are down
	}
	if w.s.Err != nil && l.Unsupervised() {
		return
	}
	other := &why{s: l, dir: w.dir, collection: w.collection, now: w.now}
	switch {
	case l.Err != nil && !l.Unsupervised():
		other.unreachable()
	case l.Err != nil:
		other.all = append(other.all, Program(l.Path, "run")...)
		other.say("unsupervised", "nobody supervises it", "")
	case l.Resting():
		other.resting()
	case l.Record.PID == 0:
		other.down()
	default:
		other.running()
	}
	for _, c := range other.all {
		w.say("log-"+c.Code, "its log service fails: "+c.Text, c.Mend)
	}
}

// descriptors is about the limit of open files of the supervisor.
func (w *why) descriptors() {
	core := 0
	if p, ok := recordOf(w.s.Path); ok {
		core = p.Core
	} else {
		names, _ := Entries(w.dir)
		for _, name := range names {
			if p, ok := recordOf(w.dir + "/" + name); ok {
				core = p.Core
				break
			}
		}
	}
	limits, err := sys.Slurp(unix.AT_FDCWD, proc.Path(core, "limits"), 4096)
	if core == 0 || err != nil {
		return
	}
	for line := range strings.Lines(string(limits)) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if !ok {
			continue
		}
		limit, _ := strconv.Atoi(strings.Fields(rest)[0])
		d, err := os.Open(proc.Path(core, "fd"))
		if err != nil {
			return
		}
		names, _ := d.Readdirnames(-1)
		d.Close()
		if limit > 0 && len(names) > limit-20 {
			w.say("descriptor-limit", fmt.Sprintf("the supervisor, process %d, has %d files open and may have %d", core, len(names), limit), "start runsvdir with a higher limit of open files")
		}
	}
}

// holder is the process that holds a lock on a file, as far as /proc/locks tells; 0 is
// nobody.
func holder(path string) int {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 6 && f[5] == want {
			pid, _ := strconv.Atoi(f[4])
			return max(pid, 0)
		}
	}
	return 0
}

// called is the name of a process, in parentheses.
func called(pid int) string {
	name, err := sys.Slurp(unix.AT_FDCWD, proc.Path(pid, "comm"), 64)
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(name)) + ")"
}

// span tells how long something lasts, in one or two units.
func span(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 7200:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d days", s/86400)
}
