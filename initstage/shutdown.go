package initstage

import (
	"cmp"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/fmt"
)

// End is one end of the system, as halt, poweroff, reboot and shutdown ask for it.
type End struct {
	What       string // poweroff, reboot or halt: all but the power
	Force      bool   // at once, without process 1
	NoSync     bool
	NoRecord   bool // in wtmp
	Interfaces bool // take those of the network down before, with Force
	Disks      bool // have them in stand-by before, with Force
	Complain   func(error)
}

// Run writes the record and asks for the end or, with Force, makes it. What
// comes before the end may fail and is complained about.
func (e End) Run() error {
	if !e.NoRecord {
		e.Complain(AppendRecord(Wtmp, ShutdownRecord(time.Now())))
	}
	if !e.NoSync {
		unix.Sync()
	}
	if !e.Force {
		return Ask(DefaultPaths(), e.What)
	}
	if e.Interfaces {
		e.Complain(interfacesDown())
	}
	if e.Disks && e.What != "reboot" {
		standBy()
	}
	return force(e.What)
}

// force ends the system at once. It only returns an error.
func force(what string) error {
	cmd, ok := map[string]uint32{
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":     unix.LINUX_REBOOT_CMD_HALT,
	}[what]
	if !ok {
		return &verbError{what, unix.EINVAL}
	}
	if err := unix.Reboot(int(int32(cmd))); err != nil {
		return &verbError{what, err}
	}
	return nil
}

// interfacesDown takes every network interface down but lo.
func interfacesDown() error {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return &verbError{"find the network interfaces", err}
	}
	for line := range strings.Lines(string(text)) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || name == "lo" {
			continue // a heading has no colon
		}
		if down := setUp(name, false); down != nil && err == nil {
			err = &verbError{"take down " + name, down}
		}
	}
	return err
}

// standBy has the disks park, as far as they are disks that can: those that
// take ATA's commands.
func standBy() {
	const (
		driveCommand = 0x031f // HDIO_DRIVE_CMD
		standByNow   = 0xe0
	)
	names, _ := list("/sys/block")
	for _, name := range names {
		if !strings.HasPrefix(name, "sd") && !strings.HasPrefix(name, "hd") {
			continue
		}
		if fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			args := [4]byte{standByNow}
			unix.Syscall(unix.SYS_IOCTL, uintptr(fd), driveCommand, uintptr(unsafe.Pointer(&args)))
			unix.Close(fd)
		}
	}
}

// The files of a shutdown that waits for its time.
const (
	shutdownPid = "/run/runit/shutdown.pid"
	nologin     = "/etc/nologin"
	goingDown   = "the system is going down\n" // which is in it
)

// noticeTime is how long before the end nobody can log in any more, and a last
// notice is given.
const noticeTime = 5 * time.Minute

// Shutdown is the end of the system at a time.
type Shutdown struct {
	End      // or What is single: the level of services of that name
	Delay    time.Duration
	Message  string
	WarnOnly bool
	Quiet    bool     // no notice but the last
	Files    []string // to make, for the next boot
	Self     *Stage   // ends the processes and the disks in process 1's place
}

