package applets

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/logger"
	"runitbox/procenv"
	"runitbox/supervise/loghost"
	process "runitbox/supervise/self"
	"runitbox/supervise/threads"
)

// newSvlogd is the logger.
func newSvlogd(argv0 string) *cobra.Command {
	var flags loggerFlags
	usage := argv0 + loggerUsage + " dir ..."
	cmd := &cobra.Command{
		Use:   usage,
		Short: "write lines from standard input to log directories that rotate",
		Long:  "dir is there already. dir/config says which lines, and when it is rotated.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.version {
				return misuse{note: "runitbox " + version, line: usage, status: 111}
			}
			o, ok := flags.options(cmd, args)
			if !ok {
				return misuse{line: usage, status: 111}
			}
			return runLogger(o, flags.verbose > 0, 0, arguments())
		},
	}
	flags.add(cmd)
	getoptErrors(cmd, argv0, usage, 111)
	return cmd
}

// loggerUsage is what the logger's options are in a usage line.
const loggerUsage = " [-ttv] [-r c] [-R abc] [-l len] [-b buflen]"

// loggerFlags are the logger's options. Its numbers are the digits that an
// argument begins with, and 0 is the default.
type loggerFlags struct {
	stamps, verbose int
	unprintable     string
	others          string
	head, buffer    string
	version         bool
}

// add gives the options to a command.
func (l *loggerFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.CountVarP(&l.stamps, "timestamp", "t", "stamp lines; twice and three times: in a form to read")
	f.CountVarP(&l.verbose, "verbose", "v", "tell what is done")
	f.StringVarP(&l.unprintable, "unprintable", "r", "", "replace unprintable bytes by `C`")
	f.StringVarP(&l.others, "replace", "R", "", "replace `XYZ`, too")
	f.StringVarP(&l.head, "len", "l", "", "match and replace `LEN` bytes of a line")
	f.StringVarP(&l.buffer, "buflen", "b", "", "read and write `LEN` bytes at least")
	f.BoolVarP(&l.version, "version", "V", false, "show the version")
	f.Bool("help", false, "print this help") // without -h, which is no option
}

// options are those of an engine that writes to dirs, if they go together.
func (l *loggerFlags) options(cmd *cobra.Command, dirs []string) (o logger.Options, ok bool) {
	withR := cmd.Flags().Changed("unprintable")
	o = logger.Options{Dirs: dirs, Stamp: logger.Stamp(min(l.stamps, 3)), Head: number(l.head, 1000), Buffer: number(l.buffer, 1024)}
	if withR && len(l.unprintable) != 1 || o.Buffer <= o.Head || len(dirs) == 0 {
		return o, false
	}
	if withR || cmd.Flags().Changed("replace") {
		o.Replacement, o.Replaced = '_', replaced(l.others)
		if withR {
			o.Replacement = l.unprintable[0]
		}
	}
	return o, true
}

// number is the number that text begins with, or unless if that is none.
func number(text string, unless int) int {
	if n, _ := logger.Digits(text); n > 0 {
		return int(min(n, 1<<30))
	}
	return unless
}

// replaced is what -r and -R replace: what is not printable ASCII, and others.
func replaced(others string) *[256]bool {
	var set [256]bool
	for c := range set {
		set[c] = c < 32 || c > 126
	}
	for i := range len(others) {
		set[others[i]] = true
	}
	return &set
}

// arguments are those of the applet that this process is.
func arguments() []string {
	if isBox(filepath.Base(os.Args[0])) {
		return os.Args[2:]
	}
	return os.Args[1:]
}

