// Package policy reads what a service directory says beyond runit: files, all of them
// optional, by which a service tells how it is to be stopped and when to give it up.
// Names, units and meanings are those of s6's service directories where these have the
// file. README.md of supervise/ lists them.
package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/sys"
)

// Policy is what the files of one service say. The zero Policy is what is done where
// there are none.
type Policy struct {
	DownSignal     unix.Signal   // down-signal: in place of TERM; 0: TERM
	ReloadSignal   unix.Signal   // reload-signal: on reload; 0: HUP
	NotificationFD int           // notification-fd: the descriptor by which ./run says that it is ready; 0: it does not
	NotifySocket   bool          // notify-socket: ./run says that it is ready, and more, as sd_notify(3) does
	Watchdog       time.Duration // watchdog: how long a ./run that is ready may be silent; 0: for ever
	Access         []Grant       // user/access: who may use the service besides its supervisor's user
	KillGroup      bool          // flag-timeout-killpg: the KILL of timeout-kill is the process group's
	KillStrays     bool          // flag-kill-strays: what ./run leaves behind is ended before ./finish
	NewPID         bool          // flag-newpidns: ./run is process 1 of a pid namespace
	machine.Rules                // max-death-tally, give-up, backoff: what follows an end
	Essential      Essential     // essential: the tree ends with the service
}

// Essential is with which end of a service the tree ends.
type Essential byte

// The ends that there are to choose from.
const (
	EndsAlone       Essential = iota // the tree goes on
	EndsTree                         // every end
	EndsWithSuccess                  // when ./run has exited 0
	EndsWithFailure                  // when it has not
)

// Holds says whether the tree ends with a service whose ./run has exited so, 128 and more
// for a signal.
func (e Essential) Holds(code int) bool {
	return e == EndsTree || e == EndsWithSuccess && code == 0 || e == EndsWithFailure && code != 0
}

// The files that hold a time in milliseconds, which is read when it begins to run.
const (
	TimeoutKill   = "timeout-kill"   // from the stop signal to KILL
	TimeoutFinish = "timeout-finish" // how long ./finish may take
	TimeoutReady  = "timeout-ready"  // from the start until ./run is ready
)

// DeathsDefault is how many ends are remembered where no file says it.
const DeathsDefault = 20

// files are the names, and how each changes a Policy.
var files = [...]struct {
	name string
	set  func(p *Policy, text string) error
}{
	{"down-signal", func(p *Policy, text string) (err error) { p.DownSignal, err = parseSignal(text); return err }},
	{"reload-signal", func(p *Policy, text string) (err error) { p.ReloadSignal, err = parseSignal(text); return err }},
	{"notification-fd", func(p *Policy, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1023 {
			return errors.New("a descriptor from 1 to 1023")
		}
		p.NotificationFD = n
		return nil
	}},
	{"notify-socket", func(p *Policy, _ string) error { p.NotifySocket = true; return nil }},
	{"watchdog", func(p *Policy, text string) error {
		d, ok := milliseconds(text)
		if !ok || d == 0 {
			return errors.New("a time in milliseconds")
		}
		p.Watchdog = d
		return nil
	}},
	{"flag-timeout-killpg", func(p *Policy, _ string) error { p.KillGroup = true; return nil }},
	{"flag-kill-strays", func(p *Policy, _ string) error { p.KillStrays = true; return nil }},
	{"flag-newpidns", func(p *Policy, _ string) error { p.NewPID = true; return nil }},
	{"max-death-tally", func(p *Policy, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 4096 {
			return errors.New("a number from 1 to 4096")
		}
		p.Deaths = n
		return nil
	}},
	{"backoff", func(p *Policy, text string) error {
		least, most, ok := parseTwo(text)
		if !ok || least < 1 || most < least {
			return errors.New("two times in milliseconds, the least pause and the longest")
		}
		p.BackoffMin, p.BackoffMax = time.Duration(least)*time.Millisecond, time.Duration(most)*time.Millisecond
		return nil
	}},
	{"give-up", func(p *Policy, text string) error {
		n, ms, ok := parseTwo(text)
		if !ok || n < 1 || n > 4095 || ms < 1 {
			return errors.New("how many ends (1 to 4095), and within how many milliseconds")
		}
		p.GiveUpAfter, p.GiveUpWithin = int(n), time.Duration(ms)*time.Millisecond
		return nil
	}},
	{"essential", func(p *Policy, text string) error {
		switch text {
		case "":
			p.Essential = EndsTree
		case "success":
			p.Essential = EndsWithSuccess
		case "failure":
			p.Essential = EndsWithFailure
		default:
			return errors.New("empty, success or failure")
		}
		return nil
	}},
}

