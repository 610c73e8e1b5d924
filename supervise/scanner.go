package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Scanner keeps a core supervising what is in a directory of service
// directories: runsvdir. It knows which services there are and nothing of what
// they do; it holds descriptors for the core, and collects for it the children
// that a killed core has left.
type Scanner struct {
	Dir     string   // looked up anew at each look, since it may be a link
	Session bool     // -P
	Args    []string // the process's own, in the memory that ps reads
	Log     int      // which of Args is the log; 0: none
	// Say takes what there is to be said, as a Core's does; what concerns no
	// service has no name.
	Say func(level Level, service string, err error)
	// StopTime is how long process 1 gives its services to stop.
	StopTime time.Duration

	sigs    chan os.Signal
	self    string // path of the executable, looked up at start
	entries map[string]*entry
	idle    map[*entry]bool // those that the core has let go: few, so that each message costs the same in a large tree
	core    int             // pid of the core, 0 if there is none
	link    *link
	offers  []*entry // to be sent to it
	mail    chan letter
	deaths  backOff
	inherited
	restart *time.Timer
	ring    *Ring

	last   look                 // what the directory was at the last scan
	wanted bool                 // a scan is due, whatever the directory looks like
	again  bool                 // the next look is a scan
	held   map[string]time.Time // new directories without a run file, by key
	files  fileLimits
	full   bool // and it was said that there are too few
	stop   *stopping
	eyes   *eyes
}

// entry is a service of the directory, by device and inode.
type entry struct {
	key     string
	name    string
	fds     []int  // the directory, then what the core has given to keep
	tags    string // what that is
	dropped bool   // not in the directory any more: told to exit
	lacking bool   // it could not be opened
	offered time.Time
	seen    bool
}

// letter is what came from a core, or its end.
type letter struct {
	messages []message
	err      error
}

// look is by what a change of the directory is recognised.
type look struct {
	dev, ino uint64
	mtime    unix.Timespec
}

// stopping is the end of a tree below process 1.
type stopping struct {
	status   int
	deadline time.Time
}

// stateVar hands what the scanner holds over to the new executable.
const stateVar = "RUNSVDIR_STATE"

// Run scans until a signal ends it and returns the exit status: 0 for TERM,
// which leaves the core and all services as they are, 111 for HUP, which has
// them exit. As process 1 it waits for that.
func (s *Scanner) Run() int {
	pid1 := os.Getpid() == 1
	sigs := make(chan os.Signal)
	notifyEach(sigs, unix.SIGTERM, unix.SIGHUP, unix.SIGALRM, unix.SIGUSR2, unix.SIGCHLD)
	s.sigs = sigs
	if pid1 {
		signal.Notify(make(chan os.Signal, 1)) // unasked, some would end it, and with it all
		notifyEach(sigs, unix.SIGINT)
	} else {
		defaultAction(unix.SIGUSR1, unix.SIGQUIT, unix.SIGPWR, unix.SIGVTALRM, unix.SIGPROF, unix.SIGXCPU, unix.SIGXFSZ)
	}
	ignorePipe()
	s.files = raiseFiles()
	// A core's children come to the scanner when the core is killed.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	s.self = executable(s.Args[0])
	s.entries, s.idle, s.held = map[string]*entry{}, map[*entry]bool{}, map[string]time.Time{}
	s.mail = make(chan letter, 16)
	s.wanted = true
	again := s.resume()
	if s.ring != nil {
		go s.ring.run()
	}
	need := RuntimeThreads + runtime.GOMAXPROCS(0) + 1 // what hangs in a call
	if s.ring != nil {
		need++
	}
	go ReserveThreads(need)
	s.eyes = openEyes()
	for _, sig := range again { // that were not acted on before an upgrade
		unix.Kill(os.Getpid(), sig)
	}
	s.startCore()
	s.scan(false)
	timer := newAlarm()
	for {
		s.sendOffers()
		timer.set(s.pause())
		select {
		case sig := <-sigs:
			switch sig {
			case unix.SIGTERM, unix.SIGINT:
				if !pid1 {
					return 0
				}
				s.stopTree(0)
			case unix.SIGHUP:
				if !pid1 {
					s.dropAll()
					return 111
				}
				s.stopTree(111)
			case unix.SIGALRM:
				s.scan(true)
				s.sendOffers()
				s.stampRescan()
			case unix.SIGUSR2:
				if s.stop == nil { // the end is not to be forgotten
					s.upgrade()
				}
			case unix.SIGCHLD:
				s.reap()
			}
		case l := <-s.mail:
			s.read(l)
		case <-s.eyes.seen:
			s.wanted = true
			s.scan(false)
		case <-timerOf(s.restart):
			s.restart = nil
			s.startCore()
		case <-timerOf(s.patience):
			s.patience = nil
			s.lookBehind()
		case <-timer.rings:
			s.scan(false)
		}
		if s.stop != nil && (s.core == 0 && s.restart == nil || time.Now().After(s.stop.deadline)) {
			return s.stop.status
		}
	}
}

