package initstage

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
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

// Run is process 1. It does not return but in a container that cannot be ended
// by reboot(2); what it returns is the status to exit with.
func Run(c Config) int {
	children, signals := make(chan os.Signal, 1), make(chan os.Signal)
	askForSignals(children, signals)
	catchRest()
	onlyFromOthers(unix.SIGCONT)
	unix.Setsid() // fails where a container's manager has done it

	// This thread forks the stages, which inherit its signal mask.
	runtime.LockOSThread()
	unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
	runtime.GOMAXPROCS(1)
	makeSpares()

	k := &kernel{Config: c, self: executable()}
	k.console = openConsole()
	k.inContainer = inContainer()
	k.say("%s: booting.", c.Version)
	return newOne(k).loop(children, signals)
}

// askForSignals has every signal delivered that a process can ask for, so that
// none ends process 1. Those without a meaning go where nobody looks. The others
// wait each in a place of its own: a storm of one must not cost another.
func askForSignals(children, signals chan os.Signal) {
	nowhere := make(chan os.Signal, 1)
	for n := unix.Signal(1); n <= 64; n++ {
		switch {
		case n == unix.SIGKILL, n == unix.SIGSTOP, n == unix.SIGURG: // the runtime's own
		case n == unix.SIGCHLD:
			signal.Notify(children, n)
		case n == unix.SIGCONT, asks[n].halt, asks[n].reboot:
			waits := make(chan os.Signal, 1)
			signal.Notify(waits, n)
			go func() {
				for sig := range waits {
					signals <- sig
				}
			}()
		default:
			signal.Notify(nowhere, n)
		}
	}
}

// catchRest has the two signals ignored that the Go runtime leaves to C
// libraries. The kernel keeps signals without a handler from process 1, but not
// those that come while its first thread has them blocked, as it has while it
// handles another or forks: those would end it. A handler that does nothing is
// not inherited by the stages, as SIG_IGN would be.
func catchRest() {
	for _, n := range []unix.Signal{32, 34} {
		setHandler(n, unix.SIGUSR1, func(uintptr) uintptr { return handler() })
	}
}

// onlyFromOthers has the signal not delivered where process 1 or the kernel has
// sent it: to whose terminal has hung up the kernel sends a CONT that nobody
// means as a request. Other machines than amd64 and arm64 cannot tell.
func onlyFromOthers(n unix.Signal) {
	if filter() != 0 {
		setHandler(n, n, func(runtime uintptr) uintptr {
			filtered = runtime
			return filter()
		})
	}
}

// filtered is the handler that filter calls.
var filtered uintptr

// setHandler makes what handler returns the handler of n, with the flags of
// another signal, whose handler it is given.
func setHandler(n, like unix.Signal, handler func(uintptr) uintptr) {
	const size = 64 / 8   // of the kernel's signal set
	var action [8]uintptr // struct sigaction, which is no longer than this; the handler is its first word
	if _, _, no := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(like), 0, uintptr(unsafe.Pointer(&action)), size, 0, 0); no == 0 {
		action[0] = handler(action[0])
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, size, 0, 0)
	}
}

// makeSpares makes threads and leaves them to the runtime.
func makeSpares() {
	ready, release := make(chan bool), make(chan bool)
	for range spares {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready <- true
			<-release
		}()
	}
	for range spares {
		<-ready
	}
	close(release)
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

// executable is the path that this program was executed by. The kernel tells
// it in the auxiliary vector too, which is there before /proc is.
func executable() string {
	if aux, err := unix.Auxv(); err == nil {
		const execfn = 31
		for _, a := range aux {
			if a[0] == execfn && a[1] != 0 {
				// The vector lives as long as the process.
				path := unix.BytePtrToString(*(**byte)(unsafe.Pointer(&a[1])))
				if filepath.IsAbs(path) && unix.Access(path, unix.X_OK) == nil {
					return path
				}
			}
		}
	}
	return "/proc/self/exe"
}

// kernel is the system of a real process 1.
type kernel struct {
	Config
	console
	self        string
	inContainer bool
}

func (k *kernel) words(err error) string {
	if no, ok := errors.AsType[*forkError](err); ok {
		err = no.cause
	}
	return k.Words(err)
}

func (k *kernel) contained() bool           { return k.inContainer }
func (k *kernel) name(stage int) string     { return filepath.Join(k.Paths.Dir, strconv.Itoa(stage)) }
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
	if _, err := os.Lstat(path); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
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
		if err := k.lend(); err != nil {
			k.say("warning: unable to %s", k.words(err))
		}
		attr.Setpgid = k.lent
	} else {
		attr.Setsid = true
	}
	pid, err := k.fork(path, argv, attr)
	if err == nil && k.lent {
		k.foreground(pid)
	}
	return pid, err
}

func (k *kernel) startScript() (int, error) {
	k.refresh()
	return k.fork(k.scriptName(), []string{k.scriptName()}, &syscall.SysProcAttr{})
}

// fork starts a program with process 1's environment.
func (k *kernel) fork(path string, argv []string, attr *syscall.SysProcAttr) (int, error) {
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   attr,
	})
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

// Become makes process 1 the program at path, called runit; where there is
// none this executable is it. It only returns an error. Until the new program
// asks for its signals they are held back.
func Become(path string) error {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for n := unix.Signal(1); n <= 64; n++ {
		if n != unix.SIGURG { // the runtime's own
			all.Val[(n-1)/wordBits] |= 1 << ((n - 1) % wordBits)
		}
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil)
	argv := []string{"runit"}
	err := unix.Exec(path, argv, os.Environ())
	if errors.Is(err, unix.ENOENT) {
		unix.Exec(executable(), argv, os.Environ())
	}
	return &verbError{"unable to start runit", err}
}

// wordBits is how many signals a word of a signal set holds.
const wordBits = unix.Signal(8 * unsafe.Sizeof(unix.Sigset_t{}.Val[0]))
