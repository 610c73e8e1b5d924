// Package policy reads what a service directory says beyond runit: files, all of them
// optional, by which a service tells how it is to be stopped and when to give it up.
// Names, units and meanings are those of s6's service directories where these have the
// file. README.md of supervise/ lists them.
package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
	Deaths         int           // max-death-tally: how many ends are remembered
	BackoffMin     time.Duration
	BackoffMax     time.Duration // backoff; 0: a restart rests as runsv's
	GiveUpAfter    int           // give-up: more ends than that
	GiveUpWithin   time.Duration // within that
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
		ms, err := strconv.ParseUint(text, 10, 63)
		if err != nil || ms < 1 || ms > timeMax {
			return errors.New("a time in milliseconds")
		}
		p.Watchdog = time.Duration(ms) * time.Millisecond
		return nil
	}},
	{"flag-timeout-killpg", func(p *Policy, _ string) error { p.KillGroup = true; return nil }},
	{"flag-kill-strays", func(p *Policy, _ string) error { p.KillStrays = true; return nil }},
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

// Names are which of runit's own files a directory has, as its list shows them: what is
// not in it need not be asked for.
type Names struct {
	Known              bool // else it could not be listed
	Log, Down, Control bool
	User               bool // where user/access may be, which is not runit's
	Needs              bool // of ours: the directory of what it needs
}

// Read reads the files of the directory at, an open descriptor. A file that cannot be
// understood counts as absent, and there is a warning that names it and says what was
// expected. Where there is no such file it costs four system calls, and p is nil.
func Read(at int) (p *Policy, has Names, warnings []error) {
	names, has := list(at)
	for _, f := range files {
		if !names[f.name] {
			continue
		}
		b, err := sys.Slurp(at, f.name, sizeMax)
		if err == unix.ENOENT {
			continue
		}
		if p == nil {
			p = &Policy{Deaths: DeathsDefault}
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
		granted, found, refused := readAccess(at)
		warnings = append(warnings, refused...)
		if found && p == nil {
			p = &Policy{Deaths: DeathsDefault}
		}
		if found {
			p.Access = granted
		}
	}
	return p, has, warnings
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
	ms, err := strconv.ParseUint(text, 10, 63)
	if err != nil || ms > timeMax {
		return 0, fmt.Errorf("./%s: %q is not understood: it should be a time in milliseconds.", name, text)
	}
	return time.Duration(ms) * time.Millisecond, nil
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

// list is the names of the directory at that may be such files, and what else it has;
// none where it cannot be read.
func list(at int) (names map[string]bool, has Names) {
	fd, err := sys.Open(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, has
	}
	defer unix.Close(fd)
	var buf [2048]byte
	for {
		n, err := unix.Getdents(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			has.Known = err == nil
			return names, has
		}
		for b := buf[:n]; len(b) > nameAt; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			name := b[nameAt:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			switch string(name) {
			case "log":
				has.Log = true
			case "down":
				has.Down = true
			case "control":
				has.Control = true
			case "user":
				has.User = true
			case "needs":
				has.Needs = true
			}
			for _, f := range files {
				if f.name == string(name) {
					if names == nil {
						names = map[string]bool{}
					}
					names[f.name] = true
				}
			}
			b = b[size:]
		}
	}
}

// nameAt is where in an entry of getdents64(2) the name is: behind two words of eight
// bytes, one of two for its size, and one for the type.
const nameAt = 19
