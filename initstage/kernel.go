package initstage

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// Config is what process 1 is told by its applet.
type Config struct {
	Version string
	Words   func(error) string // how the suite tells an error
	Paths   Paths
}

// spares are the threads made beforehand, so that the Go runtime never asks
// for one when the process table is full: it would end the process.
const spares = 3

// Threads is how many threads Run needs beside those that the runtime has for itself:
// one that process 1 keeps, and the spares.
const Threads = 1 + spares

// Run is process 1. It does not return but in a container that is to end; what it returns is the status to exit with.
func Run(c Config) int {
	runtime.LockOSThread()
	before, goesOn, first := inherited()
	k := &kernel{Config: c, self: Executable(), held: heldAtStart()}
	if !k.held && first {
		execHeld(k.self, "") // where it fails this one will do
	}
	k.children, k.signals = make(chan os.Signal, 1), make(chan os.Signal)
	k.listen()
	catchRest()
	unix.Setsid() // fails where a container's manager has done it
	runtime.GOMAXPROCS(1)
	makeSpares()

	k.place = placeOf(k.self)
	k.console = openConsole()
	k.inContainer = inContainer()
	o := newOne(k)
	if goesOn {
		k.say("%s: goes on in place of another.", c.Version)
		o.load(before)
	} else if !k.quiet(1) {
		k.say("%s: booting.", c.Version)
	}
	return o.loop(k.children, k.signals)
}

// listen asks for the signals.
func (k *kernel) listen() {
	k.deaf = askForSignals(k.children, k.signals)
	onlyFromOthers(unix.SIGCONT)
}

// askForSignals has every signal delivered that a process can ask for, so that
// none ends process 1. Those without a meaning go where nobody looks. The others
// wait each in a place of its own: a storm of one must not cost another. What it
// returns ends that, and returns those that have come and not been taken; the Go
// runtime would end the process then for an INT or a TERM that is not ignored.
func askForSignals(children, signals chan os.Signal) (deaf func() []unix.Signal) {
	nowhere := make(chan os.Signal, 1)
	var places []chan os.Signal
	var forwarding sync.WaitGroup
	for n := unix.Signal(1); n <= 64; n++ {
		switch {
		case n == unix.SIGKILL, n == unix.SIGSTOP, n == unix.SIGURG: // the runtime's own
		case n == unix.SIGCHLD:
			signal.Notify(children, n)
		case n == unix.SIGCONT, n == unix.SIGUSR2, asks[n].halt, asks[n].reboot:
			waits := make(chan os.Signal, 1)
			places = append(places, waits)
			signal.Notify(waits, n)
			forwarding.Go(func() {
				for sig := range waits {
					signals <- sig
				}
			})
		default:
			signal.Notify(nowhere, n)
		}
	}
	return func() (told []unix.Signal) {
		for _, c := range places {
			signal.Stop(c)
		}
		for _, c := range places {
			close(c)
		}
		over := make(chan bool)
		go func() { forwarding.Wait(); close(over) }()
		for {
			select {
			case sig := <-signals:
				told = append(told, sig.(unix.Signal))
			case <-over:
				return told
			}
		}
	}
}

// catchRest has the two signals ignored that the Go runtime leaves to C
// libraries. The kernel keeps signals without a handler from process 1, but not
// those that come while its first thread has them blocked, as it has while it
// handles another or forks: those would end it. A handler that does nothing is
// not inherited by the stages, as SIG_IGN would be.
func catchRest() {
	var action sigaction
	if !action.get(unix.SIGUSR1) {
		return
	}
	action[0] = handler()
	for _, n := range []unix.Signal{32, 34} {
		action.set(n)
	}
}

// onlyFromOthers has the signal not delivered where process 1 or the kernel has
// sent it: to whose terminal has hung up the kernel sends a CONT that nobody
// means as a request. Other machines than amd64 and arm64 cannot tell.
func onlyFromOthers(n unix.Signal) {
	var action sigaction
	if filter() == 0 || !action.get(n) || action[0] == filter() {
		return
	}
	filtered, action[0] = action[0], filter()
	action.set(n)
}

// filtered is the handler that filter calls.
//
//lint:ignore U1000 the assembly reads it
var filtered uintptr

// sigaction is the kernel's, which is no longer than this. The handler is its
// first word.
type sigaction [8]uintptr

// get reads what a signal does, and says whether it could.
func (a *sigaction) get(n unix.Signal) bool {
	_, _, no := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(a)), 64/8, 0, 0)
	return no == 0
}

// set makes a signal do so.
func (a *sigaction) set(n unix.Signal) {
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(a)), 0, 64/8, 0, 0)
}

// makeSpares makes threads and leaves them to the runtime. It has them back when
// this returns: one that is still locked would be no spare.
func makeSpares() {
	ready, release, free := make(chan bool), make(chan bool), make(chan bool, spares)
	for range spares {
		go func() {
			runtime.LockOSThread()
			ready <- true
			<-release
			runtime.UnlockOSThread()
			free <- true
		}()
	}
	for range spares {
		<-ready
	}
	close(release)
	for range spares {
		<-free
	}
}

// inContainer says whether this is no machine of its own: ctrl-alt-del cannot be
// turned into a signal. Where it can, it now is.
func inContainer() bool {
	return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) != nil && !initialNamespace()
}

// initialNamespace says whether this is certainly the PID namespace of the
// machine: its number is fixed. Without /proc it is not known.
func initialNamespace() bool {
	link, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && link == "pid:[4026531836]"
}