func timerOf(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

// pause is how long until the next look: five seconds, or less where something
// waits for its second to pass, or a minute where no change can go unseen, since
// a look costs several wake-ups.
func (s *Scanner) pause() time.Duration {
	d := 5 * time.Second
	switch {
	case s.wanted:
		d = time.Second
	case s.eyes.sure && !s.again:
		d = time.Minute
	}
	now := time.Now()
	for e := range s.idle {
		if !e.lacking {
			d = min(d, max(0, e.offered.Add(time.Second).Sub(now)))
		}
	}
	if s.stop != nil {
		d = min(d, max(0, s.stop.deadline.Sub(now)))
	}
	return d + 10*time.Millisecond
}

// executable is the path by which this program was called, as far as it can be
// told, so that a new file under that name is found at an upgrade.
func executable(argv0 string) string {
	paths := []string{argv0}
	if !strings.Contains(argv0, "/") {
		paths = nil
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			paths = append(paths, filepath.Join(dir, argv0))
		}
	}
	if p, err := os.Executable(); err == nil {
		paths = append(paths, p)
	}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil && unix.Access(abs, unix.X_OK) == nil {
			return abs
		}
	}
	return selfExe
}

// selfExe leads to the running executable even when its file is gone.
const selfExe = "/proc/self/exe"

// coreArg tells the core of a tree from the runsv of one directory.
const coreArg = "--tree"

// startCore starts a core and offers it every service.
func (s *Scanner) startCore() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.retryCore(fmt.Errorf("unable to create socketpair: %w", err))
		return
	}
	defer unix.Close(pair[1])
	argv := []string{"runsv", coreArg}
	if s.Session {
		argv = append(argv, "-P")
	}
	files := []int{pair[1]}
	if s.ring != nil { // the reader stays when the scanner goes
		argv = append(argv, "-l")
		files = append(files, s.ring.r)
	}
	c := child{path: s.self, argv: append(argv, "--", s.Dir), env: os.Environ(), files: []int{0, 1, 2}}
	if dir, err := os.Open(s.Dir); err == nil {
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		c.table = min(64+8*len(names), s.files.most)
	}
	for _, fd := range files { // to where none is in the way of another
		if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 16); err != nil {
			unix.Close(pair[0])
			s.retryCore(fmt.Errorf("unable to start runsv: %w", err))
			return
		}
		defer unix.Close(fd)
		c.files = append(c.files, fd)
	}
	pid, err := c.start(nil, s.files.given)
	if err != nil && s.self != selfExe {
		c.path = selfExe
		pid, err = c.start(nil, s.files.given)
	}
	if err != nil {
		unix.Close(pair[0])
		s.retryCore(fmt.Errorf("unable to start runsv: %w", err))
		return
	}
	s.core, s.link, s.inherited = pid, newLink(pair[0]), inherited{}
	go func(l *link) {
		for {
			ms, err := l.receive()
			s.mail <- letter{ms, err}
			if err != nil {
				return
			}
		}
	}(s.link)
	for _, e := range s.entries {
		if !s.idle[e] {
			s.offer(e)
		}
	}
	if s.stop != nil {
		s.sendStop()
	}
	s.reap()
}