// Names are which files of ours and of runit's own a directory has, as its list shows
// them: what is not in it need not be asked for.
type Names struct {
	Known              bool // else it could not be listed
	Log, Down, Control bool
	LogDir, Supervise  bool   // log, and supervise, are directories and no links, where the file system tells that
	User               bool   // where user/access may be, which is not runit's
	Needs              bool   // of ours: the directory of what it needs
	CGroup             bool   // of ours: the directory of what is written into its cgroup
	LogLink            bool   // log is a link, or may be one
	files              uint16 // which of files, one bit for each
	changed            int64  // its ctime, where another list is needed only when that is another; else 0
}

const _ = uint16(1 << (len(files) - 1)) // there is a bit for each

// Now is the names as they are now, of the directory at, an open descriptor. Where they
// were listed before, that costs one system call as long as the directory has not been
// changed.
func (n Names) Now(at int) Names {
	var x unix.Statx_t
	if unix.Statx(at, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_CTIME, &x) != nil || x.Mask&unix.STATX_CTIME == 0 {
		return List(at, ".")
	}
	changed := x.Ctime.Sec*1e9 + int64(x.Ctime.Nsec)
	if n.changed != 0 && n.changed == changed {
		return n
	}
	n = List(at, ".")
	if n.Known && time.Since(time.Unix(0, changed)) > tick && keepsTime(at) {
		n.changed = changed
	}
	return n
}

// tick is more than the time in which a second change may leave a directory's ctime as
// it is: a file system may count whole seconds.
const tick = 3 * time.Second

// keepsTime says whether the directory is on a file system whose directories have another
// ctime when a name comes or goes. What a server says may be anything.
func keepsTime(at int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(at, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return true
	}
	return false
}

// Read reads those of our files that the directory has, whose path relative to at, with a
// slash, is prefix. A file that cannot be understood counts as absent, and there is a warning that names it and
// says what was expected. Where there is no such file p is nil.
func Read(at int, prefix string, has Names) (p *Policy, warnings []error) {
	for i, f := range files {
		if has.files&(1<<i) == 0 {
			continue
		}
		b, err := sys.Slurp(at, prefix+f.name, sizeMax)
		if err == unix.ENOENT {
			continue
		}
		if p == nil {
			p = &Policy{Rules: machine.Rules{Deaths: DeathsDefault}}
		}
		if err != nil {
			warnings = append(warnings, fmt.Errorf("unable to read ./%s: %w", f.name, err))
			continue
		}
		text := strings.TrimSpace(string(b))
		if err := f.set(p, text); err != nil {
			warnings = append(warnings, fmt.Errorf("./%s: %q is not understood: it should be %w.", f.name, text, err))
		}
	}
	if p != nil && p.Watchdog != 0 && !p.NotifySocket {
		p.Watchdog = 0
		warnings = append(warnings, errors.New("./watchdog is for who has ./notify-socket: it counts as absent."))
	}
	if has.User {
		granted, found, refused := readAccess(at, prefix)
		warnings = append(warnings, refused...)
		if found && p == nil {
			p = &Policy{Rules: machine.Rules{Deaths: DeathsDefault}}
		}
		if found {
			p.Access = granted
		}
	}
	return p, warnings
}

