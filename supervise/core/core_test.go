package core

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/machine"
	"runitbox/supervise/servicedir"
	"runitbox/supervise/wire"
)

// bareCore is a core without processes and without a reaper, which would take
// the children of other tests. What it has to say to the scanner is dropped.
func bareCore(t *testing.T) *Core {
	core, scanner, _ := wire.Pair()
	c := &Core{
		Say: func(diag.Level, string, error) {}, link: core, log: -1, descriptors: budget{room: 1 << 20},
		services: newRegistry(), poller: poller{epoll: -1, watched: map[int32]watch{}}, procs: newProcesses(false),
		changed: make(chan struct{}, 1), rescued: map[uint64]bool{},
	}
	c.procs.seen = c.seen
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			ms, err := scanner.Receive()
			if err != nil {
				return
			}
			for _, m := range ms {
				for _, fd := range m.FDs {
					unix.Close(fd)
				}
			}
		}
	}()
	t.Cleanup(func() {
		core.Close() // c may have another by now
		<-over
		scanner.Close()
	})
	return c
}

// Services are opened and inherited processes end all at once, many times.
func TestEndsWhileServicesOpen(t *testing.T) {
	c := bareCore(t)
	file := t.TempDir() + "/none" // no directory: opened, and gone at once
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				c.procs.inherited(1<<30, ending{})
			}
		})
	}
	for i := range 2000 {
		fd, err := unix.Open(file, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.add(strconv.Itoa(i), "none", servicedir.Dir{FD: fd}, nil, "", "")
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // so that all are opened now and then
		}
	}
	all.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		left := c.services.count()
		c.procs.mu.Lock()
		opening, strays := c.procs.openings, len(c.procs.unclaimed)
		c.procs.mu.Unlock()
		if left == 0 && opening == 0 && strays == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d services are left, %d being opened, %d ends are nobody's", left, opening, strays)
		}
	}
}

// A service that is held up holds up neither the scanner's other messages nor the
// core.
func TestDropDoesNotWait(t *testing.T) {
	c := bareCore(t)
	core, scanner, _ := wire.Pair()
	c.link = core
	s := newService(c, "web", "key", servicedir.Dir{FD: -1})
	c.services.add(s)
	go c.listen()
	scanner.Send(wire.Message{Word: "drop", Arg: "key", Arg2: "0"})
	scanner.Send(wire.Message{Word: "add", Arg: "other", Name: "other"}) // without a directory: refused
	answer := make(chan wire.Message, 1)
	go func() {
		if ms, _ := scanner.Receive(); len(ms) == 1 {
			answer <- ms[0]
		}
	}()
	select {
	case m := <-answer:
		if m.Word != "gone" || m.Arg != "other" {
			t.Errorf("the answer is %+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Error("no answer")
	}
	scanner.Close()
	<-c.changed
}

// A panic ends the core, and says once where it was and which service it was
// about, whichever goroutine it is in.
func TestPanic(t *testing.T) {
	if where := os.Getenv("SUPERVISE_PANICS"); where != "" {
		panics(t, where)
		return
	}
	for _, where := range []string{"service", "opening", "making"} {
		t.Run(where, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPanic$")
			cmd.Env = append(os.Environ(), "SUPERVISE_PANICS="+where, "SUPERVISE_DIR="+t.TempDir())
			var out bytes.Buffer
			cmd.Stderr = &out
			err := cmd.Run()
			var status *exec.ExitError
			if !errors.As(err, &status) || status.ExitCode() != 2 {
				t.Errorf("%v, want exit status 2", err)
			}
			text := out.String()
			if !strings.HasPrefix(text, "web: panic: ") {
				t.Errorf("the message does not begin with the service: %s", text)
			}
			if n := len(regexp.MustCompile(`(?m)^goroutine \d`).FindAllString(text, -1)); n != 1 {
				t.Errorf("%d stacks: %s", n, text)
			}
			if !strings.Contains(text, map[string]string{"service": "service.go", "opening": "open.go", "making": "spawn.go"}[where]) {
				t.Errorf("the stack does not show where it was: %s", text)
			}
		})
	}
}

// panics is a core that panics.
func panics(t *testing.T, where string) {
	c, err := newCore(func(_ diag.Level, service string, err error) {
		os.Stderr.WriteString(service + ": " + err.Error() + "\n")
	}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	c.link, _, _ = wire.Pair()
	dir, err := servicedir.Open(os.Getenv("SUPERVISE_DIR"))
	if err != nil {
		t.Fatal(err)
	}
	switch where {
	case "service":
		c.start = func(order) { panic("test") }
	case "opening":
		c.poller.watched = nil
	case "making":
		c.procs.known = nil
	}
	if err := os.WriteFile(os.Getenv("SUPERVISE_DIR")+"/run", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.add("key", "web", dir, nil, "", "")
	time.Sleep(20 * time.Second)
}

// What has ended is started again in the turn that was told of its end: no other of
// the crew is asked for, nor a thread for one.
func TestAtOnce(t *testing.T) {
	if os.Getenv("SUPERVISE_AT_ONCE") == "" { // in a process of its own: the reaper would take the children of other tests
		cmd := exec.Command(os.Args[0], "-test.run=^TestAtOnce$")
		cmd.Env = append(os.Environ(), "SUPERVISE_AT_ONCE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	c, err := newCore(func(_ diag.Level, service string, err error) { t.Log(service, err) }, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	c.link, _, _ = wire.Pair()
	c.pool.ready = 1
	path := t.TempDir()
	if err := os.WriteFile(path+"/run", []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := servicedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	// running waits for another process than before, and until the crew has nothing to do.
	running := func(before int) (pid int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			b, _ := os.ReadFile(path + "/supervise/pid")
			pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
			c.pool.mu.Lock()
			all := c.pool.all
			c.pool.mu.Unlock()
			if pid != 0 && pid != before && all == 0 {
				return pid
			}
			if time.Now().After(end) {
				t.Fatalf("pid %d after %d, %d jobs", pid, before, all)
			}
		}
	}
	c.add("key", "web", dir, nil, "", "")
	pid := running(0)
	time.Sleep(time.Second) // a start that ends in less than that is followed by a rest
	c.pool.mu.Lock()
	c.pool.later = nil
	c.pool.mu.Unlock()
	unix.Kill(pid, unix.SIGKILL)
	running(pid)
	c.pool.mu.Lock()
	if c.pool.later != nil {
		t.Error("another worker was waited for")
	}
	c.pool.mu.Unlock()
	s := c.services.find("key")
	s.post(event{kind: evCommand, cmd: machine.CmdExit})
	<-c.changed
}

// A worker that has taken its time is slow for what comes in it as well.
func TestSlowAlready(t *testing.T) {
	turn := &worker{pool: &pool{active: 1}}
	turn.overdue()
	called := false
	turn.whenSlow(func() { called = true })
	if !called || turn.done() {
		t.Error("what is begun in a turn that is relieved would wait for nobody")
	}
}
