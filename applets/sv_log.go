package applets

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/logger/reader"
	"runitbox/supervise/survey"
)

// logCall is one call of sv log.
type logCall struct {
	s      *svCall
	r      *reader.Reader
	follow bool
	names  []string // the services, if some were named
	of     []string // the service of each source
	prefix []string // what stands before each of its lines
	dirs   map[string]bool
	p      linePrinter
}

// newSvLog shows the lines that log services have written.
func newSvLog(s *svCall) *cobra.Command {
	var follow, raw bool
	var last int
	var since, until, grep string
	cmd := &cobra.Command{
		Use:   "sv log [-f] [-n lines] [--since time] [--until time] [--grep pattern] [--json] [--raw] [service ...]",
		Short: "show the logs of services, merged by time",
		RunE: func(cmd *cobra.Command, names []string) error {
			l := &logCall{s: s, follow: follow, names: names, dirs: map[string]bool{}}
			l.r = &reader.Reader{Last: last, Emit: l.emit, Unpack: unpackWith, Warn: l.warn}
			switch given := cmd.Flags().Changed("lines"); {
			case given && last < 0:
				return s.misusedVerb(cmd, "--lines: a number is expected, of 0 and up")
			case !given && follow && since == "":
				l.r.Last = 10
			case !given:
				l.r.Last = -1
			}
			var err error
			if l.r.Since, err = parseTime(since, s.begin); err != nil {
				return s.misusedVerb(cmd, "--since: "+err.Error())
			}
			if l.r.Until, err = parseTime(until, s.begin); err != nil {
				return s.misusedVerb(cmd, "--until: "+err.Error())
			}
			if l.r.Match, err = matcher(grep); err != nil {
				return s.misusedVerb(cmd, "--grep: "+err.Error())
			}
			l.p = linePrinter{out: s.out, json: s.json, raw: raw, max: 0}
			if isTerminal(s.stdout) {
				l.p.max = 16 << 10
			}
			return l.run()
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what is written, of new services too")
	flags.IntVarP(&last, "lines", "n", 0, "only the last `lines` of what there is")
	flags.StringVar(&since, "since", "", "only from that `time` on: 2006-01-02 15:04:05, 15:04, or so long ago: 10m, 2h, 3d")
	flags.StringVar(&until, "until", "", "only up to that `time`")
	flags.StringVar(&grep, "grep", "", "only lines that a regular expression matches")
	flags.BoolVar(&s.json, "json", s.json, "an object for each line")
	flags.BoolVar(&raw, "raw", false, "show control characters as they are")
	return cmd
}

// misusedVerb is a call of a verb with wrong arguments.
func (s *svCall) misusedVerb(cmd *cobra.Command, note string) error {
	return misuse{s.name + ": " + note, cmd.Use, 100}
}

// matcher is what finds a pattern; nil for none. Plain text needs no regexp.
func matcher(pattern string) (func([]byte) bool, error) {
	if pattern == "" {
		return nil, nil
	}
	if regexp.QuoteMeta(pattern) == pattern {
		plain := []byte(pattern)
		return func(text []byte) bool { return bytes.Contains(text, plain) }, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return re.Match, nil
}

func (l *logCall) warn(err error) {
	l.s.failed++
	l.s.warn("%s: warning: %s", l.s.name, words(err))
}

// run shows what there is, and goes on if that was asked for.
func (l *logCall) run() error {
	raiseFiles()
	l.s.out = bufio.NewWriterSize(l.s.stdout, 64<<10)
	l.p.out = l.s.out
	if l.follow {
		if err := l.r.Follow(); err != nil {
			return fatal{l.s.name, 111, err}
		}
	}
	defer l.r.Close()
	var watch *survey.Watch
	if l.follow {
		var err error
		if watch, err = survey.NewWatch(); err != nil {
			return fatal{l.s.name, 111, err}
		}
		defer watch.Close()
	}
	if err := l.find(watch, false); err != nil {
		return err
	}
	if err := l.r.Read(); err != nil {
		return l.ended(err)
	}
	if !l.follow {
		if err := l.s.out.Flush(); err != nil {
			return l.ended(err)
		}
		return l.s.code()
	}
	return l.goOn(watch)
}

// ended is what becomes of an error of the output: a reader that has seen enough is none.
func (l *logCall) ended(err error) error {
	if errors.Is(err, unix.EPIPE) {
		return nil
	}
	return fatal{l.s.name, 111, fmt.Errorf("unable to write: %w", err)}
}

// find takes in the log directories of the services. Those of services that come later
// are read from the beginning of the call on.
func (l *logCall) find(watch *survey.Watch, later bool) error {
	all, err := l.s.survey(l.names, survey.Look{})
	if err != nil {
		return err
	}
	if watch != nil && len(l.names) == 0 {
		watch.Add(svDir())
	}
	many := len(all) > 1
	var from time.Time
	if later {
		from = l.s.begin
	}
	for _, one := range all {
		if watch != nil {
			watch.Add(one.Path)
			watch.Add(one.Path + "/log")
			if one.Log != nil {
				watch.Add(one.Log.Files)
			}
		}
		dirs := survey.LogDirs(one)
		if len(dirs) == 0 && len(l.names) > 0 && !later {
			l.s.failed++
			l.s.say("%s", l.missing(one))
		} else if err := hiddenLog(one); len(dirs) == 0 && err != nil && !later {
			l.warn(fmt.Errorf("%s: %w", one.Name, err))
		}
		for _, dir := range dirs {
			if l.dirs[dir] {
				continue
			}
			l.dirs[dir] = true
			name := one.Name
			if len(dirs) > 1 {
				name += "/" + filepath.Base(dir)
			}
			if _, err := l.r.Add(dir, from); err != nil {
				l.dirs[dir] = false
				if !later || !os.IsNotExist(err) {
					l.warn(fmt.Errorf("%s: unable to read its log: %w", one.Name, err))
				}
				continue
			}
			l.of = append(l.of, name)
			l.prefix = append(l.prefix, "")
			if many || l.follow && len(l.names) == 0 || len(dirs) > 1 {
				l.prefix[len(l.prefix)-1] = printable(name) + ": "
			}
		}
	}
	return nil
}

// hiddenLog is why rights do not allow to find the log of a service, nil if they do.
func hiddenLog(one *survey.Service) error {
	for ; one != nil; one = one.Log {
		if errors.Is(one.Err, unix.EACCES) || errors.Is(one.Err, unix.EPERM) {
			return one.Err
		}
	}
	return nil
}

// missing says why there is no log of a service.
func (l *logCall) missing(one *survey.Service) string {
	if one.Err != nil && !one.Unsupervised() {
		return trouble(one.Name, one.Err)
	}
	if one.Log == nil {
		return fmt.Sprintf("fail: %s: no log service: %s/log does not exist", one.Name, one.Path)
	}
	return fmt.Sprintf("fail: %s: unable to find out where its log service writes", one.Name)
}

// The times after which a new log directory is looked for again: between the start of
// a log service and its first file nothing that is watched may change.
var lookAgain = [...]time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second}

// goOn tells what is written, until nobody reads it any more.
func (l *logCall) goOn(watch *survey.Watch) error {
	tries := len(lookAgain)
	if len(l.of) == 0 {
		tries = 0
	}
	for {
		if err := l.s.out.Flush(); err != nil {
			return l.ended(err)
		}
		timeout := -1
		if tries < len(lookAgain) {
			timeout = int(lookAgain[tries] / time.Millisecond)
		}
		fds := []unix.PollFd{{Fd: int32(l.r.FD()), Events: unix.POLLIN}, {Fd: int32(watch.FD()), Events: unix.POLLIN}, {Fd: -1}}
		if f, ok := l.s.stdout.(*os.File); ok { // POLLERR: its reader is gone
			fds[2].Fd = int32(f.Fd())
		}
		n, err := unix.Poll(fds, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fatal{l.s.name, 111, err}
		}
		if fds[2].Revents&(unix.POLLERR|unix.POLLNVAL) != 0 {
			return nil
		}
		// That this process has read a run script is an event, too, but not one that counts.
		changed := fds[1].Revents != 0 && len(watch.Read()) > 0
		if changed {
			tries = 0
		}
		if n == 0 || changed {
			if n == 0 {
				tries++
			}
			if err := l.find(watch, true); err != nil {
				return err
			}
		}
		if err := l.r.Pump(); err != nil {
			return l.ended(err)
		}
	}
}

// emit writes one line.
func (l *logCall) emit(e *reader.Entry) error {
	return l.p.print(e, l.of[e.Source], l.prefix[e.Source])
}

// linePrinter writes lines for people or for programs.
type linePrinter struct {
	out  *bufio.Writer
	json bool
	raw  bool
	max  int // bytes of a line that are shown; 0 are all

	second int64 // whose stamp is in stamp
	stamp  []byte
	shown  int // bytes of the line that goes on
	left   int // and those that were not
	line   []byte
}

// print writes an entry. A line that is told in pieces is one for people; a program
// gets an object for each, which says that it goes on.
func (p *linePrinter) print(e *reader.Entry, name, prefix string) error {
	if p.json {
		o := newObject().text("service", name)
		if e.Timed {
			o.time("time", time.Unix(0, e.Time))
		} else {
			o.null("time")
		}
		o.text("line", string(e.Text))
		if e.More {
			o.boolean("more", true)
		}
		_, err := p.out.WriteString(o.String() + "\n")
		return err
	}
	line := p.line[:0]
	if !e.Rest {
		p.shown, p.left = 0, 0
		if e.Timed {
			line = p.appendStamp(line, e.Time)
		}
		line = append(line, prefix...)
	}
	text := e.Text
	if room := p.max - p.shown; p.max > 0 && len(text) > room {
		p.left += len(text) - room
		text = text[:room]
	}
	p.shown += len(text)
	if p.raw || reader.IsPlain(text) {
		line = append(line, text...)
	} else {
		line = append(line, visible(text)...)
	}
	if !e.More {
		if p.left > 0 {
			line = fmt.Appendf(line, " ... (%d more bytes)", p.left)
		}
		line = append(line, '\n')
	}
	p.line = line
	_, err := p.out.Write(line)
	return err
}

// appendStamp appends a time as svlogd -tt writes it.
func (p *linePrinter) appendStamp(b []byte, ns int64) []byte {
	second := ns / 1e9
	if second != p.second || p.stamp == nil {
		p.second = second
		p.stamp = time.Unix(second, 0).UTC().AppendFormat(p.stamp[:0], "2006-01-02_15:04:05.")
	}
	b = append(append(b, p.stamp...), "00000 "...)
	part := uint32(ns%1e9) / 1e4
	for i := len(b) - 2; part > 0; i-- {
		b[i] = byte('0' + part%10)
		part /= 10
	}
	return b
}

// visible is a line with its control characters told in others; tabs stay.
func visible(text []byte) string {
	parts := strings.Split(string(text), "\t")
	for i := range parts {
		parts[i] = printable(parts[i])
	}
	return strings.Join(parts, "\t")
}

// unpackWith has a program unpack a file, of which nothing has been read but by ReadAt.
func unpackWith(program string, from *os.File) (io.Reader, func() error, error) {
	path, err := programPath(program)
	if err != nil {
		return nil, nil, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer out.Close()
	p, err := os.StartProcess(path, []string{program, "-dc"}, &os.ProcAttr{Files: []*os.File{from, out, os.Stderr}})
	if err != nil {
		in.Close()
		return nil, nil, fmt.Errorf("unable to start %s: %w", program, err)
	}
	return in, func() error {
		in.Close()
		state, err := p.Wait()
		if err == nil && !state.Success() {
			if ws, ok := state.Sys().(syscall.WaitStatus); !ok || ws.Signal() != unix.SIGPIPE {
				err = fmt.Errorf("%s: %s", program, state)
			}
		}
		return err
	}, nil
}

// programPath looks a program up in PATH.
func programPath(program string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s", program)
}

// raiseFiles lets this process open as many files as it may.
func raiseFiles() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}