// Executable is the path that this program was executed by. The kernel tells
// it in the auxiliary vector, which is there where /proc is not.
func Executable() string {
	aux, _ := unix.Auxv()
	const execfn = 31
	for _, a := range aux {
		if a[0] == execfn && a[1] != 0 {
			// The vector lives as long as the process.
			path := unix.BytePtrToString(*(**byte)(unsafe.Pointer(&a[1])))
			if path, err := filepath.Abs(path); err == nil && unix.Access(path, unix.X_OK) == nil {
				return path
			}
		}
	}
	return selfExe
}

// selfExe leads to the running executable even when its file is gone.
const selfExe = "/proc/self/exe"

// kernel is the system of a real process 1.
type kernel struct {
	Config
	console
	self        string
	inContainer bool
	children    chan os.Signal
	signals     chan os.Signal
	deaf        func() []unix.Signal // ends what listen began
	held        bool                 // no thread but the runtime's own takes signals
	place       place
	answer      int // where the executable that is tried answers
}

func (k *kernel) words(err error) string {
	if no, ok := errors.AsType[*forkError](err); ok {
		err = no.cause
	}
	return k.Words(err)
}

func (k *kernel) contained() bool       { return k.inContainer }
func (k *kernel) name(stage int) string { return filepath.Join(k.Paths.Dir, strconv.Itoa(stage)) }

// quiet says whether nothing is to be said of a stage where all goes well: in a container,
// whose first line is to be its services', the built-in ones have nothing to tell.
func (k *kernel) quiet(stage int) bool { return k.inContainer && !k.hasStage(stage) }

// hasStage says whether there is a script for the stage.
func (k *kernel) hasStage(stage int) bool {
	_, err := os.Lstat(k.name(stage))
	return !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR)
}

func (k *kernel) scriptName() string        { return filepath.Join(k.Paths.Dir, "ctrlaltdel") }
func (k *kernel) hasScript() bool           { return Flag{k.scriptName()}.Set() }
func (k *kernel) stopSet() bool             { return k.Paths.Stop.Set() }
func (k *kernel) rebootSet() bool           { return k.Paths.Reboot.Set() }
func (k *kernel) haltSet() bool             { return k.Paths.Halt.Set() }
func (k *kernel) kill(p int, s unix.Signal) { unix.Kill(p, s) }

func (k *kernel) clearStop() {
	if err := k.Paths.Stop.Clear(); err != nil {
		k.say("warning: unable to %s", k.words(err))
	}
}

func (k *kernel) setReboot(on bool) error {
	if on {
		return k.Paths.Reboot.Raise()
	}
	return k.Paths.Reboot.Clear()
}

// reap collects one dead child.
func (k *kernel) reap() (int, unix.WaitStatus) {
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, 0 // there are no children
		default:
			return pid, ws
		}
	}
}

// start starts a stage: its script or, where there is none, the built-in one.
func (k *kernel) start(stage int) (int, error) {
	path, argv := k.name(stage), []string{k.name(stage)}
	if !k.hasStage(stage) {
		path, argv = k.self, []string{"runit", "--stage", strconv.Itoa(stage)}
	}
	if stage != 1 {
		if err := k.takeBack(); err != nil {
			return 0, &forkError{err}
		}
	}
	k.refresh()
	attr := &syscall.SysProcAttr{}
	if stage == 1 {
		// Stage 1 has the console to itself, so that its emergency shell works.
		if err := k.lend(); err != nil && !k.inContainer { // which may have none
			k.say("warning: unable to %s", k.words(err))
		}
		attr.Setpgid = k.lent
	} else {
		attr.Setsid = true
	}
	pid, err := k.fork(path, argv, attr, 0, 1, 2)
	if err == nil && k.lent {
		k.foreground(pid)
	}
	return pid, err
}

func (k *kernel) startScript() (int, error) {
	k.refresh()
	return k.fork(k.scriptName(), []string{k.scriptName()}, &syscall.SysProcAttr{}, 0, 1, 2)
}

// fork starts a program with process 1's environment, and with no signal blocked,
// which it inherits from the thread that starts it.
func (k *kernel) fork(path string, argv []string, attr *syscall.SysProcAttr, files ...uintptr) (int, error) {
	var was unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, &was)
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil)
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: files, Sys: attr})
	if later(err) {
		return 0, &forkError{err}
	}
	return pid, err
}

// later says whether err is one that a fork may not have another time.
func later(err error) bool {
	switch err {
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EINTR:
		return true
	}
	return false
}

// forkError is the cause of a fork that may succeed another time.
type forkError struct{ cause error }

func (e *forkError) Error() string   { return e.cause.Error() }
func (e *forkError) Unwrap() []error { return []error{errNoFork, e.cause} }

// killAll kills all but process 1, and again those that come of it.
func (k *kernel) killAll() {
	for range 3 {
		if unix.Kill(-1, unix.SIGKILL) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// power ends the system from another thread, since reboot(2) may end the
// thread that calls it.
func (k *kernel) power(what powerDown, tell func(error)) {
	cmd := map[powerDown]uint32{
		powerOff:    unix.LINUX_REBOOT_CMD_POWER_OFF,
		powerReboot: unix.LINUX_REBOOT_CMD_RESTART,
		powerHalt:   unix.LINUX_REBOOT_CMD_HALT,
	}[what]
	nosync := filepath.Join(k.Paths.Dir, "nosync")
	go func() {
		if _, err := os.Lstat(nosync); err != nil {
			unix.Sync()
		}
		tell(nil)
		if err := unix.Reboot(int(cmd)); err != nil {
			tell(fmt.Errorf("reboot: %w", err))
		}
	}()
}

// wordBits is how many signals a word of a signal set holds.
const wordBits = unix.Signal(8 * unsafe.Sizeof(unix.Sigset_t{}.Val[0]))
