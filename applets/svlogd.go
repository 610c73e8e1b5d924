package applets

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/logger"
	"runitbox/procenv"
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
			return runLogger(o, flags.verbose > 0, 0)
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

// runLogger runs an engine as this process: its signals, its messages. Before are
// the bytes that the process has taken before.
func runLogger(o logger.Options, verbose bool, before int) error {
	procenv.NoHugePages()
	// There is next to no garbage, and collecting it by the clock would wake
	// the process up for nothing.
	debug.SetGCPercent(-1)

	e := voice{verbose: verbose}
	least := process.RuntimeThreads() + threads.Template + min(2, runtime.NumCPU()) + 2 // the engine, and what it leaves to others
	threads.Await(least, func(err error) { e.report(logger.Warning, err.Error(), nil) })

	// Signals are taken first, before anything of theirs can be missed. Each waits
	// in a place of its own: a storm of one must not cost another. SIGPIPE is
	// caught and not ignored, since processors would inherit that.
	waits := map[os.Signal]chan os.Signal{}
	process.IgnorePipe()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGALRM, unix.SIGCHLD} {
		waits[sig] = make(chan os.Signal, 2) // a second TERM counts
		process.Catch(waits[sig], sig)
	}

	root, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fatal{"svlogd", 111, errors.New("unable to open current working directory: " + words(err))}
	}
	go threads.Reserve(least)
	var processors atomic.Int32
	start := func(c logger.Child) (func() (unix.WaitStatus, bool), error) {
		// One is waited for in a thread, and made in another.
		if !threads.Reserve(least + int(processors.Load()) + 2) {
			return nil, unix.EAGAIN
		}
		wait, err := logger.StartChild(c)
		if err != nil {
			return nil, err
		}
		processors.Add(1)
		return func() (unix.WaitStatus, bool) {
			defer processors.Add(-1)
			return wait()
		}, nil
	}
	o.Root, o.Now, o.Report, o.Stderr, o.Start = root, time.Now, e.report, e.write, start
	// With a single turn each write that takes its time has another thread look
	// for what is to be run: that is worth less memory while little comes.
	o.Busy = func() { runtime.GOMAXPROCS(min(2, runtime.NumCPU())) }
	engine, err := logger.New(o)
	if err != nil {
		return fatal{"svlogd", 111, err}
	}
	on := func(sig os.Signal, do func()) {
		go func() { // apart from the others: one of those may wait for stderr
			for range waits[sig] {
				do()
			}
		}()
	}
	on(unix.SIGTERM, func() {
		e.ending.Store(true)
		e.report(logger.Info, "sigterm received.", nil)
		engine.Stop()
	})
	on(unix.SIGHUP, func() {
		e.report(logger.Info, "sighangup received.", nil)
		engine.Reload()
	})
	on(unix.SIGALRM, func() {
		e.report(logger.Info, "sigalarm received.", nil)
		engine.Rotate()
	})
	on(unix.SIGCHLD, func() { e.report(logger.Info, "sigchild received.", nil) })
	deaths := make(chan os.Signal, 1)
	process.Catch(deaths, unix.SIGCHLD)
	go func() { // apart from who tells of it
		for range deaths {
			engine.Reap()
		}
	}()
	if !threads.Scarce() { // else it has them
		spareThreads(waiters)
	}
	boundMemory(before + 3*o.Buffer)
	if err := engine.Run(); err != nil {
		return fatal{"svlogd", 111, err}
	}
	return nil
}

// waiters are the goroutines that may be in the kernel at once: the engine, its
// chores, and whoever tells of a signal; in a flood there is a second turn. A
// thread more looks for others to run.
const waiters = 4

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
	for len(b) > 0 {
		p := [1]unix.PollFd{{Fd: 2, Events: unix.POLLOUT}}
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
		n, err := unix.Write(2, b[:min(len(b), pipeBuf)]) // so much does not block
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return
		}
		b = b[max(n, 0):]
	}
}

// pipeBuf is what a pipe that is ready for writing takes without blocking.
const pipeBuf = 4096