// retryCore tries again in a second.
func (s *Scanner) retryCore(err error) {
	s.Say(Warning, "", err)
	s.restart = time.NewTimer(time.Second)
}

// offer gives a service to the core, with the next message at the latest.
func (s *Scanner) offer(e *entry) {
	e.offered, e.lacking = time.Now(), false
	delete(s.idle, e)
	if s.link == nil {
		return
	}
	if s.offers = append(s.offers, e); len(s.offers) == batchMax {
		s.sendOffers()
	}
}

// sendOffers sends what is offered.
func (s *Scanner) sendOffers() {
	if len(s.offers) == 0 || s.link == nil {
		return
	}
	ms := make([]message, len(s.offers))
	for i, e := range s.offers {
		ms[i] = message{word: "add", a: e.key, b: strconv.FormatBool(e.dropped) + "," + e.tags, name: e.name, fds: e.fds}
	}
	err := s.link.send(ms...)
	// The next core is offered everything anyway; this one is offered it again,
	// where the kernel would not have so many descriptors on their way at once.
	if err != nil && err != unix.EPIPE && err != unix.ECONNRESET {
		for _, e := range s.offers {
			s.idle[e] = true
		}
	}
	s.offers = s.offers[:0]
}

// tell sends a message to the core, behind what is offered.
func (s *Scanner) tell(word, a, b string) error {
	if s.link == nil {
		return unix.EPIPE
	}
	s.sendOffers()
	return s.link.send(message{word: word, a: a, b: b})
}

// forget lets go of an entry and of what was kept for it.
func (s *Scanner) forget(e *entry) {
	for _, fd := range e.fds {
		unix.Close(fd)
	}
	delete(s.entries, e.key)
	delete(s.idle, e)
}

// coreDied has another core take over: at once, unless cores die one after the
// other.
func (s *Scanner) coreDied(ws unix.WaitStatus) {
	for s.link != nil { // what it still had to say counts
		s.read(<-s.mail)
	}
	s.core, s.inherited = 0, inherited{}
	if s.stop != nil && ws.Exited() && ws.ExitStatus() == 0 {
		return // all is stopped
	}
	n, wait := s.deaths.next(time.Now())
	text := fmt.Sprintf("the supervisor was killed by signal %d", ws.Signal())
	if ws.Exited() {
		text = fmt.Sprintf("the supervisor exited %d", ws.ExitStatus())
	}
	if wait == 0 {
		s.Say(Warning, "", errors.New(text+", starting another; the services run on."))
		s.startCore()
		return
	}
	often := "again"
	if n > 1 {
		often = fmt.Sprintf("%d times in 10 seconds", n)
	}
	s.Say(Warning, "", fmt.Errorf("%s, %s: starting another in %v; the services run on.", text, often, wait))
	s.restart = time.NewTimer(wait)
}

// backOff is when cores died: the fifth death within ten seconds is followed by
// a pause of a second, each further one by twice as long, up to half a minute,
// until a core has lived for ten seconds.
type backOff struct {
	times  []time.Time
	pauses int
	begun  time.Time // when the core that is there now is due
}

// next takes a death and says how many there were in the last ten seconds, and
// how long the pause is.
func (b *backOff) next(now time.Time) (n int, wait time.Duration) {
	const span = 10 * time.Second
	if now.Sub(b.begun) >= span {
		b.pauses = 0
	}
	b.times = append(slices.DeleteFunc(b.times, func(t time.Time) bool { return now.Sub(t) > span }), now)
	n = len(b.times)
	if n >= 5 || b.pauses > 0 {
		wait = min(time.Second<<b.pauses, 30*time.Second)
		b.pauses = min(b.pauses+1, 5)
	}
	b.begun = now.Add(wait)
	return n, wait
}

// read acts on what came from the core.
func (s *Scanner) read(l letter) {
	if l.err != nil {
		s.link.close()
		s.link, s.offers = nil, nil
		return
	}
	for _, m := range l.messages {
		s.hear(m)
	}
}

