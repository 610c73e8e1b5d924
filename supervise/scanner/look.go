package scanner

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/mounts"
	"runitbox/supervise/notice"
	"runitbox/supervise/policy"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// directory is the directory of service directories as far as it touches file
// systems. It is looked at by one goroutine at a time, which may hang there; what it
// finds it tells the scanner, which never waits for it. An entry that hangs holds a
// goroutine of its own, and all others are looked at.
type directory struct {
	path    string
	watcher *watcher
	notice  notice.Notice
	mounts  mounts.Kept
	last    stamp // what the directory was at the last look
	leftOut leftOut
	// threads sees to threads for so many that wait for an answer, and says whether
	// there are; nil: always.
	threads func(workers int) bool

	mu      sync.Mutex
	hanging map[string]*hang  // names that somebody asks about at present, and waits
	late    map[string]answer // what came of that since the last look

	touching atomic.Int32  // threads that are at a file system, and cannot be killed
	awaited  atomic.Bool   // that there are none
	free     chan struct{} // of one: there are none
}

func newDirectory(path string) *directory {
	return &directory{path: path, watcher: newWatcher(), notice: notice.None(statedir.Root()), hanging: map[string]*hang{}, late: map[string]answer{}, free: make(chan struct{}, 1)}
}

// touch says that the caller may hang at a file system until it calls what it gets.
func (d *directory) touch() (release func()) {
	d.touching.Add(1)
	return d.leave
}

func (d *directory) leave() {
	if d.touching.Add(-1) == 0 && d.awaited.Load() {
		ring(d.free)
	}
}

// probe waits for the child of a probe: meanwhile the caller touches nothing itself.
func (d *directory) probe(p *child.Probe) error {
	d.leave()
	defer d.touching.Add(1)
	return p.Run()
}

// mayBecome says whether this process can become another program now; if not, free is
// rung when it can.
func (d *directory) mayBecome() bool {
	d.awaited.Store(true)
	if d.touching.Load() > 0 {
		return false
	}
	d.awaited.Store(false)
	return true
}

// count is about how many entries there are, if that is known within the limit.
func (d *directory) count(limit time.Duration) int {
	n := make(chan int, 1)
	go func() {
		defer d.touch()()
		d.probeList(d.mounts.Now())
		dir, err := os.Open(d.path)
		if err != nil {
			n <- 0
			return
		}
		defer dir.Close()
		names, _ := dir.Readdirnames(-1)
		n <- len(names)
	}()
	select {
	case n := <-n:
		return n
	case <-time.After(limit):
		return 0
	}
}

// stamp is by what a change of the directory is recognised.
type stamp struct {
	dev, ino uint64
	mtime    int64
}

// request is what the scanner wants of a look.
type request struct {
	force bool             // also what could not be read is told again
	first bool             // nothing is known: what is found is told at once
	room  int              // for so many services there are descriptors in any case
	known map[string]known // the entries, by key
	held  map[string]bool  // new directories that were not complete, by key
	said  bool             // the FIFO of the tree's log service is asked for, if there is one
}

// known is an entry that the scanner has.
type known struct {
	born  int64
	waits bool // it is not complete
}

// finding is what a look has found: all of it, or a part if there is more.
type finding struct {
	answers []answer
	err     error // nothing could be found
	more    bool
	quiet   bool  // the directory itself has not changed
	again   bool  // it may yet change unseen, or could not be read as a whole
	odd     error // what is to be said of the names
}

// answer is what is known of a name in the directory.
type answer struct {
	name  string
	key   string // device and inode
	born  int64
	fd    int32 // of what is new: the directory
	state answerState
	said  int32 // of the tree's log service: its FIFO; 0: it was not opened
	made  bool  // it was made here, and is perhaps being written
	runs  bool  // something of it may run; it is asked for only where there may be no room for all
	err   error // why it cannot be read, or what it lacks to be started
}

type answerState byte

const (
	isNothing answerState = iota // it is gone, or no directory
	isKnown                      // the scanner has it
	isFresh                      // the scanner does not have it yet
	isBad                        // it cannot be read: err
	isHung                       // it does not answer
)

