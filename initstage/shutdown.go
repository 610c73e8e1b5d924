package initstage

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sync writes the disks' buffers.
func Sync() { unix.Sync() }

// Force ends the system at once, without process 1. It only returns an error.
func Force(what string) error {
	cmd, ok := map[string]uint32{
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":     unix.LINUX_REBOOT_CMD_HALT,
	}[what]
	if !ok {
		return fmt.Errorf("%s: %w", what, unix.EINVAL)
	}
	if err := unix.Reboot(int(cmd)); err != nil {
		return &verbError{what, err}
	}
	return nil
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
	What     string // halt, reboot, or single: the level of services of that name
	Delay    time.Duration
	Message  string
	WarnOnly bool
	Files    []string // to make, for the next boot
	Complain func(error)
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
	s.notice(s.Delay)
	if s.Delay > noticeTime {
		if !wait(s.Delay-noticeTime, cancel) {
			return nil
		}
		s.notice(noticeTime)
	}
	if s.Delay > 0 {
		if err := os.WriteFile(nologin, []byte(goingDown), 0o644); err != nil {
			s.Complain(&verbError{"create " + nologin, cause(err)})
		}
		if !wait(min(s.Delay, noticeTime), cancel) {
			os.Remove(nologin)
			return nil
		}
		s.notice(0)
	}
	for _, path := range s.Files {
		if f, err := os.Create(path); err != nil {
			s.Complain(&verbError{"create " + path, cause(err)})
		} else {
			f.Close()
		}
	}
	if s.What == "single" {
		os.Remove(nologin)
		return unix.Exec(executable(), []string{"runsvchdir", "single"}, os.Environ())
	}
	if err := AppendRecord(Wtmp, ShutdownRecord(time.Now())); err != nil {
		s.Complain(err)
	}
	unix.Sync()
	return Ask(DefaultPaths(), s.What == "reboot")
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
	what := map[string]string{"halt": "halt", "reboot": "reboot", "single": "go to single user mode"}[s.What]
	when := "NOW"
	if in > 0 {
		when = fmt.Sprintf("in %d minutes", int(in.Minutes()))
	}
	text := fmt.Sprintf("The system will %s %s", what, when)
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

// Wall writes a notice to every terminal that has a user, and to the console.
// No terminal can keep it from the others.
func Wall(text string) {
	host, _ := os.Hostname()
	line := []byte(fmt.Sprintf("\r\nBroadcast message from %s (%s):\r\n%s\r\n", host, time.Now().Format(time.ANSIC), text))
	for _, name := range append(Terminals(Utmp), "console") {
		path := filepath.Join("/dev", filepath.Clean("/"+name))
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		unix.Write(fd, line)
		unix.Close(fd)
	}
}
