package logger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// log is one log directory. It is open if fd is not below 0.
type log struct {
	e      *Engine
	dir    string // as it is shown
	fd     int    // the directory
	lock   int
	cur    int // the file current; below 0 while a full disk has no room for one
	inode  uint64
	size   int64 // of current
	conf   Config
	newest label // of the old logs
	fresh  string
	// deadline is when current gets too old.
	deadline time.Time
	udp      *forwarder
	proc     *processor
	journal  *journal
	skip     int    // so much of the input is in the files already
	done     int    // so much of the batch is in the files
	selects  bool   // the line that goes on is for the file
	lead     []byte // what goes before each line of a batch
	lost     loss
	chores   *chores
	lax      bool      // the file system cannot keep modes, and that was said
	bare     bool      // there is no journal, and that was said
	read     bool      // the config has been read once
	reread   time.Time // when it is read again
	torn     bool      // current ends in bytes that are in the input, too
	ahead    bool      // a part of the config was read before its time
}

// loss is what a full disk made us drop.
type loss struct {
	lines, bytes int64
	from, to     time.Time
	retry        time.Time
}

// String says it in words, of which people can search for the first four.
func (l loss) String() string {
	text := fmt.Appendf(nil, "out of disk space: dropped %d lines, %d bytes, from ", l.lines, l.bytes)
	text = append(appendStamp(text, Underscore, l.from), "to "...)
	return string(bytes.TrimRight(appendStamp(text, Underscore, l.to), " "))
}

// plan is what a killed logger's journal means for a log.
type plan struct {
	entry *entry // nil if there is nothing to it
	again bool   // the batch is still in the pipe
	cont  continuation
	held  []byte // the begin of a line that will not go on
}

func newLog(e *Engine, dir string) *log {
	l := &log{e: e, dir: dir, fd: -1, lock: -1, cur: -1, conf: defaults(), chores: newChores(e)}
	l.proc = &processor{e: e, dir: dir, source: func() (int, string) { return l.fd, l.conf.Command }}
	return l
}

// warn reports what went wrong with this log.
func (l *log) warn(text string, err error) {
	l.e.o.Report(Warning, text+": "+l.dir, err)
}

// info reports what was done.
func (l *log) info(text string) { l.e.o.Report(Info, text, nil) }