// runLogger runs an engine as this process: its signals, its messages. As the log service
// of a tree it may leave all that, as these arguments of svlogd say it, to the process of
// another, or become the one that others leave it to. Before are the bytes that the process
// has taken before.
func runLogger(o logger.Options, verbose bool, before int, args []string) error {
	root, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fatal{"svlogd", 111, errors.New("unable to open current working directory: " + words(err))}
	}
	e := &loggerEngine{voice: voice{fd: 2, verbose: verbose}, threads: &loggerThreads{}}
	e.threads.engines.Store(1)
	if verbose {
		e.threads.others++
	}
	scarce := threads.Await(e.threads.least()+threads.Template, func(err error) { e.report(logger.Warning, err.Error(), nil) })
	if scarce {
		e.threads.template.Store(threads.Template)
	}
	process.DefaultAction(unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	keepIgnored() // before the core looks: one that has asked before Go's runtime began may do the same then
	var answer loghost.Answer
	var link *loghost.Link
	if loghost.Built {
		answer, link = loghost.AskCore(args, root)
	}
	if answer == loghost.Gone {
		return nil
	}
	hosts := loghost.Built && answer == loghost.Hosts
	procenv.NoHugePages()
	// There is next to no garbage, and collecting it by the clock would wake
	// the process up for nothing.
	debug.SetGCPercent(-1)

	// Signals are taken first, before anything of theirs can be missed. Each waits
	// in a place of its own: a storm of one must not cost another. SIGPIPE is
	// caught and not ignored, since processors would inherit that.
	sigs := map[unix.Signal]chan os.Signal{}
	process.IgnorePipe()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGALRM, unix.SIGCHLD} {
		sigs[sig] = make(chan os.Signal, 2) // a second TERM counts
		process.Catch(sigs[sig], sig)
	}
	if hosts {
		e.threads.files = link.Files
		e.threads.others++ // it listens to cores
	}
	host, err := logger.NewHost(logger.HostOptions{Turns: e.threads.turns, Room: e.threads.room})
	if err != nil {
		return fatal{"svlogd", 111, err}
	}
	o.Root = root
	if hosts {
		o.Input = ownInput(e, root)
		for i, dir := range o.Dirs { // they are in the memory of the arguments, where ps is to show something else
			o.Dirs[i] = strings.Clone(dir)
		}
	}
	if err := e.prepare(host, o); err != nil {
		return fatal{"svlogd", 111, err}
	}
	if scarce {
		threads.Reserve(e.threads.least())
	} else { // which may take a while
		go threads.Reserve(e.threads.least())
	}
	boundMemory(before + 3*o.Buffer)
	if hosts {
		return runHost(host, link, e, sigs)
	}
	go obey(sigs, e.signal)
	if err := e.engine.Run(); err != nil {
		return fatal{"svlogd", 111, err}
	}
	return nil
}

// loggerEngine is an engine with its voice.
type loggerEngine struct {
	voice
	engine     *logger.Engine
	threads    *loggerThreads
	killer     atomic.Int32 // the signal that has ended it
	processors atomic.Int32
	close      func() // gives back its descriptors; nil: nothing

	stopping sync.Mutex // guards the following
	stopped  bool       // as SIGSTOP stops a process
	waiting  uint64     // the signals that have come meanwhile
}

// prepare makes the engine.
func (e *loggerEngine) prepare(host *logger.Host, o logger.Options) (err error) {
	o.Now, o.Report, o.Stderr, o.Errors = time.Now, e.report, e.write, e.fd
	o.Start = func(c logger.Child) (func() (unix.WaitStatus, bool), error) {
		e.processors.Add(1) // first: it may have ended before its start is over
		wait, err := e.threads.start(c)
		if err != nil {
			e.processors.Add(-1)
			return nil, err
		}
		return func() (ws unix.WaitStatus, ended bool) {
			if ws, ended = wait(); ended {
				e.processors.Add(-1)
				e.threads.processors.Add(-1)
			}
			return ws, ended
		}, nil
	}
	e.engine, err = host.Engine(o)
	return err
}

// signal does what the signal does to a svlogd. What comes while it is stopped waits until it
// goes on, once each.
func (e *loggerEngine) signal(sig unix.Signal) {
	waited := uint64(0)
	e.stopping.Lock()
	switch {
	case sig == unix.SIGSTOP:
		e.stopped = true
	case sig == unix.SIGCONT:
		e.stopped, waited, e.waiting = false, e.waiting, 0
	case e.stopped && sig != unix.SIGKILL:
		e.waiting |= 1 << sig
		e.stopping.Unlock()
		return
	}
	e.stopping.Unlock()
	e.act(sig)
	for sig := unix.Signal(1); waited != 0; sig++ {
		if waited&(1<<sig) != 0 {
			waited &^= 1 << sig
			e.act(sig)
		}
	}
}

// act does it. Its messages are told of apart from where
// signals are taken, since nobody may read stderr: but with -v only, so that there is
// nobody more as a rule.
func (e *loggerEngine) act(sig unix.Signal) {
	tell := func(text string, do func()) {
		if !e.verbose {
			do()
			return
		}
		go func() {
			e.report(logger.Info, text, nil)
			do()
		}()
	}
	switch sig {
	case unix.SIGTERM:
		e.ending.Store(true)
		tell("sigterm received.", e.engine.Stop)
	case unix.SIGHUP:
		tell("sighangup received.", e.engine.Reload)
	case unix.SIGALRM:
		tell("sigalarm received.", e.engine.Rotate)
	case unix.SIGCHLD:
		if e.processors.Load() > 0 {
			e.engine.Reap()
		}
		tell("sigchild received.", func() {})
	case unix.SIGSTOP:
		e.engine.Halt()
	case unix.SIGCONT:
		e.engine.Resume()
	case unix.SIGKILL, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2:
		if process.Ignored(sig) { // by who has started the process
			return
		}
		e.killer.CompareAndSwap(0, int32(sig))
		e.ending.Store(true)
		e.engine.Kill()
	}
}