// Run waits for the time and then asks for the end. Being told to end while it
// waits is no error: the shutdown is cancelled.
func (s *Shutdown) Run() error {
	cancel := make(chan os.Signal, 1)
	signal.Notify(cancel, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	if s.WarnOnly {
		s.notice(s.Delay)
		return nil
	}
	release, err := claim()
	if err != nil {
		return err
	}
	defer release()
	if !s.await(cancel) {
		return nil
	}
	s.notice(0)
	for _, path := range s.Files {
		if f, err := os.Create(path); err != nil {
			s.Complain(&verbError{"create " + path, cause(err)})
		} else {
			f.Close()
		}
	}
	switch {
	case s.What == "single":
		os.Remove(nologin)
		return unix.Exec(Executable(), []string{"runsvchdir", "single"}, os.Environ())
	case s.Self != nil:
		s.Self.end()
		s.Force = true
	}
	return s.End.Run()
}

// await waits for the time, gives the notices before, and keeps the users out
// at the end. It says whether it was not cancelled.
func (s *Shutdown) await(cancel <-chan os.Signal) bool {
	if s.Delay == 0 {
		return true
	}
	if !s.Quiet {
		s.notice(s.Delay)
	}
	if s.Delay > noticeTime {
		if !wait(s.Delay-noticeTime, cancel) {
			return false
		}
		if !s.Quiet {
			s.notice(noticeTime)
		}
	}
	if err := os.WriteFile(nologin, []byte(goingDown), 0o644); err != nil {
		s.Complain(&verbError{"create " + nologin, cause(err)})
	}
	if !wait(min(s.Delay, noticeTime), cancel) {
		os.Remove(nologin)
		return false
	}
	return true
}

// wait waits, and says whether it was not cancelled.
func wait(d time.Duration, cancel <-chan os.Signal) bool {
	select {
	case <-time.After(d):
		return true
	case <-cancel:
		return false
	}
}

// notice tells the users what comes, and when.
func (s *Shutdown) notice(in time.Duration) {
	what := map[string]string{"poweroff": "power off", "single": "go to single user mode"}[s.What]
	when := "NOW"
	if minutes := int(in.Minutes()); minutes == 1 {
		when = "in 1 minute"
	} else if minutes > 0 {
		when = fmt.Sprintf("in %d minutes", minutes)
	}
	text := fmt.Sprintf("The system will %s %s", cmp.Or(what, s.What), when)
	if s.Message != "" {
		text += ": " + s.Message
	}
	Wall(text)
}

// claim makes this the shutdown that waits: there is one at a time. The lock on
// the file tells that its process is alive.
func claim() (release func(), err error) {
	os.MkdirAll(filepath.Dir(shutdownPid), 0o755)
	f, err := os.OpenFile(shutdownPid, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &verbError{"create " + shutdownPid, cause(err)}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &verbError{"begin: another shutdown is waiting", err}
	}
	f.Truncate(0)
	fmt.Fprintln(f, os.Getpid())
	return func() { os.Remove(shutdownPid); f.Close() }, nil
}

// Cancel ends the shutdown that is waiting. A file that no living shutdown has
// locked names nobody.
func Cancel() error {
	f, err := os.OpenFile(shutdownPid, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return errors.New("cancel: no shutdown is waiting")
	} else if err != nil {
		return &verbError{"open " + shutdownPid, cause(err)}
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return errors.New("cancel: no shutdown is waiting")
	}
	text := make([]byte, 32)
	n, _ := f.Read(text)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid <= 1 {
		return fmt.Errorf("cancel: %s has no process id", shutdownPid)
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		return &verbError{"cancel the shutdown of process " + strconv.Itoa(pid), err}
	}
	return nil
}

// Wall writes a notice to every terminal that has a user, to the console and to
// the caller's own, once to each by whatever name. None can keep it from the others.
func Wall(text string) {
	host, _ := os.Hostname()
	line := []byte(fmt.Sprintf("\r\nBroadcast message from %s (%s):\r\n%s\r\n", host, time.Now().Format(time.ANSIC), text))
	told := map[int]bool{}
	for _, name := range append(Terminals(Utmp), "console", "tty") {
		path := filepath.Join("/dev", filepath.Clean("/"+name))
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if device, err := unix.IoctlGetInt(fd, unix.TIOCGDEV); err != nil || !told[device] {
			told[device] = err == nil
			unix.Write(fd, line)
		}
		unix.Close(fd)
	}
}

// Allowed says whether one of the users in the file may be the one who asks: it is
// root or named there, and logged in on one of the machine's own screens. Where there
// is no such file everybody may.
func Allowed(file, utmp string) bool {
	text, err := os.ReadFile(file)
	if errors.Is(err, unix.ENOENT) {
		return true
	}
	names := map[string]bool{"root": true}
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSpace(line); !strings.HasPrefix(name, "#") {
			names[name] = true
		}
	}
	return slices.ContainsFunc(users(utmp), func(r Record) bool {
		_, err := strconv.Atoi(strings.TrimPrefix(r.Line, "tty"))
		return err == nil && names[r.User]
	})
}
