package scanner

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/child"
	"runitbox/supervise/diag"
	"runitbox/supervise/self"
)

// StateVar is the variable by which an upgrade hands what the scanner holds over to the
// new executable.
const StateVar = "RUNSVDIR_STATE"

// upgrade ends the core in an orderly way and becomes what the executable's
// path leads to now: same process, same arguments, and everything kept.
//
// A thread that waits for a disk in the kernel, and cannot be killed there, would
// hold up the change for as long; so that waits until there is none.
func (s *Scanner) upgrade() {
	if s.handing != nil {
		return
	}
	if !s.dir.mayBecome() {
		if !s.becoming && s.dir.hangers() > 0 {
			s.warn(fmt.Errorf("unable to become %s yet: there are entries that do not answer.", s.self))
		}
		if !s.becoming {
			s.becoming, s.asked = true, time.Now()
		}
		return
	}
	s.becoming = false
	s.handing = &handover{deadline: time.Now().Add(quitTime)}
	switch {
	case s.starting: // it is told as soon as it is there
	case s.core == 0:
		s.become()
	default:
		s.send()
	}
}

// handover is what is on its way to another program.
type handover struct {
	deadline time.Time   // of the core
	told     bool        // the core was told to quit
	killed   bool        // it was not quick enough
	late     []os.Signal // which that is to act on
}

// quitTime is how long the core has for an orderly end.
const quitTime = 3 * time.Second

// hurry does not wait for the core's orderly end any more: a kill does no harm
// either.
func (s *Scanner) hurry() {
	s.handing.killed, s.handing.deadline = true, time.Now().Add(time.Second)
	if s.core != 0 {
		unix.Kill(s.core, unix.SIGKILL)
	}
}

// become becomes the new program.
func (s *Scanner) become() {
	late := s.handing.late
	s.handing = nil
	s.speakAside() // the new program finds the log service of the tree by itself
	var keep []int
	var b strings.Builder
	for _, e := range s.entries {
		fmt.Fprintf(&b, "%s %t %t ,%s", e.key, e.dropped, s.idle[e], e.tags)
		for _, fd := range e.fds {
			fmt.Fprintf(&b, " %d", fd)
		}
		fmt.Fprintf(&b, " born=%d waits=%t refused=%t\x00%s\x00", e.born, e.waits, e.refused, e.name) // an older program reads numbers only
		keep = append(keep, e.fds...)
	}
	for _, u := range s.unheard { // older programs pass over it
		fmt.Fprintf(&b, "said %d 0\x00%s\x00", u.fd, u.name)
		keep = append(keep, u.fd)
	}
	if s.command.pid != 0 {
		b.WriteString(s.command.commandState())
	}
	memfd, err := unix.MemfdCreate("runsvdir", 0)
	if err == nil {
		_, err = unix.Pwrite(memfd, []byte(b.String()), 0)
	}
	if err == nil {
		ringFD := -1
		if s.ring != nil {
			ringFD = s.ring.r
			keep = append(keep, ringFD)
			s.ring.mu.Lock() // the arguments are whole
		}
		for _, fd := range keep {
			unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
		held := heldFor(s.self) & (self.Each() | self.Held) // any of these would end the new program before it asks for them
		late = append(late, s.late(self.Hold(held))...)
		var numbers strings.Builder
		for _, sig := range late {
			if sig != unix.SIGUSR2 { // that is being done
				fmt.Fprintf(&numbers, ",%d", sig)
			}
		}
		env := append(os.Environ(), fmt.Sprintf("%s=%d,%d%s", StateVar, memfd, ringFD, numbers.String()))
		s.files.Lower()
		s.voice.Finish(diag.FinishTime)
		err = self.Become(s.self, s.Args, env, held)
		self.Release()
		child.Unheld(self.Each() | self.Held) // threads block them still
		s.files.Raise()
		for _, fd := range keep { // still here
			unix.CloseOnExec(fd)
		}
		if s.ring != nil {
			s.ring.mu.Unlock()
		}
		unix.Close(memfd)
	}
	s.warn(fmt.Errorf("unable to become %s: %w", s.self, err))
	s.startCore()
	go func() {
		for _, sig := range late {
			s.sigs <- sig
		}
	}()
}

// late takes the signals that have come and were not acted on. Where later ones are not held,
// it waits for those as well that are no more than a few milliseconds old and on their way.
func (s *Scanner) late(held bool) (sigs []os.Signal) {
	if !held {
		time.Sleep(lateTime)
	}
	for last := self.Flush(); last > 0; {
		if sig := <-s.sigs; sig != nil {
			sigs = append(sigs, sig)
		} else {
			last--
		}
	}
	return sigs
}

// lateTime is how long a signal takes at most from the kernel to who acts on it.
const lateTime = 5 * time.Millisecond

// resume takes over what upgrade has left, and sets up the log. It returns the
// signals that came too late for the program before.
func (s *Scanner) resume() (again []unix.Signal) {
	state := strings.Split(os.Getenv(StateVar), ",")
	os.Unsetenv(StateVar)
	memfd, ringFD := -1, -1
	if len(state) > 1 {
		memfd, _ = strconv.Atoi(state[0])
		ringFD, _ = strconv.Atoi(state[1])
		for _, number := range state[2:] {
			if sig, err := strconv.Atoi(number); err == nil && sig > 0 {
				again = append(again, unix.Signal(sig))
			}
		}
		child.Unheld(self.Each() | self.Held)
	}
	if memfd > 2 {
		f := os.NewFile(uintptr(memfd), "state")
		b, _ := io.ReadAll(f)
		f.Close()
		parts := strings.Split(string(b), "\x00")
		for i := 0; i+1 < len(parts); i += 2 {
			fields := strings.Fields(parts[i])
			if len(fields) == 2 { // older programs pass over it
				s.command.resume(fields)
			}
			if len(fields) == 3 {
				fd, _ := strconv.Atoi(fields[1])
				unix.CloseOnExec(fd)
				s.unheard = append(s.unheard, unheard{parts[i+1], fd})
			}
			if len(fields) < 5 {
				continue
			}
			e := &entry{key: fields[0], name: parts[i+1], dropped: fields[1] == "true", tags: fields[3][1:]}
			for _, f := range fields[4:] {
				if fd, err := strconv.Atoi(f); err == nil {
					unix.CloseOnExec(fd)
					e.fds = append(e.fds, fd)
				} else if born, ok := strings.CutPrefix(f, "born="); ok {
					e.born, _ = strconv.ParseInt(born, 10, 64)
				} else if f == "waits=true" {
					e.waits = true
				} else if f == "refused=true" {
					e.refused = true
				}
			}
			e.at = e.name
			s.entries[e.key] = e
			if fields[2] == "true" {
				s.idle[e] = true
			}
		}
	}
	if s.Log == 0 {
		return again
	}
	if ringFD > 2 {
		unix.CloseOnExec(ringFD)
		s.ring = ringOf(s.Args[s.Log], ringFD)
		return again
	}
	ring, err := newRing(s.Args[s.Log])
	if err != nil {
		s.warn(err)
		s.warn(errors.New("log service disabled."))
		return again
	}
	s.ring = ring
	return again
}