// hangTime is how long all wait for one entry's file system, and hangNext for another
// when some have not answered. hangMax is how many entries may hang, each of which
// holds a thread: while there are so many, nothing new is seen.
const (
	hangTime = 20 * time.Millisecond
	hangNext = 4 * time.Millisecond
	hangMax  = 200
)

// look looks at the directory and its entries, and tells what it finds.
func (d *directory) look(req request, tell func(finding)) {
	made := d.watcher.takeMade() // before it is listed: what comes later is for the next look
	l, err := d.list(req.force)
	if err != nil {
		tell(finding{err: err})
		return
	}
	defer l.dir.leave()
	l.tight = len(l.names) > req.room
	tellSome := func(answers []answer) {
		tell(finding{answers: answers, more: true, quiet: l.quiet, again: l.again})
	}
	some := tellSome
	if !req.first || l.tight { // else what runs comes first
		some = nil
	}
	one := func(name string) answer { return d.askOne(l, name, req, made) }
	if i := slices.Index(l.names, policy.CatchAll); i >= 0 && req.first { // it comes before what it is for
		tellSome(d.askPatiently(l.dir, policy.CatchAll, one))
		l.names = slices.Delete(l.names, i, i+1)
	}
	answers := d.ask(l.dir, l.names, one, some)
	if l.tight {
		answers = runningFirst(answers)
	}
	if !req.first {
		d.watcher.watchTargets(d, d.targets(l), l.mounts)
	}
	tell(finding{answers: answers, quiet: l.quiet, again: l.again, odd: l.odd})
}

// runningFirst puts before all others what something may run of.
func runningFirst(answers []answer) []answer {
	runs := make([]answer, 0, len(answers))
	var rest []answer
	for _, a := range answers {
		if a.runs {
			runs = append(runs, a)
		} else {
			rest = append(rest, a)
		}
	}
	return append(runs, rest...)
}

// askPatiently asks about what all others wait for, though not for ever.
func (d *directory) askPatiently(dir *sharedDir, name string, one func(string) answer) []answer {
	for begun := time.Now(); ; time.Sleep(hangNext) {
		answers := d.ask(dir, []string{name}, one, nil)
		if answers[0].state != isHung || time.Since(begun) > patientTime {
			return answers
		}
	}
}

// patientTime is how long the first look waits for the log service of the tree.
const patientTime = time.Second

// listing is what the directory itself tells.
type listing struct {
	dir          *sharedDir
	names        []string
	mounts       mounts.Table
	remote       bool // it is with a server
	tight        bool // there may be no room for all
	quiet, again bool // of finding
	odd          error
}

// probeList makes sure that the directory answers, where it may not.
func (d *directory) probeList(m mounts.Table) (remote bool) {
	if remote = m.MayHang(unix.AT_FDCWD, d.path); remote {
		p := child.Probe{At: unix.AT_FDCWD}
		d.probe(p.Stat(d.path).Access(d.path).List(d.path))
	}
	return remote
}

// list opens the directory, watches it and lists what is in it.
func (d *directory) list(force bool) (l listing, err error) {
	defer d.touch()()
	l.mounts = d.mounts.Now()
	l.remote = d.probeList(l.mounts)
	d.watcher.distrust() // until the directory was found as it should be
	f, err := servicedir.Identify(unix.AT_FDCWD, d.path, 0)
	if err != nil {
		return l, fmt.Errorf("unable to stat %s: %w", d.path, err)
	}
	now := stamp{f.Dev, f.Ino, f.MTime}
	l.quiet = !force && now == d.last
	if !f.IsDir() {
		return l, fmt.Errorf("unable to change directory to %s: %w", d.path, unix.ENOTDIR)
	}
	fd, err := sys.Open(unix.AT_FDCWD, d.path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return l, fmt.Errorf("unable to open directory %s: %w", d.path, err)
	}
	l.dir = &sharedDir{file: os.NewFile(uintptr(fd), d.path), fd: fd}
	l.dir.users.Store(1)
	d.watcher.watch(d.path, l.mounts)
	d.notice.Put(f.Dev, f.Ino)
	names, err := l.dir.file.Readdirnames(-1)
	if err != nil {
		l.dir.leave()
		return l, unreadable{fmt.Errorf("unable to read directory %s: %w", d.path, err)}
	}
	d.last = now
	// A change within the clock's resolution does not show in the time stamp.
	l.again = time.Since(time.Unix(0, f.MTime)) < time.Second
	l.odd = d.leftOut.in(names)
	l.names = shown(names)
	return l, nil
}