// hear acts on one message.
func (s *Scanner) hear(m message) {
	switch m.word {
	case "keep":
		s.keep(m.a, m.b, m.fds)
	case "gone":
		e := s.entries[m.a]
		if e == nil {
			return
		}
		for _, fd := range e.fds[1:] {
			unix.Close(fd)
		}
		e.fds, e.tags = e.fds[:1], ""
		e.lacking = m.b == lacking
		s.idle[e] = true
		e.offered = time.Now() // runit's sv looks every 0.42 s for the end of an exit
		if e.dropped {
			s.forget(e)
			s.wanted = true // its name may be waited for
			s.scan(false)
		}
		if m.b != lacking { // one goes, one comes
			for e := range s.idle {
				if e.lacking && !e.dropped {
					s.offer(e)
					break
				}
			}
		}
	case "seen":
		if pid, err := strconv.Atoi(m.a); err == nil {
			s.recorded(pid)
		}
	}
}

// keep takes descriptors for the next core.
func (s *Scanner) keep(key, tags string, fds []int) {
	e := s.entries[key]
	if e == nil {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return
	}
	for _, fd := range e.fds[1:] {
		unix.Close(fd)
	}
	e.fds, e.tags = append(e.fds[:1], fds...), tags
}

// warn says what is wrong with the directory itself.
func (s *Scanner) warn(err error) { s.Say(Warning, "", err) }

// scan looks at the directory and, where it has changed, at its entries. What
// is not there any more is told to exit before anything new is begun.
func (s *Scanner) scan(force bool) {
	if s.stop != nil {
		return
	}
	defer s.reoffer()
	watched := s.eyes.sure
	s.eyes.sure = false // until the directory was found as it should be
	var st unix.Stat_t
	if err := unix.Stat(s.Dir, &st); err != nil {
		s.warn(fmt.Errorf("unable to stat %s: %w", s.Dir, err))
		return
	}
	now := look{uint64(st.Dev), st.Ino, st.Mtim}
	quiet := !force && now == s.last // only what could not be read is tried again
	if quiet && !s.wanted && !s.again {
		s.eyes.sure = watched
		return
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		s.warn(fmt.Errorf("unable to change directory to %s: %w", s.Dir, unix.ENOTDIR))
		return
	}
	fd, err := open(unix.AT_FDCWD, s.Dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		s.warn(fmt.Errorf("unable to open directory %s: %w", s.Dir, err))
		return
	}
	dir := os.NewFile(uintptr(fd), s.Dir)
	defer dir.Close()
	s.eyes.watch(s.Dir)
	names, err := dir.Readdirnames(-1)
	if err != nil {
		s.warn(fmt.Errorf("unable to read directory %s: %w", s.Dir, err))
		s.wanted = true
		return
	}
	// A change within the clock's resolution does not show in the time stamp.
	s.last, s.wanted, s.again = now, false, time.Since(time.Unix(st.Mtim.Unix())) < time.Second
	for _, e := range s.entries {
		e.seen = false
	}
	var fresh []*entry
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, 0); err != nil {
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == unix.ENOENT {
				continue // it was taken away since it was listed
			}
			if !quiet {
				s.warn(fmt.Errorf("unable to stat %s: %w", name, err))
			}
			s.again = true // it may become valid without a change here
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		key := strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(st.Ino, 16)
		if e := s.entries[key]; e != nil { // two links to one directory are one service
			e.seen = true
			continue
		}
		e := &entry{key: key, name: name, seen: true}
		s.entries[key] = e
		fresh = append(fresh, e)
	}
	for key := range s.held { // what has gone again waits for nothing
		if !slices.ContainsFunc(fresh, func(e *entry) bool { return e.key == key }) {
			delete(s.held, key)
		}
	}
	for _, e := range s.entries {
		if !e.seen && !e.dropped {
			e.dropped = true
			if s.idle[e] {
				s.forget(e)
			} else {
				s.tell("drop", e.key, "0")
			}
		}
	}
	room := s.files.most - reserve
	leaving := map[string]bool{} // names
	for _, e := range s.entries {
		room -= max(needMain, len(e.fds))
		if e.dropped {
			leaving[e.name] = true
		}
	}
	for _, e := range fresh {
		if room < 0 { // the core would refuse it too
			delete(s.entries, e.key)
			room += needMain
			s.again = true
			if !s.full {
				s.full = true
				s.warn(lack(e.name, s.files.most))
			}
			continue
		}
		err := errHeld // while the one that had its name is there: they may share a supervise directory
		if !leaving[e.name] {
			err = s.begin(fd, e)
		}
		if err != nil {
			delete(s.entries, e.key)
			s.wanted = true
			if !errors.Is(err, errHeld) {
				s.warn(err)
			}
		}
	}
}

