package core

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
	"runitbox/supervise/state"
	"runitbox/supervise/wire"
)

// closable is openService, of a service that has a descriptor of its own to close.
func closable(t *testing.T, c *Core) (*service, string) {
	s, path := openService(t, c)
	fd, err := unix.FcntlInt(uintptr(s.dir.FD), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.dir.FD = fd
	return s, path
}

// A service whose FIFO cannot be opened for want of descriptors goes on, and the FIFO is
// opened when there are some.
func TestShownWithoutDescriptors(t *testing.T) {
	c := bareCore(t)
	if err := c.poller.open(); err != nil { // it is closed with its last use
		t.Fatal(err)
	}
	s, _ := closable(t, c)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := s.open(nil); err != nil {
		t.Fatal(err)
	}
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	few := unix.Rlimit{Cur: uint64(next), Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	s.show()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if s.main.ok >= 0 || s.main.st.Want == state.WantExit {
		t.Errorf("ok is %d, and wanted is %v", s.main.ok, s.main.st.Want)
	}
	s.repair()
	if s.main.ok < 0 {
		t.Error("ok is not open")
	}
	s.close()
}

// What could not be opened keeps the socket that its process writes to.
func TestSocketOfWhatCannotBeOpened(t *testing.T) {
	for _, opened := range []bool{false, true} {
		c := bareCore(t)
		s, path := closable(t, c)
		socket := filepath.Join(path, talkSocket)
		if err := os.WriteFile(socket, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(socket, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.main.talk, s.opened = &talk{fd: fd}, opened
		s.close()
		if _, err := os.Stat(socket); (err != nil) != opened {
			t.Errorf("opened is %t, and of the socket is said %v", opened, err)
		}
	}
}

// What the scanner says of a service that the core could not open is acted on when that is
// possible: it is known where something is told to whom nobody hears any more.
func TestLeftIsTold(t *testing.T) {
	c := bareCore(t)
	s, _ := closable(t, c)
	c.services.add(s)
	if !c.services.exit("key", exitAll) {
		t.Error("there is no service")
	}
	c.gone(s, wire.NotNow)
	if l := c.services.lefts["key"]; !l.exits || l.dir < 0 {
		t.Errorf("an order that was not heard: %+v", l)
	}
	if c.services.exit("key", exitAll) || c.services.count() != 0 || c.services.isEmpty() {
		t.Error("it is not left")
	}
	if l, ok, _ := c.services.tryLeft("key"); !ok || l.name != "web" {
		t.Errorf("left is %+v, %t", l, ok)
	}
	if _, ok, _ := c.services.tryLeft("key"); ok {
		t.Error("two try it")
	}
	c.refuse("next", "next", false)
	if _, ok, busy := c.services.tryLeft("next"); ok || !busy {
		t.Error("two are tried at once")
	}
	c.services.tried("key")
	if _, ok, _ := c.services.tryLeft("next"); !ok {
		t.Error("the next is not tried")
	}
	c.services.forgetLeft("next")
	again, _ := openService(t, c)
	c.services.add(again)
	if len(c.services.lefts) != 0 {
		t.Error("it is left, and there")
	}
	c.services.remove(again)
	c.refuse("other", "other", false)
	c.handle(wire.Message{Word: "drop", Arg: "other", Arg2: "0"})
	if l := c.services.lefts["other"]; !l.exits || l.dir >= 0 {
		t.Errorf("an order to what was refused: %+v", l)
	}
	c.services.forgetLeft("other")
	if !c.services.isEmpty() {
		t.Error("something is left")
	}
}

// Where descriptors are short the directory of what is to exit is kept open only if its name
// does not lead there any more.
func TestLeftKeepsFew(t *testing.T) {
	for _, tt := range []struct {
		name         string
		tight, found bool
		keeps        bool
	}{
		{"there are enough", false, true, true},
		{"there are few", true, true, false},
		{"there are few, and the link is gone", true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := bareCore(t)
			s, path := closable(t, c)
			defer unix.Close(s.dir.FD)
			f, err := servicedir.Identify(unix.AT_FDCWD, path, 0)
			if err != nil {
				t.Fatal(err)
			}
			s.exits, s.name, s.key, c.dir = true, filepath.Base(path), f.Key(), filepath.Dir(path)
			if !tt.found {
				s.name = "gone"
			}
			if tt.tight {
				c.descriptors = budget{room: 1}
			}
			l := s.leftAs()
			if l.dir >= 0 {
				unix.Close(l.dir)
			}
			if keeps := l.dir >= 0; keeps != tt.keeps {
				t.Errorf("kept open: %t", keeps)
			}
		})
	}
}