// unreadable says that the directory was not read to its end: it is soon tried again.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// isShown says whether the name is that of a service: it does not begin with a dot, or is that
// of the tree's log service.
func isShown(name string) bool { return !strings.HasPrefix(name, ".") || name == policy.CatchAll }

// shown are those names.
func shown(names []string) []string {
	all := names[:0]
	for _, name := range names {
		if isShown(name) {
			all = append(all, name)
		}
	}
	return all
}

// close lets go of a new directory.
func (a *answer) close() {
	if a.state == isFresh {
		unix.Close(int(a.fd))
	}
	a.closeSaid()
}

// askOne says what is known of a name.
func (d *directory) askOne(l listing, name string, req request, made map[string]bool) (a answer) {
	at := l.dir.fd
	a.name, a.made = name, made[name]
	remote := l.mounts.MayHang(at, name)
	if remote {
		p := child.Probe{At: at}
		d.probe(p.Stat(name))
	}
	f, err := servicedir.Identify(at, name, 0)
	if err != nil {
		if _, e := servicedir.Identify(at, name, unix.AT_SYMLINK_NOFOLLOW); errors.Is(e, unix.ENOENT) {
			return a // it was taken away since it was listed
		}
		a.state, a.err = isBad, fmt.Errorf("unable to stat %s: %w", name, err)
		return a
	}
	if !f.IsDir() {
		if name == policy.CatchAll {
			a.state, a.err = isBad, fmt.Errorf("unable to supervise %s: %w", name, unix.ENOTDIR)
		}
		return a
	}
	if name == policy.CatchAll && req.said {
		defer func() { a.openSaid(at) }()
	}
	a.key, a.born = f.Key(), f.Born
	k, ok := req.known[a.key]
	ok = ok && sameBirth(k.born, a.born)
	if ok && !k.waits {
		a.state = isKnown
		return a
	}
	if remote {
		p := child.Probe{At: at}
		run, log := name+"/run", name+"/log"
		d.probe(p.Stat(run, log, log+"/run").Open(run, log+"/run").Access(name, log, name+"/control", name+"/env"))
	}
	fd, err := sys.Open(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		a.state, a.err = isBad, fmt.Errorf("unable to stat %s: %w", name, err)
		return a
	}
	dir := servicedir.Dir{FD: fd}
	if l.tight {
		a.runs = dir.Has("supervise/proc")
	}
	strict := ok || a.made || req.held[a.key]
	a.state, a.fd = isFresh, int32(fd)
	if req.first && !strict { // what is there already has its log service, or never will
		a.err = dir.Executable("run", false)
	} else {
		a.err = dir.Unready(strict)
	}
	if strict || a.err != nil { // looked at again, once it is watched
		d.watcher.attend(d.path+"/"+name, name)
		a.err = dir.Unready(true)
	}
	if ok {
		unix.Close(fd)
		a.state = isKnown
	}
	return a
}

// sameBirth says whether two directories of one number are the same.
func sameBirth(a, b int64) bool { return a == b || a == 0 || b == 0 }

// targets are the paths that those of the names lead to which are links.
func (d *directory) targets(l listing) (targets []string) {
	defer d.touch()()
	at := l.dir.fd
	if l.remote {
		p := child.Probe{At: at}
		d.probe(p.Readlink(l.names...))
	}
	base, err := filepath.Abs(d.path)
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(base); err == nil {
		base = real
	}
	buf := make([]byte, unix.PathMax)
	for _, name := range l.names {
		n, err := unix.Readlinkat(at, name, buf)
		if err != nil {
			continue
		}
		target := string(buf[:n])
		if !filepath.IsAbs(target) {
			target = filepath.Join(base, target)
		}
		targets = append(targets, filepath.Clean(target))
	}
	return targets
}