// errHeld says that an entry has to wait.
var errHeld = errors.New("held")

// begin offers a new entry.
func (s *Scanner) begin(at int, e *entry) error {
	fd, err := open(at, e.name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("unable to stat %s: %w", e.name, err)
	}
	if !(Dir{fd}).has("run") { // somebody may be about to put it there
		if since, ok := s.held[e.key]; !ok {
			s.held[e.key] = time.Now()
		} else if ok = time.Since(since) >= time.Second; ok {
			delete(s.held, e.key)
		}
		if _, ok := s.held[e.key]; ok {
			unix.Close(fd)
			return errHeld
		}
	}
	e.fds = []int{fd}
	s.offer(e)
	return nil
}

// reoffer offers again what the core has let go though it is still here.
func (s *Scanner) reoffer() {
	now := time.Now()
	for e := range s.idle {
		wait := time.Second
		if e.lacking {
			wait = time.Minute
		}
		if now.Sub(e.offered) >= wait {
			s.offer(e)
		}
	}
}

// dropAll has every service exit.
func (s *Scanner) dropAll() {
	for _, e := range s.entries {
		s.tell("drop", e.key, "0")
	}
}

// stopTree ends the tree of process 1 in time.
func (s *Scanner) stopTree(status int) {
	if s.stop != nil {
		return
	}
	s.stop = &stopping{status, time.Now().Add(s.StopTime)}
	s.sendStop()
}

func (s *Scanner) sendStop() {
	left := max(time.Second, time.Until(s.stop.deadline)-500*time.Millisecond)
	s.tell("stop", strconv.Itoa(int(left/time.Millisecond)), "0")
}

// stampRescan writes when a scan was asked for, as Debian's runsvdir does:
// TAI64N in DIR/.forced-rescan.
func (s *Scanner) stampRescan() {
	now := time.Now()
	b := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()+taiEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(now.Nanosecond()))
	path := filepath.Join(s.Dir, ".forced-rescan")
	fd, err := open(unix.AT_FDCWD, path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CREAT|unix.O_TRUNC, 0o644)
	if err == nil {
		_, err = unix.Write(fd, fmt.Appendf(nil, "@%x", b))
		unix.Close(fd)
	}
	if err != nil {
		s.warn(fmt.Errorf("failed to write %s: %w", path, err))
	}
}

