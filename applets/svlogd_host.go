package applets

import (
	"errors"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/logger"
	"runitbox/supervise"
)

// logHost runs the engines of several log services.
type logHost struct {
	host    *logger.Host
	link    *supervise.HostLink
	threads *loggerThreads

	mu      sync.Mutex
	engines map[uint32]*hosted
	room    int // the memory limit is for so many
	tidy    *time.Timer
}

// runHost has first go on as an engine of its own, and takes others.
func runHost(host *logger.Host, link *supervise.HostLink, first *hosted, sigs map[unix.Signal]chan os.Signal) error {
	h := &logHost{host: host, link: link, threads: first.threads, engines: map[uint32]*hosted{link.First: first}, room: 1}
	go obey(sigs, h.all)
	if err := h.launch(link.First); err != nil {
		return fatal{"svlogd", 111, err}
	}
	unix.Chdir("/") // the first may end before the others do
	link.Serve(supervise.HostCalls{Take: h.take, Run: h.run, Send: h.send, Drop: h.drop, Quit: func() { os.Exit(0) }})
	return nil
}

// all does to each engine what a signal to the process does.
func (h *logHost) all(sig unix.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.engines {
		e.signal(sig)
	}
}

// take prepares an engine that another log service leaves to this process.
func (h *logHost) take(from supervise.Engine) error {
	e := &hosted{voice: voice{fd: from.Stderr}, threads: h.threads}
	e.close = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.fd = -1
		for _, fd := range []int{from.Input, from.Dir, from.Stderr} {
			unix.Close(fd)
		}
	}
	cmd := svlogdCommand("svlogd", func(o logger.Options, _ []string, verbose bool) error {
		e.verbose = verbose
		o.Root, o.Input = from.Dir, from.Input
		if !slices.Equal(from.Env, os.Environ()) { // as a rule it is ours
			o.Env = from.Env
		}
		return e.prepare(h.host, o)
	})
	cmd.SetArgs(from.Args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Flags().SetInterspersed(false)
	if err := cmd.Execute(); err != nil || e.engine == nil {
		e.close()
		return errors.Join(err, unix.EINVAL)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.engines[from.ID] = e
	if len(h.engines) > h.room {
		h.room = 2 * len(h.engines)
		debug.SetMemoryLimit(memoryFor(h.room))
	}
	if h.tidy == nil {
		h.tidy = time.AfterFunc(tidyTime, debug.FreeOSMemory)
	}
	h.tidy.Reset(tidyTime)
	return nil
}

// tidyTime is after what time without another engine the memory that taking them took is
// given back.
const tidyTime = 2 * time.Second

// memoryFor is what may be taken until garbage is looked for.
func memoryFor(engines int) int64 { return 7<<20 + int64(engines)*32<<10 }

// run lets an engine run that was taken.
func (h *logHost) run(id uint32) {
	if h.launch(id) != nil {
		h.drop(id)
		h.link.Ended(id, 111<<8)
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
			ws := syscall.WaitStatus(0)
			switch {
			case err == logger.ErrKilled:
				ws = syscall.WaitStatus(e.killer.Load())
			case err != nil:
				e.report(logger.Fatal, words(err), nil)
				ws = 111 << 8
			}
			h.drop(id)
			h.link.Ended(id, ws)
		}()
	})
}

func (h *logHost) get(id uint32) *hosted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.engines[id]
}

// drop forgets an engine that does not run.
func (h *logHost) drop(id uint32) {
	h.mu.Lock()
	e := h.engines[id]
	delete(h.engines, id)
	h.mu.Unlock()
	if e != nil && e.close != nil {
		e.close()
	}
}

// send does to an engine what a signal does to a process.
func (h *logHost) send(id uint32, sig syscall.Signal) {
	if e := h.get(id); e != nil {
		e.signal(sig)
	}
}

// ownInput makes descriptor 0 one that can be closed when the first engine has ended,
// which others outlive.
func ownInput(e *hosted, root int) int {
	in, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return 0
	}
	if null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		unix.Dup3(null, 0, 0)
		unix.Close(null)
	}
	e.close = func() {
		unix.Close(in)
		unix.Close(root)
	}
	return in
}
