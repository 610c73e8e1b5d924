// Package threads sees to it that the Go runtime has the threads that it needs.
//
// Go's runtime makes a thread when it has something to run and all that there are
// hang in system calls, and ends the process where it gets none: at a limit of the
// user's processes (RLIMIT_NPROC) or of a cgroup's (pids.max). So what supervises
// makes the threads that it needs while there is room, has no more goroutines in
// system calls that may block than there are threads for, and asks before it makes more.
// Threads that do nothing stay; the runtime takes these first.
package threads

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/child"
	"runitbox/supervise/sys"
)

// Runtime are those that the runtime has for itself: one for its poller and timers, and
// one that watches. Besides there is one for each processor that it uses; one that makes
// others (Template) from when a goroutine was first locked to its thread; and where
// package os/signal is asked for signals there are two for these, and so the template.
const (
	Runtime  = 2
	Template = 1
	Signals  = 2 + Template
)

// Count is how many threads the runtime has.
func Count() int {
	n, _ := runtime.ThreadCreateProfile(nil)
	return n
}

// Reserve sees to it that the runtime has n threads, and says whether it has:
// that it has not is for want of room.
func Reserve(n int) bool {
	if Count() >= n {
		return true
	}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return false
	}
	defer unix.Close(p[0])
	over := make(chan bool)
	waiting := 0
	var held atomic.Int32
	h := child.NewSlot()
	// Each of these holds a thread; who goes on needs another.
	for waiting < 2*n && Count() < n && child.HasRoom(h) {
		waiting++
		go func() {
			var b [1]byte
			held.Add(1)
			for _, err := unix.Read(p[0], b[:]); err == unix.EINTR; _, err = unix.Read(p[0], b[:]) {
			}
			over <- true
		}()
		for int(held.Load()) < waiting { // then it has a thread, which need not be a new one
			runtime.Gosched()
		}
	}
	// It never waits. The scheduler is not told: all other threads are held, and for what
	// others do meanwhile it might make one more.
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(p[1]), 0, 0)
	for range waiting {
		<-over
	}
	return Count() >= n
}

// More says whether the runtime has n threads, and makes them if it can. Where
// there may be too little room it makes none: what has been started may take the last
// room between the look whether there is some and the thread.
func More(n int) bool {
	return Count() >= n || !Scarce() && Reserve(n)
}

// Trim ends the threads that the runtime has beyond n. From then on it has a template, too.
func Trim(n int) {
	for range Count() - n {
		go func() {
			runtime.LockOSThread() // for ever: the thread ends with this
			if unix.Gettid() == unix.Getpid() {
				runtime.UnlockOSThread() // the first one would stay, and do nothing any more
			}
		}()
	}
}

// Await waits until the runtime has n threads, where there may be room for few
// only; say is told of that, once. It belongs before signals, timers and pollers are
// asked for: these have their threads from the runtime, which ends the process where
// it gets none. Until it returns, signals do what they do by default. It waits for one
// more than that: one that comes out of a call is not in reserve at once. It says whether
// there may be room for few: then the runtime has a template.
func Await(n int, say func(error)) (scarce bool) {
	if !Scarce() {
		return false
	}
	Wait(func() bool { return makeTemplate() && Reserve(n+1) },
		func() { say(errors.New("too few processes may be made; waiting.")) }, nil)
	return true
}

// Wait tries each second to reserve threads, until reserve says that there are enough, or
// a signal ends that, which it returns. say is called, once, where it has to wait. It is
// for where there is room for few.
//
// Meanwhile the runtime uses one processor. For another one that is idle it would make a
// thread where none is at rest, as those that were just reserved are not yet.
func Wait(reserve func() bool, say func(), end <-chan os.Signal) os.Signal {
	processors := runtime.GOMAXPROCS(1)
	defer func() {
		settle()
		runtime.GOMAXPROCS(processors)
	}()
	for said := false; !reserve(); said = true {
		if !said {
			say()
		}
		select {
		case sig := <-end:
			return sig
		case <-time.After(time.Second):
		}
	}
	return nil
}

// settle waits, a tenth of a second at most, until all threads but the calling one wait.
func settle() {
	for range 100 {
		time.Sleep(time.Millisecond)
		if atRest() {
			return
		}
	}
}

// atRest says whether they do; true where that cannot be seen.
func atRest() bool {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return true
	}
	defer dir.Close()
	tasks, _ := dir.Readdirnames(-1)
	awake := 0
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task + "/stat")
		if err != nil {
			continue
		}
		// The state stands behind the name, which may hold anything but ends with ") ".
		if i := strings.LastIndex(string(b), ") "); i >= 0 && i+2 < len(b) && b[i+2] == 'R' {
			awake++
		}
	}
	return awake <= 1
}

// makeTemplate sees to the thread by which the runtime makes others where a goroutine
// is locked to its own, as those for signals are, and says whether there is room for it.
// The runtime makes it anew, however many it has in reserve.
func makeTemplate() bool {
	if !child.HasRoom(child.NewSlot()) {
		return false
	}
	runtime.LockOSThread()
	runtime.UnlockOSThread()
	return true
}

// ample is room for so many processes and threads that nobody has to wait for his.
const ample = 200

// Scarce says whether there may be room for few processes and threads only, as far as
// that can be told without making any: by the user's limit, and those of the cgroups.
func Scarce() bool {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &l) == nil && l.Cur < 5*ample {
		return true
	}
	b, err := sys.Slurp(unix.AT_FDCWD, "/proc/self/cgroup", 8<<10)
	return err == nil && scarceIn("/sys/fs/cgroup", string(b))
}

// scarceIn says so of the cgroups that are told in the form of /proc/self/cgroup.
func scarceIn(root, cgroups string) bool {
	for line := range strings.Lines(cgroups) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		dir := root
		switch controllers {
		case "": // all of them, in one tree
		case "pids":
			dir += "/pids"
		default:
			continue
		}
		for dir += path; len(dir) > len(root); dir = filepath.Dir(dir) {
			most, err := numberIn(dir + "/pids.max")
			if err != nil { // as where it is "max"
				continue
			}
			if now, err := numberIn(dir + "/pids.current"); err == nil && most-now < ample {
				return true
			}
		}
	}
	return false
}

func numberIn(path string) (int, error) {
	b, err := sys.Slurp(unix.AT_FDCWD, path, 64)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
