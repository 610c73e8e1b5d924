package applets

import (
	"errors"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/logger"
	"runitbox/supervise/loghost"
	process "runitbox/supervise/self"
	"runitbox/supervise/sys"
	"runitbox/supervise/threads"
)

// parseLogger reads the arguments of a svlogd; ok is false where it is to do anything but
// log.
func parseLogger(args []string) (o logger.Options, verbose, ok bool) {
	var flags loggerFlags
	var cmd cobra.Command
	flags.add(&cmd)
	cmd.Flags().SetInterspersed(false)
	if cmd.ParseFlags(args) != nil || flags.version || cmd.Flags().Changed("help") {
		return o, false, false
	}
	o, ok = flags.options(&cmd, cmd.Flags().Args())
	return o, flags.verbose > 0, ok
}

// logHost runs the engines of several log services.
type logHost struct {
	host    *logger.Host
	link    *loghost.Link
	threads *loggerThreads

	mu      sync.Mutex
	engines map[uint32]*loggerEngine
	bound   int // the memory limit is for so many
	tidy    *time.Timer
	args    []string // of the last that came, as a rule those of all, and what they mean
	options logger.Options
	verbose bool
	short   bool        // that there are too few descriptors was said
	title   *time.Timer // until ps shows how many engines there are; nil: there was one only
}

// titleTime is how late ps may show how many engines there are.
const titleTime = 50 * time.Millisecond

// show has ps show how many engines there are, in place of the arguments of the first. The
// caller has locked.
func (h *logHost) show() {
	switch {
	case h.title != nil:
		h.title.Reset(titleTime)
	case len(h.engines) > 1:
		h.title = time.AfterFunc(titleTime, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			logs := " logs"
			if len(h.engines) == 1 {
				logs = " log"
			}
			process.Title("svlogd: " + strconv.Itoa(len(h.engines)) + logs) // where it cannot, ps shows what it did
		})
	}
}

// runHost has first go on as an engine of its own, and takes others.
func runHost(host *logger.Host, link *loghost.Link, first *loggerEngine, sigs map[unix.Signal]chan os.Signal) error {
	h := &logHost{host: host, link: link, threads: first.threads, engines: map[uint32]*loggerEngine{loghost.First: first}, bound: 1}
	go obey(sigs, h.all)
	if err := h.launch(loghost.First); err != nil {
		return fatal{"svlogd", 111, err}
	}
	unix.Chdir("/") // the first may end before the others do
	link.Serve(h)
	return nil
}

// all does to each engine what a signal to the process does.
func (h *logHost) all(sig unix.Signal) {
	if sig == unix.SIGTERM {
		h.link.End()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.engines {
		e.signal(sig)
	}
}

// Take prepares an engine that another log service leaves to this process.
func (h *logHost) Take(from loghost.Engine) error {
	e := &loggerEngine{voice: voice{fd: from.Stderr}, threads: h.threads}
	e.close = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.fd = -1
		sys.CloseAll([]int{from.Input, from.Dir, from.Stderr})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	if h.args == nil || !slices.Equal(from.Options, h.args) {
		var ok bool
		h.args = from.Options
		if h.options, h.verbose, ok = parseLogger(from.Options); !ok {
			h.args, err = nil, errors.New("no log")
		}
	}
	o := h.options
	o.Root, o.Input, e.verbose = from.Dir, from.Input, h.verbose
	if !slices.Equal(from.Env, os.Environ()) { // as a rule it is ours
		o.Env = from.Env
	}
	if err == nil {
		err = e.prepare(h.host, o)
	}
	if err != nil {
		e.close()
		return err
	}
	h.engines[from.ID] = e
	h.show()
	if len(h.engines) > h.bound {
		h.bound = 2 * len(h.engines)
		debug.SetMemoryLimit(7<<20 + int64(h.bound)*32<<10)
	}
	if h.tidy == nil {
		h.tidy = time.AfterFunc(loggerTidyTime, h.tidyUp)
	} else {
		h.tidy.Reset(loggerTidyTime)
	}
	return nil
}

// loggerTidyTime is after what time without another engine what taking them took is given
// back: with fewer than tidyEngines the first collection takes more memory than that, and
// to end fewer threads than tidyThreads takes one.
const (
	loggerTidyTime = 2 * time.Second
	tidyEngines    = 40
	tidyThreads    = 3
)

// tidyUp gives that back.
func (h *logHost) tidyUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.engines) >= tidyEngines {
		debug.FreeOSMemory()
	}
	if least := h.threads.least(); threads.Count() >= least+tidyThreads {
		h.threads.template.Store(threads.Template)
		threads.Trim(least + threads.Template)
	}
}

// NoRoom says, once, that there are too few descriptors for another engine.
func (h *logHost) NoRoom() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.short {
		return
	}
	h.short = true
	var l unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	go os.Stderr.WriteString(fmt.Sprintf("svlogd: warning: too few descriptors for more than %d logs in a process: the limit is %d; other logs have processes of their own.\n", len(h.engines), l.Cur))
}

// Quit ends the process.
func (h *logHost) Quit() { os.Exit(0) }

// Run lets an engine run that was taken.
func (h *logHost) Run(id uint32) {
	if h.launch(id) != nil {
		h.Drop(id)
		go h.link.Ended(id, 111<<8)
	}
}

// launch starts an engine and has its end told.
func (h *logHost) launch(id uint32) error {
	e := h.get(id)
	if e == nil {
		return unix.ESRCH
	}
	return e.engine.Start(func(err error) {
		go func() { // what follows may wait for whoever reads stderr
			ws := unix.WaitStatus(0)
			switch {
			case err == logger.ErrKilled:
				ws = unix.WaitStatus(e.killer.Load())
			case err != nil:
				e.report(logger.Fatal, words(err), nil)
				ws = 111 << 8
			}
			h.Drop(id)
			h.link.Ended(id, ws)
		}()
	})
}

func (h *logHost) get(id uint32) *loggerEngine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.engines[id]
}

// Drop forgets an engine that does not run.
func (h *logHost) Drop(id uint32) {
	h.mu.Lock()
	e := h.engines[id]
	delete(h.engines, id)
	h.show()
	h.mu.Unlock()
	if e != nil && e.close != nil {
		e.close()
	}
}

// Send does to an engine what a signal does to a process.
func (h *logHost) Send(id uint32, sig unix.Signal) {
	if e := h.get(id); e != nil {
		e.signal(sig)
	}
}

// ownInput makes descriptor 0 one that can be closed when the first engine has ended,
// which others outlive.
func ownInput(e *loggerEngine, root int) int {
	in, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return 0
	}
	if null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		unix.Dup3(null, 0, 0)
		unix.Close(null)
	}
	e.close = func() { sys.CloseAll([]int{in, root}) }
	return in
}
