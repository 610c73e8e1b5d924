package scanner

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/notice"
	"runitbox/supervise/self"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// directory is the directory of service directories as far as it touches file
// systems. It is looked at by one goroutine at a time, which may hang there; what it
// finds it tells the scanner, which never waits for it. An entry that hangs holds a
// goroutine of its own, and all others are looked at.
type directory struct {
	path    string
	watcher *watcher
	notice  notice.Notice
	last    stamp // what the directory was at the last look
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
	return &directory{path: path, watcher: newWatcher(), notice: notice.None(), hanging: map[string]*hang{}, late: map[string]answer{}, free: make(chan struct{}, 1)}
}

// touch says that the caller may hang at a file system until it calls what it gets.
func (d *directory) touch() (release func()) {
	hear := self.BlockSignals()
	d.touching.Add(1)
	return func() {
		d.leave()
		hear()
	}
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
		d.probeList(readMounts())
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
	known map[string]known // the entries, by key
	held  map[string]bool  // new directories that were not complete, by key
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
	quiet   bool // the directory itself has not changed
	again   bool // it may yet change unseen, or could not be read as a whole
}

// answer is what is known of a name in the directory.
type answer struct {
	name  string
	key   string // device and inode
	born  int64
	fd    int32 // of what is new: the directory
	state answerState
	made  bool  // it was made here, and is perhaps being written
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
	var some func([]answer)
	if req.first {
		some = func(answers []answer) {
			tell(finding{answers: answers, more: true, quiet: l.quiet, again: l.again})
		}
	}
	answers := d.ask(l.dir, l.names, func(name string) answer { return d.askOne(l, name, req, made) }, some)
	if !req.first {
		d.watcher.watchTargets(d, d.targets(l), l.mounts)
	}
	tell(finding{answers: answers, quiet: l.quiet, again: l.again})
}

// listing is what the directory itself tells.
type listing struct {
	dir          *sharedDir
	names        []string
	mounts       mounts
	remote       bool // it is with a server
	quiet, again bool // of finding
}

// probeList makes sure that the directory answers, where it may not.
func (d *directory) probeList(m mounts) (remote bool) {
	if remote = m.mayHang(unix.AT_FDCWD, d.path); remote {
		p := child.Probe{At: unix.AT_FDCWD}
		d.probe(p.Stat(d.path).Access(d.path).List(d.path))
	}
	return remote
}

// list opens the directory, watches it and lists what is in it.
func (d *directory) list(force bool) (l listing, err error) {
	defer d.touch()()
	l.mounts = readMounts()
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
	l.names = shown(names)
	return l, nil
}

// unreadable says that the directory was not read to its end: it is soon tried again.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// shown are the names that do not begin with a dot.
func shown(names []string) []string {
	all := names[:0]
	for _, name := range names {
		if !strings.HasPrefix(name, ".") {
			all = append(all, name)
		}
	}
	return all
}

// sharedDir is an open directory that is closed when nobody uses it any more: who
// hangs on an entry keeps it open.
type sharedDir struct {
	file  *os.File
	fd    int
	users atomic.Int32
}

func (d *sharedDir) leave() {
	if d.users.Add(-1) == 0 {
		d.file.Close()
	}
}

// asking is one round of questions, a name after the other.
type asking struct {
	d     *directory
	dir   *sharedDir
	names []string
	one   func(name string) answer
	next  atomic.Int32 // the name that nobody has begun with
	found chan numbered
	over  bool // of d.mu: who has yet to answer does so for the next look
}

// numbered is the answer for the name of that number.
type numbered struct {
	i int
	answer
}

