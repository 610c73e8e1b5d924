package applets

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/syslog"
	"runitbox/fmt"
	"runitbox/procenv"
)

// vloggerScript is what logs instead of syslog where the administrator has made it.
const vloggerScript = "/etc/vlogger"

// newVlogger gives lines to syslog: those of a service, where it is linked as
// log/run, or a message.
func newVlogger(argv0 string) *cobra.Command {
	v := vlogger{who: "vlogger", priority: syslog.UserNotice}
	var tellPid, copied, onlySyslog, identify bool
	var file, priority, tag string
	line := filepath.Base(argv0) + " [-isS] [-f file] [-p pri] [-t tag] [message ...]"
	cmd := &cobra.Command{
		Use:   line,
		Short: "give a message, or the lines of standard input, to syslog",
		RunE: func(cmd *cobra.Command, args []string) error {
			if identify {
				return misuse{"runitbox " + version, line, 1}
			}
			if name, logs := serviceOf(argv0); logs {
				v.tag, v.priority = name, syslog.DaemonNotice
			}
			if priority != "" {
				var err error
				if v.priority, err = syslog.ParsePriority(priority); err != nil {
					return fatal{v.who, 1, err}
				}
			}
			if tag != "" {
				v.tag = tag
			}
			if v.tag == "" {
				v.tag = loginName()
			}
			if v.copied = copied; tellPid {
				v.pid = os.Getpid()
			}
			if len(args) > 0 {
				return v.message(strings.Join(args, " "))
			}
			if file != "" {
				if err := takeInput(file); err != nil {
					return fatal{v.who, 1, err}
				}
			}
			if filepath.Base(argv0) != "logger" && !onlySyslog {
				v.script()
			}
			return v.lines()
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&tellPid, "pid", "i", false, "tell the process's number")
	f.BoolVarP(&copied, "stderr", "s", false, "write to standard error, too")
	f.BoolVarP(&onlySyslog, "syslog", "S", false, "do not run "+vloggerScript)
	f.StringVarP(&file, "file", "f", "", "read this file instead of standard input")
	f.StringVarP(&priority, "priority", "p", "", "`facility.level` of the messages")
	f.StringVarP(&tag, "tag", "t", "", "who says it, instead of the service or the user")
	f.BoolVarP(&identify, "version", "V", false, "show the version")
	f.Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, line, 1)
	return cmd
}

// serviceOf is the name of the service whose log service this process is: it
// runs as ./run in NAME/log, or NAME/log-something.
func serviceOf(argv0 string) (name string, logs bool) {
	dir, err := unix.Getwd()
	if err != nil || argv0 != "./run" || !strings.HasPrefix(filepath.Base(dir), "log") {
		return "", false
	}
	name = filepath.Base(filepath.Dir(dir))
	return name, name != "/"
}

// loginName is who has called.
func loginName() string {
	for _, name := range []string{"LOGNAME", "USER"} {
		if who := os.Getenv(name); who != "" {
			return who
		}
	}
	return procenv.UserName(uint32(os.Getuid()))
}

// takeInput makes file the standard input.
func takeInput(file string) error {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Dup3(fd, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("unable to read %s: %w", file, err)
	}
	return nil
}

// toSyslog is the log service of the service name, for syslog.
func toSyslog(name, priority string) error {
	v := vlogger{who: "rsvlog", tag: name, priority: syslog.DaemonInfo}
	if priority != "" {
		var err error
		if v.priority, err = syslog.ParsePriority(priority); err != nil {
			return fatal{v.who, 111, fmt.Errorf("SV_LOG_SYSLOG_PRIORITY: %w", err)}
		}
	}
	setComm("vlogger")
	return v.lines()
}

// vlogger is one call.
type vlogger struct {
	who      string // as messages of its own tell it
	tag      string
	priority syslog.Priority
	pid      int // 0: not told
	copied   bool
	conn     syslog.Conn
	outage   outage
	busy     sync.Mutex // held while lines are read and sent
}

// script becomes the administrator's, where there is one.
func (v *vlogger) script() {
	if unix.Access(vloggerScript, unix.X_OK) != nil {
		return
	}
	err := syscall.Exec(vloggerScript, []string{vloggerScript, v.tag, v.priority.Level(), v.priority.Facility()}, os.Environ())
	v.warn(fmt.Errorf("unable to run %s: %w", vloggerScript, err))
}

func (v *vlogger) warn(err error) {
	fmt.Fprintf(os.Stderr, "%s: warning: %s\n", v.who, words(err))
}

// message sends one message, as lines if it has several.
func (v *vlogger) message(text string) error {
	v.conn.Path = syslog.Socket
	defer v.conn.Close()
	var failed error
	syslog.Lines([]byte(text), true, func(piece []byte) {
		if err := v.conn.Send(v.put(piece)); err != nil && failed == nil {
			failed = fatal{v.who, 1, fmt.Errorf("unable to reach syslog: %s: %w", v.conn.Path, err)}
		}
	})
	return failed
}

// put makes a message of a line, and copies it to standard error.
func (v *vlogger) put(line []byte) []byte {
	line = bytes.ReplaceAll(line, []byte{0}, []byte{' '}) // a NUL would end it
	if v.copied {
		os.Stderr.WriteString(syslog.Label(v.tag, v.pid) + string(line) + "\n")
	}
	return append([]byte(syslog.Header(v.priority, time.Now(), v.tag, v.pid)), line...)
}

// lines sends the lines of standard input, up to its end or TERM.
func (v *vlogger) lines() error {
	debug.SetGCPercent(-1) // the clock would wake it up; see boundMemory
	procenv.NoHugePages()
	boundMemory(4096)
	v.conn.Path = syslog.Socket
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM)
	go func() {
		<-ends
		v.outage.over.Store(true) // who waits for syslog has waited enough
		time.AfterFunc(time.Second, func() { os.Exit(0) })
		v.busy.Lock()
		v.outage.tell(v)
		os.Exit(0)
	}()
	buf := make([]byte, 0, 4096)
	for {
		// What has been read is sent, whenever TERM comes: nothing is read
		// before it is there, and what is there is read and sent at once.
		p := [1]unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		if _, err := unix.Poll(p[:], -1); err != nil && err != unix.EINTR {
			return fatal{v.who, 111, fmt.Errorf("unable to wait for standard input: %w", err)}
		}
		v.busy.Lock()
		n, err := unix.Read(0, buf[len(buf):cap(buf)])
		if err == unix.EINTR || err == unix.EAGAIN {
			v.busy.Unlock()
			continue
		}
		n = max(n, 0)
		rest := syslog.Lines(buf[:len(buf)+n], n == 0, v.send)
		buf = buf[:copy(buf[:cap(buf)], rest)]
		if err != nil {
			return fatal{v.who, 111, fmt.Errorf("unable to read standard input: %w", err)}
		}
		if n == 0 {
			v.outage.tell(v)
			return nil
		}
		v.busy.Unlock()
	}
}

// send sends a line. While the daemon is away it waits, but not for ever: a
// service that nobody listens to is worth more than what it says.
func (v *vlogger) send(line []byte) {
	message := v.put(line)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := v.conn.Send(message)
		if err == nil {
			v.outage.tell(v)
			return
		}
		if !v.outage.wait(v, err, pause) {
			v.outage.lost++
			return
		}
	}
}