// Timeout reads a file that holds a time in milliseconds; 0 where there is none, or it
// is not understood, as the error says then.
func Timeout(at int, name string) (time.Duration, error) {
	b, err := sys.Slurp(at, name, sizeMax)
	if err != nil {
		if err == unix.ENOENT {
			return 0, nil
		}
		return 0, fmt.Errorf("unable to read ./%s: %w", name, err)
	}
	text := strings.TrimSpace(string(b))
	d, ok := milliseconds(text)
	if !ok {
		return 0, fmt.Errorf("./%s: %q is not understood: it should be a time in milliseconds.", name, text)
	}
	return d, nil
}

func milliseconds(text string) (time.Duration, bool) {
	ms, err := strconv.ParseUint(text, 10, 63)
	return time.Duration(ms) * time.Millisecond, err == nil && ms <= timeMax
}

// sizeMax is more than any of these files holds, and timeMax, in milliseconds, more than
// any time in one: a year.
const (
	sizeMax = 256
	timeMax = 366 * 24 * 3600 * 1000
)

// parseTwo takes two numbers.
func parseTwo(text string) (a, b uint64, ok bool) {
	f := strings.Fields(text)
	if len(f) != 2 {
		return 0, 0, false
	}
	a, err1 := strconv.ParseUint(f[0], 10, 63)
	b, err2 := strconv.ParseUint(f[1], 10, 63)
	return a, b, err1 == nil && err2 == nil && a <= timeMax && b <= timeMax
}

// parseSignal takes a number, or a name in any case, with SIG or without.
func parseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+"))
		if err == nil && n <= 30 {
			return unix.Signal(34 + n), nil // as libc counts: it takes two for itself
		}
	}
	return 0, errors.New("the name or number of a signal")
}

// List lists the directory at path, relative to at, in four system calls.
func List(at int, path string) (has Names) {
	fd, err := sys.Open(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Names{}
	}
	var room [listRoom]byte
	l := list{fd: fd, room: room[:]}
	for name, kind, ok := l.next(); ok; name, kind, ok = l.next() {
		switch string(name) {
		case "log":
			has.Log, has.LogDir, has.LogLink = true, kind == unix.DT_DIR, kind == unix.DT_LNK || kind == unix.DT_UNKNOWN
		case "supervise":
			has.Supervise = kind == unix.DT_DIR
		case "down":
			has.Down = true
		case "control":
			has.Control = true
		case "needs":
			has.Needs = true
		case "cgroup":
			has.CGroup = true
		case "user":
			has.User = true
		}
		for i := range files {
			if files[i].name == string(name) {
				has.files |= 1 << i
			}
		}
	}
	unix.Close(fd)
	has.Known = l.err == nil
	return has
}

// list goes through the names in an open directory. Its room is on the stack of who does
// that: on the heap it would be most of what is allocated to open a service.
type list struct {
	fd      int
	room    []byte
	at, end int   // of what was read and is not told yet
	err     error // the list could not be read to its end
}

const listRoom = 1024

// next is the next name, until it is called again, and the type of the file; ok is false
// where there is none.
func (l *list) next() (name []byte, kind byte, ok bool) {
	for l.at >= l.end {
		l.at = 0
		l.end, l.err = unix.Getdents(l.fd, l.room)
		if l.end <= 0 && l.err != unix.EINTR {
			return nil, 0, false
		}
	}
	entry := l.room[l.at:]
	entry = entry[:binary.NativeEndian.Uint16(entry[16:])]
	l.at += len(entry)
	kind, name = entry[nameAt-1], entry[nameAt:]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return name, kind, true
}

// visible are the names in the open directory fd that do not begin with a dot, in their order.
func visible(fd int) (names []string, err error) {
	var room [listRoom]byte
	l := list{fd: fd, room: room[:]}
	for name, _, ok := l.next(); ok; name, _, ok = l.next() {
		if name[0] != '.' {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names, l.err
}

// nameAt is where in an entry of getdents64(2) the name is: behind two words of eight
// bytes, one of two for its size, and one for the type.
const nameAt = 19