// upgrade ends the core in an orderly way and becomes what the executable's
// path leads to now: same process, same arguments, and everything kept.
func (s *Scanner) upgrade() {
	if s.link != nil {
		s.tell("quit", "0", "0")
		if !s.awaitCore(3 * time.Second) {
			unix.Kill(s.core, unix.SIGKILL)
			s.awaitCore(time.Second)
		}
	}
	var keep []int
	var b strings.Builder
	for _, e := range s.entries {
		fmt.Fprintf(&b, "%s %t %t ,%s", e.key, e.dropped, s.idle[e], e.tags)
		for _, fd := range e.fds {
			fmt.Fprintf(&b, " %d", fd)
		}
		fmt.Fprintf(&b, "\x00%s\x00", e.name)
		keep = append(keep, e.fds...)
	}
	memfd, err := unix.MemfdCreate("runsvdir", 0)
	if err == nil {
		_, err = unix.Pwrite(memfd, []byte(b.String()), 0)
	}
	if err == nil {
		ringFD := -1
		if s.ring != nil {
			ringFD = s.ring.r
			keep = append(keep, ringFD)
			s.ring.mu.Lock() // the arguments are whole
		}
		for _, fd := range keep {
			unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
		release := holdSignals() // any of these would end the new program before it asks for them
		late := s.late()
		var numbers strings.Builder
		for _, sig := range late {
			if sig != unix.SIGUSR2 { // that is being done
				fmt.Fprintf(&numbers, ",%d", sig)
			}
		}
		env := append(os.Environ(), fmt.Sprintf("%s=%d,%d%s", stateVar, memfd, ringFD, numbers.String()))
		s.files.lower()
		err = syscall.Exec(s.self, s.Args, env)
		s.files.raise()
		release()
		go func() {
			for _, sig := range late {
				s.sigs <- sig
			}
		}()
		for _, fd := range keep { // still here
			unix.CloseOnExec(fd)
		}
		if s.ring != nil {
			s.ring.mu.Unlock()
		}
		unix.Close(memfd)
	}
	s.warn(fmt.Errorf("unable to become %s: %w", s.self, err))
	s.startCore()
}

// late takes the signals that have come and were not acted on. One may be on its
// way still when it is no more than a few milliseconds old.
func (s *Scanner) late() (sigs []os.Signal) {
	quiet := time.NewTimer(lateTime)
	for {
		select {
		case sig := <-s.sigs:
			sigs = append(sigs, sig)
		case <-quiet.C:
			return sigs
		}
	}
}

// lateTime is how long a signal takes at most from the kernel to who acts on it.
const lateTime = 5 * time.Millisecond

// awaitCore reads what the core still has to say until it has ended.
func (s *Scanner) awaitCore(limit time.Duration) bool {
	deadline := time.After(limit)
	for {
		select {
		case l := <-s.mail:
			if l.err != nil {
				s.read(l)
			}
			for _, m := range l.messages {
				if m.word != "seen" { // what the next core is to be told stays
					s.hear(m)
				}
			}
			if s.link == nil {
				if s.core != 0 {
					unix.Wait4(s.core, nil, 0, nil)
				}
				s.core, s.inherited = 0, inherited{}
				return true
			}
		case <-deadline:
			return false
		}
	}
}

// resume takes over what upgrade has left, and sets up the log. It returns the
// signals that came too late for the program before.
func (s *Scanner) resume() (again []unix.Signal) {
	state := strings.Split(os.Getenv(stateVar), ",")
	os.Unsetenv(stateVar)
	memfd, ringFD := -1, -1
	if len(state) > 1 {
		memfd, _ = strconv.Atoi(state[0])
		ringFD, _ = strconv.Atoi(state[1])
		for _, number := range state[2:] {
			if sig, err := strconv.Atoi(number); err == nil && sig > 0 {
				again = append(again, unix.Signal(sig))
			}
		}
		heldBefore()
	}
	if memfd > 2 {
		f := os.NewFile(uintptr(memfd), "state")
		b, _ := io.ReadAll(f)
		f.Close()
		parts := strings.Split(string(b), "\x00")
		for i := 0; i+1 < len(parts); i += 2 {
			fields := strings.Fields(parts[i])
			if len(fields) < 5 {
				continue
			}
			e := &entry{key: fields[0], name: parts[i+1], dropped: fields[1] == "true", tags: fields[3][1:]}
			for _, f := range fields[4:] {
				if fd, err := strconv.Atoi(f); err == nil {
					unix.CloseOnExec(fd)
					e.fds = append(e.fds, fd)
				}
			}
			s.entries[e.key] = e
			if fields[2] == "true" {
				s.idle[e] = true
			}
		}
	}
	if s.Log == 0 {
		return again
	}
	if ringFD > 2 {
		unix.CloseOnExec(ringFD)
		s.ring = ringOf(s.Args[s.Log], ringFD)
		return again
	}
	ring, err := newRing(s.Args[s.Log])
	if err != nil {
		s.warn(err)
		s.warn(errors.New("log service disabled."))
		return again
	}
	s.ring = ring
	return again
}
