package initstage

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// An executable that has been replaced keeps the disk it is on busy for as long
// as it runs, and process 1 runs until the end. So before stage 3, which makes the
// disks read-only, and when it gets a USR2 process 1 becomes the program that is at
// its path now: with the same pid, children and console. The new program is tried
// first, in a child, since nothing is left of process 1 if it cannot begin.

// stateName is the environment's variable by which the new program gets what
// the one before knew.
const stateName = "RUNIT_STATE"

// state is what process 1 hands over.
type state struct {
	stage  int // 2, which runs, or 3, which is to be begun
	pid    int // of stage 2
	group  int // process group of stage 2
	asked  bool
	reboot bool
	told   uint64 // signals that came and that nobody has looked at
}

// stateForm is the first word of a state: how the rest is to be read.
const stateForm = "1"

// String is the state as it is handed over.
func (s state) String() string {
	return strings.Join([]string{stateForm, strconv.Itoa(s.stage), strconv.Itoa(s.pid), strconv.Itoa(s.group),
		strconv.FormatBool(s.asked), strconv.FormatBool(s.reboot), strconv.FormatUint(s.told, 16)}, " ")
}

// parseState reads a state, and says whether it is one.
func parseState(text string) (state, bool) {
	f := strings.Fields(text)
	if len(f) != 7 || f[0] != stateForm {
		return state{}, false
	}
	var s state
	var errs [6]error
	s.stage, errs[0] = strconv.Atoi(f[1])
	s.pid, errs[1] = strconv.Atoi(f[2])
	s.group, errs[2] = strconv.Atoi(f[3])
	s.asked, errs[3] = strconv.ParseBool(f[4])
	s.reboot, errs[4] = strconv.ParseBool(f[5])
	s.told, errs[5] = strconv.ParseUint(f[6], 16, 64)
	return s, errors.Join(errs[:]...) == nil && (s.stage == 2 && s.pid > 1 || s.stage == 3 && s.pid == 0)
}

// inherited is the state that this process was handed over, if it was. Its
// children are not told of it. Not the first is any process that this program has
// made of itself.
func inherited() (s state, ok, first bool) {
	text, set := os.LookupEnv(stateName)
	os.Unsetenv(stateName)
	s, ok = parseState(text)
	return s, ok && (s.pid == 0 || ours(s.pid)), !set
}

// ours says whether a process is a child of this one, dead or alive.
func ours(pid int) bool {
	var info unix.Siginfo
	return unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}

// takesOver is what a program answers that can become process 1.
const takesOver = "runitbox takes over\n"

// TakesOver says whether this program could be process 1 in the state, and
// what it answers if it could. It needs the threads then that it makes here.
func TakesOver(text string) (answer string, ok bool) {
	makeSpares()
	_, ok = parseState(text)
	return takesOver, ok
}

// place is the path at which a new executable is found, and the file that was
// there when process 1 began.
type place struct {
	path     string
	dev, ino uint64
}

func placeOf(path string) place {
	p := place{path: path}
	if path == selfExe {
		p.path, _ = os.Readlink(path)
		p.path = strings.TrimSuffix(p.path, " (deleted)")
	}
	p.dev, p.ino, _ = identity(path)
	return p
}

// replaced says whether another file is at the path than the one that runs.
func (p place) replaced() bool {
	dev, ino, err := identity(selfExe)
	if err != nil { // no /proc
		dev, ino = p.dev, p.ino
	}
	d, i, err := identity(p.path)
	return err == nil && (d != dev || i != ino)
}

func identity(path string) (dev, ino uint64, err error) {
	var st unix.Stat_t
	err = unix.Stat(path, &st)
	return uint64(st.Dev), st.Ino, err
}

// try starts the executable that has taken the place of ours, to see whether
// it can take over. The pid is 0 where there is none.
func (k *kernel) try(s state) (int, error) {
	if !k.place.replaced() {
		return 0, nil
	}
	if err := k.takeBack(); err != nil { // nobody would know afterwards that it was lent
		return 0, &forkError{err}
	}
	if k.answer != 0 {
		unix.Close(k.answer) // of one that hung
		k.answer = 0
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, err
	}
	defer unix.Close(pipe[1])
	w := uintptr(pipe[1])
	pid, err := k.fork(k.place.path, []string{"runit", "--takes-over", s.String()}, &syscall.SysProcAttr{Setsid: true}, 0, w, w)
	if err != nil {
		unix.Close(pipe[0])
		return 0, err
	}
	k.answer = pipe[0]
	return pid, nil
}

// passed says whether the executable that was tried, and ended so, can take over.
func (k *kernel) passed(ws unix.WaitStatus) bool {
	var text [len(takesOver) + 1]byte
	n, _ := unix.Read(k.answer, text[:])
	unix.Close(k.answer)
	k.answer = 0
	return ws.Exited() && ws.ExitStatus() == 0 && n > 0 && string(text[:n]) == takesOver
}

// become becomes the new executable. It returns only where that fails, with
// the signals that have come meanwhile. CONT, PWR and what a container's manager
// sends wait in the kernel until the new program asks for them. The Go runtime does
// not let INT and TERM wait, and would end the process for them while nobody has asked:
// they are ignored as long as that can be said.
func (k *kernel) become(s state) (told []unix.Signal, err error) {
	if k.held {
		for _, n := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
			var before sigaction
			if before.get(n) {
				(&sigaction{1}).set(n) // SIG_IGN
				defer before.set(n)
			}
		}
		told = k.deaf()
		defer k.listen()
	}
	for _, sig := range told {
		s.told |= 1 << (sig - 1)
	}
	return told, &verbError{"become " + k.place.path, execHeld(k.place.path, s.String())}
}

// execHeld becomes a program that is told a state, with all signals blocked. It
// only returns an error.
func execHeld(path, state string) error {
	was := holdSignals()
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &was, nil)
	return unix.Exec(path, []string{"runit"}, append(os.Environ(), stateName+"="+state))
}

// heldAtStart says whether the signals that the Go runtime lets be blocked were
// so when this process began. Then they are in all of its threads but the one that
// the runtime has for them, and only so can they be made to wait.
func heldAtStart() bool {
	var now unix.Sigset_t
	unix.PthreadSigmask(unix.SIG_BLOCK, nil, &now)
	for _, n := range []unix.Signal{unix.SIGCONT, unix.SIGPWR, sigHalt, sigPowerOff, sigReboot} {
		if now.Val[(n-1)/wordBits]&(1<<((n-1)%wordBits)) == 0 {
			return false
		}
	}
	return true
}

// holdSignals blocks every signal in this thread, and returns what was blocked.
func holdSignals() (was unix.Sigset_t) {
	var all unix.Sigset_t
	for n := unix.Signal(1); n <= 64; n++ {
		if n != unix.SIGURG { // the runtime's own
			all.Val[(n-1)/wordBits] |= 1 << ((n - 1) % wordBits)
		}
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &all, &was)
	return was
}

// Become makes process 1 the program at path, called runit; where there is
// none this executable is it. It only returns an error. Until the new program
// asks for its signals they are held back.
func Become(path string) error {
	runtime.LockOSThread()
	holdSignals()
	argv := []string{"runit"}
	err := unix.Exec(path, argv, os.Environ())
	if errors.Is(err, unix.ENOENT) {
		unix.Exec(Executable(), argv, os.Environ())
	}
	return &verbError{"unable to start runit", err}
}