// obey takes signals.
func obey(sigs map[unix.Signal]chan os.Signal, act func(unix.Signal)) {
	for {
		select {
		case <-sigs[unix.SIGTERM]:
			act(unix.SIGTERM)
		case <-sigs[unix.SIGHUP]:
			act(unix.SIGHUP)
		case <-sigs[unix.SIGALRM]:
			act(unix.SIGALRM)
		case <-sigs[unix.SIGCHLD]:
			act(unix.SIGCHLD)
		}
	}
}

// loggerThreads is how many engines may hang in the kernel at once, each of them in
// a thread: where none can be made, since a user has too many or a control group,
// Go's runtime ends the program.
type loggerThreads struct {
	engines    atomic.Int32
	processors atomic.Int32
	others     int // threads: one for who tells of signals, with -v, and one of a host
	template   atomic.Int32
	files      uint64 // what processors may have open, if that is less than this process may
}

// least is how many threads there have to be: the runtime's, one that looks for what there
// is to do, one for each engine that may hang, and one for what they leave to others.
func (t *loggerThreads) least() int {
	return process.RuntimeThreads() + runtime.GOMAXPROCS(0) + int(t.engines.Load()+t.template.Load()) + 1 + t.others
}

// room says whether there are threads for so many engines at work.
func (t *loggerThreads) room(engines int) bool {
	t.engines.Store(max(t.engines.Load(), int32(engines)))
	return threads.Reserve(t.least())
}

// turns has more processors used when lines come as fast as they are taken: a second one,
// and all by a host, but maxTurns. With a single one each write that takes its time has
// another thread look for what is to be run: that is worth less memory while little comes.
// In a host one engine more may be at work, since a writer that goes on as soon as there is
// room in its pipe takes the processor from who has made it.
func (t *loggerThreads) turns() int {
	n := min(2, runtime.NumCPU())
	engines := n
	if t.files > 0 {
		n = min(maxTurns, runtime.NumCPU())
		engines = n + 1
	}
	if !t.room(engines) || !threads.Reserve(t.least()+n-1) {
		return 1
	}
	runtime.GOMAXPROCS(n)
	return engines
}

// maxTurns is how many processors a host uses, at most.
const maxTurns = 8

// start starts a processor. One is waited for in a thread, and made in another.
func (t *loggerThreads) start(c logger.Child) (func() (unix.WaitStatus, bool), error) {
	if !threads.Reserve(t.least() + int(t.processors.Load()) + 2) {
		return nil, unix.EAGAIN
	}
	if t.files > 0 {
		c.Argv = slices.Clone(c.Argv)
		c.Argv[2] = "ulimit -Sn " + strconv.FormatUint(t.files, 10) + "\n" + c.Argv[2]
	}
	wait, err := logger.StartChild(c)
	if err == nil {
		t.processors.Add(1)
	}
	return wait, err
}

// boundMemory has garbage collected only when some hundred KiB have gathered: a
// rotation makes some 2 KiB of it, a line none. What the runtime takes before
// that is a constant here, since to ask it takes more memory than there may be
// garbage.
func boundMemory(needed int) {
	const (
		runtimes = 5 << 20 // with all that is mapped and never touched
		garbage  = 512 << 10
	)
	debug.SetMemoryLimit(int64(runtimes + garbage + needed))
}

// voice is svlogd on stderr.
type voice struct {
	fd      int // -1: it has none any more
	verbose bool
	ending  atomic.Bool
	mu      sync.Mutex
}

// report writes a message.
func (v *voice) report(level logger.Level, text string, err error) {
	if level == logger.Info && !v.verbose {
		return
	}
	line := "svlogd: " + string(level) + ": " + text
	if err != nil {
		line += ": " + words(err)
	}
	v.write([]byte(line + "\n"))
}

// write writes to stderr. If nobody reads there it waits, but not when the
// logger is to end.
func (v *voice) write(b []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(b) > 0 && v.fd >= 0 {
		p := [1]unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLOUT}}
		patience := 1000
		if v.ending.Load() {
			patience = 50
		}
		if n, err := unix.Poll(p[:], patience); err == nil && n == 0 || err == unix.EINTR {
			if v.ending.Load() {
				return
			}
			continue
		}
		n, err := unix.Write(v.fd, b[:min(len(b), pipeBuf)]) // so much does not block
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return
		}
		b = b[max(n, 0):]
	}
}

// pipeBuf is what a pipe that is ready for writing takes without blocking.
const pipeBuf = 4096