// retry repeats a step until it succeeds or Stop is called.
func (l *log) retry(text string, step func() error) error {
	for {
		err := step()
		if err == nil {
			return nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err := l.e.pause(text+": "+l.dir, err); err != nil {
			return err
		}
	}
}

// attempt repeats a step as long as there is a passing cause for its failing.
func (l *log) attempt(text string, step func() error) error {
	for {
		err := step()
		if !passing(err) {
			return err
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err := l.e.pause(text+": "+l.dir, err); err != nil {
			return err
		}
	}
}

// open makes the log ready. A directory that cannot be used is reported and
// not an error; only Stop is.
func (l *log) open(p plan) (usable bool, err error) {
	for _, step := range []struct {
		complaint string
		do        func() error
	}{
		{"unable to open log directory", func() (err error) {
			l.fd, err = unix.Openat(l.e.o.Root, l.dir, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			return err
		}},
		{"unable to change directory", func() error { return unix.Faccessat(l.fd, ".", unix.F_OK, 0) }},
		{"unable to lock directory", func() (err error) {
			l.lock, err = lockFile(l.fd)
			return err
		}},
		{"unable to stat current", func() error {
			var st unix.Stat_t
			return absent(unix.Fstatat(l.fd, "current", &st, 0))
		}},
	} {
		err := l.attempt(step.complaint, step.do)
		if err == nil {
			continue
		}
		l.shut()
		if errors.Is(err, errStopped) {
			return false, err
		}
		l.warn(step.complaint, err)
		return false, nil
	}
	l.deadline = time.Time{}
	l.configure()
	l.proc.due = true
	if err := l.openCurrent(p); err != nil {
		if l.journal != nil && l.journal.entry() == nil {
			unix.Unlinkat(l.fd, journalName, 0) // the next logger need not know of nothing
		}
		l.shut()
		return false, err
	}
	return true, nil
}

// lockFile locks the directory for us alone.
func lockFile(dir int) (int, error) {
	fd, err := unix.Openat(dir, "lock", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EROFS) { // to lock needs no writing
		fd, err = unix.Openat(dir, "lock", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return -1, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// configure reads the config file. One that cannot be read changes nothing; if
// that may pass it is read again soon, and a log that has none yet deletes
// nothing until then.
func (l *log) configure() {
	text, err := readAll(l.fd, "config")
	l.ahead, l.reread = false, time.Time{}
	switch {
	case errors.Is(err, unix.ENOENT):
		l.adopt(defaults())
	case err != nil:
		l.warn("unable to read config", err)
		c := l.conf
		if !lasting(err) {
			l.reread = l.e.o.Now().Add(pauseTime)
			if !l.read {
				c.Keep, c.KeepFull = 0, 0
			}
		}
		l.adopt(c)
		return
	default:
		l.info("read: " + l.dir + "/config")
		c, problems := ParseConfig(text)
		for _, p := range problems {
			l.e.o.Report(Warning, p, nil)
		}
		l.adopt(c)
	}
	l.read = true
	if l.conf.Age == 0 {
		l.deadline = time.Time{}
	}
}

// adopt puts a config into force.
func (l *log) adopt(c Config) {
	l.proc.changes(l.conf.Command, c.Command)
	l.conf = c
	if l.udp != nil {
		l.udp.close()
		l.udp = nil
	}
	if c.UDP != (Address{}) {
		l.udp = newForwarder(c.UDP)
	}
	if l.deadline.IsZero() && c.Age > 0 {
		l.deadline = l.e.o.Now().Add(c.Age)
	}
}

// lasting says of an error that it stays until somebody changes the file.
func lasting(err error) bool {
	for _, want := range []error{unix.EISDIR, unix.EACCES, unix.EPERM, unix.ELOOP, unix.ENXIO} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

func readAll(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var text []byte
	for {
		var b [1024]byte
		n, err := unix.Read(fd, b[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		default:
			text = append(text, b[:n]...)
		}
	}
}

// openCurrent opens the file current, and first settles what was left of it.
func (l *log) openCurrent(p plan) error {
	l.newest, l.fresh = label{}, ""
	if err := l.attempt("unable to read directory", l.lookForNewest); err != nil {
		if errors.Is(err, errStopped) {
			return err
		}
		l.warn("unable to read directory", err)
	}
	if err := l.settleCarry(); err != nil {
		return err
	}
	l.openJournal()
	if p.entry != nil {
		if err := l.recover(p); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := l.retry("unable to stat current", func() error {
		st = unix.Stat_t{}
		return absent(unix.Fstatat(l.fd, "current", &st, 0))
	}); err != nil {
		return err
	}
	word := "new: "
	switch {
	case st.Mode == 0: // there is none
	case st.Size > 0 && st.Mode&unix.S_IXUSR == 0:
		if err := l.setAside("u"); err != nil {
			return err
		}
		if err := l.prune(); err != nil {
			return err
		}
	default:
		word = "append: "
	}
	if err := l.begin("unable to open current"); err != nil {
		return err
	}
	l.info(word + l.dir + "/current")
	if len(p.held) > 0 {
		return l.conclude(p.held)
	}
	return nil
}

// lookForNewest finds the newest of the old logs.
func (l *log) lookForNewest() error {
	return entries(l.fd, l.e.scan(), func(name []byte) {
		if isOld(name) {
			if n, ok := parseLabel(string(name[:25])); ok && bytes.Compare(n[:], l.newest[:]) > 0 {
				l.newest = n
			}
		}
	})
}

// setAside makes current an old log of this kind.
func (l *log) setAside(kind string) error {
	return l.retry("unable to rename current", func() error {
		stem, err := l.nextStem()
		if err == nil {
			l.fresh = stem + kind
			err = unix.Renameat(l.fd, "current", l.fd, l.fresh)
		}
		return err
	})
}

// conclude writes the begin of a line that will not go on, as a line. The journal
// that it is from knows when it is in the file.
func (l *log) conclude(text []byte) error {
	mid, stamp := l.e.mid, l.e.stamp
	defer func() { l.e.mid, l.e.stamp = mid, stamp }()
	l.e.mid, l.e.stamp = false, appendStamp(nil, l.e.o.Stamp, l.e.o.Now())
	if err := l.take(text, true); err != nil || l.journal != nil {
		return err
	}
	if err := absent(unix.Unlinkat(l.fd, journalName, 0)); err != nil {
		l.warn("unable to unlink "+journalName, err)
	}
	return nil
}

// openJournal opens the journal, unless it is. A full disk may refuse it; then
// a kill between writing and consuming doubles a batch, and one while a line
// comes loses that line's begin.
func (l *log) openJournal() {
	if l.journal != nil || !l.e.in.pipe {
		return
	}
	var err error
	l.journal, err = openJournal(l.fd, pageSize+l.e.holds)
	if err != nil && !l.bare {
		l.warn("a kill may lose or double lines", err)
	}
	l.bare = err != nil
}

// leftover is what a logger before us has left in the journal.
func (l *log) leftover() (left *leftover, err error) {
	err = l.retry("unable to read journal", func() error {
		fd, err := unix.Openat(l.e.o.Root, l.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			left, err = readJournal(fd)
		}
		if passing(err) {
			return err
		}
		return nil // without a directory there is nothing; what else is wrong with it is told later
	})
	return left, err
}

// recover brings current to where the input goes on.
func (l *log) recover(p plan) error {
	l.selects = p.cont == inSelected
	if !p.again {
		l.skip = int(min(p.entry.done, p.entry.held1))
		return nil
	}
	l.skip = int(p.entry.done)
	if p.entry.size1 > p.entry.size0 {
		if err := l.retry("unable to truncate current", func() error { return l.untear(p.entry) }); err != nil {
			return err
		}
	}
	l.guard(func(j *journal) { j.settle(uint64(l.skip)) })
	return nil
}

// untear finds out what came of a write to current, and takes back what is not
// whole: it is in the input, too.
func (l *log) untear(e *entry) error {
	fd, err := unix.Openat(l.fd, "current", unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		return err
	case st.Ino != e.current, uint64(st.Size) <= e.size0:
		return nil
	case uint64(st.Size) < e.size1:
		return unix.Ftruncate(fd, int64(e.size0))
	}
	l.skip = int(e.next)
	return nil
}

// continuation is what the journal is to know of the place where the input is.
func (l *log) continuation() continuation {
	switch {
	case !l.e.mid:
		return atLine
	case l.selects:
		return inSelected
	}
	return inUnselected
}

// create opens current, new or not, and marks it as open for writing.
func (l *log) create() error {
	fd, err := unix.Openat(l.fd, "current", unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := l.mark(fd, 0o644); err != nil {
		unix.Close(fd)
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	l.cur, l.size, l.inode = fd, st.Size, st.Ino
	l.openJournal()
	l.guard(func(j *journal) { j.onto(l.inode, uint64(l.size)) })
	return nil
}

// begin opens current, and pauses as long as that fails.
func (l *log) begin(complaint string) error {
	return l.retry(complaint, func() error {
		err := l.create()
		if full(err) && (l.chores.wait() || l.makeRoom()) {
			err = l.create()
		}
		if full(err) && l.conf.Drop {
			l.size = 0
			return nil // the next write tries again
		}
		return err
	})
}

// mark sets a mode that says what state a file is in. A file system that has
// no modes is no reason to stop.
func (l *log) mark(fd int, mode uint32) error {
	err := unix.Fchmod(fd, mode)
	if err != nil && tolerate(err) == nil && !l.lax {
		l.lax = true
		l.warn("unable to set mode of current", err)
	}
	return tolerate(err)
}

// tolerate forgives that a file system has no modes.
func tolerate(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// finish makes current durable and marks it as complete.
func (l *log) finish() error {
	if err := l.retry("unable to fsync current logfile", func() error { return unix.Fsync(l.cur) }); err != nil {
		return err
	}
	return l.retry("unable to set mode of current", func() error { return l.mark(l.cur, 0o744) })
}

// close ends the log in order. Tidy says that nothing is left that the next
// logger must know.
func (l *log) close(tidy bool) {
	l.info("close: " + l.dir)
	l.chores.wait()
	if l.cur >= 0 {
		if l.lost.bytes > 0 {
			l.announce(l.e.o.Now())
		}
		if l.finish() != nil { // Stop was called: it has been tried once, and told
			l.mark(l.cur, 0o744)
		}
	}
	if tidy && !l.torn {
		if err := absent(unix.Unlinkat(l.fd, journalName, 0)); err != nil {
			l.warn("unable to unlink "+journalName, err)
		}
	}
	if err := cmp.Or(syncDir(l.fd), l.chores.failure()); err != nil {
		l.warn("unable to fsync directory", err)
	}
	l.shut()
}

// shut gives up the descriptors.
func (l *log) shut() {
	for _, fd := range []*int{&l.cur, &l.lock, &l.fd} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	if l.journal != nil {
		l.journal.close()
		l.journal = nil
	}
	if l.udp != nil {
		l.udp.close()
		l.udp = nil
	}
}

// nextStem is a name for an old log, @STAMP. without its last letter: the
// time, but after all names there are, so that the oldest is always the first.
// Somebody may have put a file there since we looked.
func (l *log) nextStem() (string, error) {
	next := labelOf(l.e.o.Now())
	if bytes.Compare(next[:], l.newest[:]) <= 0 {
		next = l.newest.after()
	}
	for ; ; next = next.after() {
		stem := string(append(next.appendTo(make([]byte, 0, 27)), '.'))
		taken, err := l.taken(stem)
		if err != nil {
			return "", err
		}
		if l.newest = next; !taken {
			return stem, nil
		}
	}
}

// taken says whether there is an old log of this name.
func (l *log) taken(stem string) (bool, error) {
	for _, kind := range []string{"s", "u", "t"} {
		var st unix.Stat_t
		err := unix.Fstatat(l.fd, stem+kind, &st, unix.AT_SYMLINK_NOFOLLOW)
		if !errors.Is(err, unix.ENOENT) {
			return err == nil, err
		}
	}
	return false, nil
}

// rotate makes current an old log and begins another. Within a line it takes
// that line's begin along.
func (l *log) rotate(within bool) error {
	if l.size == 0 || l.cur < 0 {
		return nil
	}
	carried := within && l.carry()
	if err := l.finish(); err != nil {
		return err
	}
	kind := "s"
	if l.conf.Command != "" {
		kind = "u"
	}
	if err := l.setAside(kind); err != nil {
		return err
	}
	l.info(fmt.Sprintf("rename: %s/current %s %d", l.dir, l.fresh, l.size))
	unix.Close(l.cur)
	l.cur, l.size = -1, 0
	if carried {
		if err := l.retry("unable to create new current", func() error {
			return unix.Renameat(l.fd, carryName, l.fd, "current")
		}); err != nil {
			return err
		}
	}
	if err := l.begin("unable to create new current"); err != nil {
		return err
	}
	// Until that is done current and the old log may appear under their former
	// names after a crash of the machine; both are complete.
	if err := l.chores.failure(); err != nil {
		l.warn("unable to fsync directory", err) // it is tried again with this one
	}
	l.chores.sync(l.fd)
	if err := l.prune(); err != nil {
		return err
	}
	l.proc.due = true
	l.proc.step(l.e.o.Now())
	return nil
}

// full says that an error is a full disk.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// isOld says that a name is an old log's: @, 24 hexadecimal digits, a point
// and a letter.
func isOld(name []byte) bool {
	if len(name) != 27 || name[0] != '@' || name[25] != '.' {
		return false
	}
	for _, c := range name[1:25] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// entries goes through the names in a directory; scan is room for them.
func entries(dir int, scan []byte, each func(name []byte)) error {
	if _, err := unix.Seek(dir, 0, 0); err != nil {
		return err
	}
	for {
		n, err := unix.ReadDirent(dir, scan)
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		for b := scan[:n]; len(b) > 19; { // inode, offset, length, type, name
			length := int(binary.NativeEndian.Uint16(b[16:]))
			name, _, _ := bytes.Cut(b[19:length], []byte{0})
			each(name)
			b = b[length:]
		}
	}
}

// survey is what the directory has of old logs.
type survey struct {
	count int64
	bytes int64  // of them all; only if sizes were asked for
	first string // the oldest that may be deleted
}

// look surveys the directory and unlinks what processors have left behind.
func (l *log) look(sizes bool) (s survey, err error) {
	leftover := ""
	err = entries(l.fd, l.e.scan(), func(name []byte) {
		switch {
		case !isOld(name):
		case name[26] == 't':
			if !l.proc.working() || string(name[:26]) != l.proc.stem {
				leftover = string(name)
				if err := unix.Unlinkat(l.fd, leftover, 0); err != nil {
					l.e.o.Report(Warning, "unable to unlink processor leftover: "+leftover, err)
				}
			}
		default:
			s.count++
			if sizes {
				var st unix.Stat_t
				if unix.Fstatat(l.fd, string(name), &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
					s.bytes += st.Size
				}
			}
			if string(name) != l.fresh && (s.first == "" || string(name) < s.first) {
				s.first = string(name)
			}
		}
	})
	return s, err
}

// prune unlinks old logs, the oldest first, until there are as many as there
// may be. The newest always stays. One that waits for its processor is waited
// for: that stops the input, as it must when what comes in has no place.
func (l *log) prune() error {
	for {
		s, err := l.look(l.conf.Total > 0)
		if err != nil {
			l.warn("unable to read directory, want remove old logfile", err)
			return nil
		}
		tooMany := l.conf.Keep > 0 && s.count > l.conf.Keep
		if s.first == "" || !tooMany && (l.conf.Total == 0 || s.bytes <= l.conf.Total) {
			return nil
		}
		if s.first[26] == 'u' && l.conf.Command != "" {
			switch waited, err := l.awaitProcessor(s.first); {
			case err != nil:
				return err
			case waited:
				continue
			}
		}
		l.info("delete: " + l.dir + "/" + s.first)
		if err := l.chores.unlink(l.fd, s.first); err != nil {
			l.warn("unable to unlink oldest logfile", err)
			return nil
		}
	}
}

// awaitProcessor waits until name, if it is for the processor, is processed.
func (l *log) awaitProcessor(name string) (waited bool, err error) {
	for {
		switch waits, err := finished(l.fd, name); {
		case err != nil: // it may be
			if err := l.e.pause("unable to stat oldest logfile: "+l.dir, err); err != nil {
				return false, err
			}
			continue
		case !waits:
			return waited, nil
		}
		waited = true
		l.e.take(reapRequest)
		l.proc.step(l.e.o.Now())
		if waits, err := finished(l.fd, name); err == nil && !waits {
			continue
		}
		if l.e.asked(stopRequest) {
			return false, errStopped
		}
		news := uint32(reapRequest | stopRequest)
		if !l.ahead {
			if l.e.asked(reloadRequest) {
				l.reconsider()
				return true, nil
			}
			news |= reloadRequest
		}
		l.e.rest(l.e.idle(), news)
	}
}

// reconsider takes from the config file, after a Reload, what the wait for a
// processor depends on. All else in it has to wait for its turn.
func (l *log) reconsider() {
	l.ahead = true
	text, err := readAll(l.fd, "config")
	if absent(err) != nil {
		return // reload says so
	}
	c, _ := ParseConfig(text)
	l.proc.changes(l.conf.Command, c.Command)
	l.conf.Command, l.conf.Keep, l.conf.Total = c.Command, c.Keep, c.Total
}

// makeRoom unlinks the oldest log of a full disk, if the config allows it.
func (l *log) makeRoom() bool {
	if l.conf.KeepFull >= l.conf.Keep {
		return false
	}
	s, err := l.look(false)
	if err != nil {
		l.warn("unable to read directory, want remove old logfile", err)
		return false
	}
	if s.first == "" {
		s.first = l.fresh // N0 lets even that go
	}
	if s.first == "" || s.count <= l.conf.KeepFull {
		return false
	}
	l.e.o.Report(Warning, "out of disk space, delete: "+l.dir+"/"+s.first, nil)
	if err := unix.Unlinkat(l.fd, s.first, 0); err != nil {
		l.warn("unable to unlink oldest logfile", err)
		return false
	}
	return true
}

// write appends b to current; then next bytes of the batch are done.
func (l *log) write(b []byte, next int) error {
	if len(b) == 0 {
		return nil
	}
	if l.cur < 0 || l.lost.bytes > 0 {
		if l.conf.Drop && !l.recovers() {
			l.drop(b, 0, next)
			return nil
		}
		// The config was changed since lines were dropped.
		if err := l.retry("unable to write to current", func() error {
			if !l.recovers() {
				return unix.ENOSPC
			}
			return nil
		}); err != nil {
			return err
		}
	}
	from := l.size
	l.guard(func(j *journal) { j.writing(uint64(from)+uint64(len(b)), uint64(next)) })
	for rest := b; len(rest) > 0; {
		n, err := unix.Write(l.cur, rest)
		if n > 0 {
			l.size += int64(n)
			rest = rest[n:]
			continue
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case full(err) && (l.chores.wait() || l.makeRoom()):
			continue
		case full(err) && l.conf.Drop:
			l.drop(b, len(b)-len(rest), next)
			return nil
		}
		if stop := l.e.pause("unable to write to current: "+l.dir, err); stop != nil {
			if l.e.in.pipe { // it stays there
				if err := unix.Ftruncate(l.cur, from); err != nil {
					l.torn = true
					l.warn("unable to truncate current", err)
				} else {
					l.size = from
				}
			}
			return stop
		}
	}
	l.done = next
	l.guard(func(j *journal) { j.wrote() })
	return nil
}

// drop counts the part of b that is not in the file, and takes the begin of a
// line back: written bytes are.
func (l *log) drop(b []byte, written, next int) {
	whole := bytes.LastIndexByte(b[:written], '\n') + 1
	if written > whole && unix.Ftruncate(l.cur, l.size-int64(written-whole)) == nil {
		l.size -= int64(written - whole)
	} else {
		whole = written
	}
	l.done = next
	now := l.e.o.Now()
	if l.lost.bytes == 0 {
		l.lost.from = now
	}
	l.lost.to, l.lost.retry = now, now.Add(pauseTime)
	l.lost.lines += int64(bytes.Count(b[whole:], []byte("\n")))
	l.lost.bytes += int64(len(b) - whole)
	l.guard(func(j *journal) {
		j.settle(uint64(next))
		j.onto(l.inode, uint64(l.size))
	})
}

// recovers says whether there is a current again, and it has been written
// there what was dropped.
func (l *log) recovers() bool {
	return (l.cur >= 0 || l.create() == nil) && (l.lost.bytes == 0 || l.announce(l.e.o.Now()))
}

// announce writes into the log what was dropped; it says whether it could.
func (l *log) announce(now time.Time) bool {
	l.lost.retry = now.Add(pauseTime)
	if l.cur < 0 && l.create() != nil {
		return false
	}
	text := appendStamp(nil, l.e.o.Stamp, now)
	text = append(text, l.conf.Prefix...)
	text = append(append(append(text, "warning: "...), l.lost.String()...), '\n')
	n, _ := unix.Write(l.cur, text) // it fails as long as there is no room
	if n < len(text) {
		if n > 0 && unix.Ftruncate(l.cur, l.size) != nil {
			l.size += int64(n)
		}
		return false
	}
	l.size += int64(n)
	l.guard(func(j *journal) { j.onto(l.inode, uint64(l.size)) })
	l.lost = loss{}
	return true
}