// ask asks about all names. Who does not get an answer in time is left waiting, and
// another goes on with the next name. What is found first is told by some.
func (d *directory) ask(dir *sharedDir, names []string, one func(string) answer, some func([]answer)) (answers []answer) {
	names, answers = d.askedBefore(names)
	k := &asking{d: d, dir: dir, names: names, one: one, found: make(chan numbered, min(len(names), wire.BatchMax))}
	answers = slices.Grow(answers, min(len(names), wire.BatchMax))
	answered := make([]bool, len(names))
	var told []answer // while the scanner is busy with it
	take := func(n numbered) {
		answered[n.i] = true
		if answers = append(answers, n.answer); some != nil && len(answers) >= wire.BatchMax {
			some(answers)
			if told == nil {
				told = make([]answer, 0, wire.BatchMax)
			}
			answers, told = told[:0], answers
		}
	}
	done, before, workers := 0, 0, d.hangers()
	if workers == 0 || d.mayBegin(workers+1) {
		k.begin()
		workers++
	}
	patience := func() time.Duration {
		if workers > 4 {
			return hangNext
		}
		return hangTime
	}
	timer := time.NewTimer(patience())
	defer timer.Stop()
	for done < len(names) {
		select {
		case n := <-k.found:
			done++
			take(n)
			continue
		case <-timer.C:
		}
		if done == before { // all who are at work hang
			if int(k.next.Load()) >= len(names) || !d.mayBegin(workers+1) {
				break
			}
			k.begin()
			workers++
		}
		before = done
		timer.Reset(patience())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k.over = true
	begun := min(int(k.next.Swap(int32(len(names)))), len(names))
	for len(k.found) > 0 {
		take(<-k.found)
	}
	for i, name := range names {
		if !answered[i] {
			if i < begun {
				d.hanging[name] = &hang{since: time.Now()}
			}
			answers = append(answers, answer{name: name, state: isHung})
		}
	}
	return answers
}

// hang is what somebody waits for.
type hang struct {
	since time.Time
	said  bool // that it does not answer
}

// hungTime is how long an entry may take to answer until that is said: where the
// machine is busy any takes longer than the others wait for it.
const hungTime = time.Second

// errHung says that a file system does not answer.
var errHung = errors.New("it does not answer; the others are not concerned.")

// begin has another goroutine ask.
func (k *asking) begin() {
	k.dir.users.Add(1)
	go func() {
		defer k.d.touch()()
		defer k.dir.leave()
		for {
			i := int(k.next.Add(1)) - 1
			if i >= len(k.names) {
				return
			}
			k.put(i, k.one(k.names[i]))
			if i%wire.BatchMax == wire.BatchMax-1 {
				runtime.Gosched() // there may be one processor only
			}
		}
	}()
}

// put tells an answer, in this round or, if that is over, in the next.
func (k *asking) put(i int, a answer) {
	for !k.tryPut(i, a) {
		runtime.Gosched()
	}
}

func (k *asking) tryPut(i int, a answer) bool {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	if k.over {
		delete(k.d.hanging, a.name)
		k.d.late[a.name] = a
		ring(k.d.watcher.seen)
		return true
	}
	select {
	case k.found <- numbered{i, a}:
		return true
	default:
		return false
	}
}

// mayBegin says whether so many may wait for an answer at once: each holds a thread.
func (d *directory) mayBegin(workers int) bool {
	return workers <= hangMax && (d.threads == nil || d.threads(workers))
}

// hangers is how many wait for an answer since an earlier look.
func (d *directory) hangers() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.hanging)
}

// askedBefore takes out of names those of which an earlier look has got an answer
// too late, or that it still waits for.
func (d *directory) askedBefore(names []string) (rest []string, answers []answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.late)+len(d.hanging) == 0 {
		return names, nil
	}
	for _, name := range names {
		if a, ok := d.late[name]; ok {
			answers = append(answers, a)
			delete(d.late, name)
		} else if h := d.hanging[name]; h != nil {
			a := answer{name: name, state: isHung}
			if !h.said && time.Since(h.since) >= hungTime {
				h.said, a.err = true, fmt.Errorf("unable to stat %s: %w", name, errHung)
			}
			answers = append(answers, a)
		} else {
			rest = append(rest, name)
		}
	}
	for name, a := range d.late { // it is gone
		a.close()
		delete(d.late, name)
	}
	return rest, answers
}

// close lets go of a new directory.
func (a *answer) close() {
	if a.state == isFresh {
		unix.Close(int(a.fd))
	}
}

// askOne says what is known of a name.
func (d *directory) askOne(l listing, name string, req request, made map[string]bool) answer {
	a, at := answer{name: name, made: made[name]}, l.dir.fd
	remote := l.mounts.mayHang(at, name)
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
		return a
	}
	a.key, a.born = strconv.FormatUint(f.Dev, 16)+":"+strconv.FormatUint(f.Ino, 16), f.Born
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
	strict := ok || a.made || req.held[a.key]
	a.state, a.fd = isFresh, int32(fd)
	if req.first && !strict { // what is there already has its log service, or never will
		a.err = servicedir.Dir{FD: fd}.Executable("run", false)
	} else {
		a.err = servicedir.Dir{FD: fd}.Unready(strict)
	}
	if strict || a.err != nil { // looked at again, once it is watched
		d.watcher.attend(d.path+"/"+name, name)
		a.err = servicedir.Dir{FD: fd}.Unready(true)
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
