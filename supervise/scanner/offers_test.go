package scanner

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/diag"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// newEntries is a scanner with an entry of each name, and what the core is to be told.
func newEntries(t *testing.T, names ...string) *Scanner {
	s := &Scanner{entries: map[string]*entry{}, idle: map[*entry]bool{}, held: map[string]*incomplete{}, dir: newDirectory(t.TempDir())}
	s.Say = func(diag.Level, string, error) {}
	for _, name := range names {
		s.entries[name] = &entry{key: name, name: name, at: name, fds: []int{-1}}
	}
	return s
}

// What cannot be read at present is not absent.
func TestUnreadableIsThere(t *testing.T) {
	for err, there := range map[error]bool{unix.EIO: true, unix.EMFILE: true, unix.ENOMEM: true, unix.ENOENT: false, unix.ELOOP: false} {
		s := newEntries(t, "web")
		s.apply(finding{answers: []answer{{name: "web", state: isBad, err: fmt.Errorf("unable to stat web: %w", err)}}})
		if s.entries["web"].dropped == there {
			t.Errorf("%v: told to exit: %t", err, !there)
		}
	}
}

// An entry is forgotten only where the core has said that nothing of it runs.
func TestForgotten(t *testing.T) {
	for status, forgotten := range map[string]bool{"0": true, "111": true, wire.NoDescriptors: true, wire.NotNow: false} {
		for what, end := range map[string]func(*Scanner){
			"HUP":              func(s *Scanner) { s.starting = true; s.core = 1; s.end(111, false) },
			"its link removed": func(s *Scanner) { s.apply(finding{}) },
		} {
			s := newEntries(t, "web")
			s.handle(wire.Message{Word: "gone", Arg: "web", Arg2: status})
			end(s)
			if e := s.entries["web"]; (e == nil) != forgotten || e != nil && (!e.dropped || s.idle[e]) {
				t.Errorf("%s after it was gone with %s: the entry is %+v", what, status, e)
			}
		}
	}
}

// Before the core is told to stop it is told to have exit what it could not open, and so it is
// with what it cannot open behind that.
func TestStopsWhatWasRefused(t *testing.T) {
	scanner, core, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	s := newEntries(t, "refused", "late")
	s.outgoing.room = make(chan struct{}, 1)
	s.core, s.link, s.scanned = 1, scanner, true
	defer scanner.Close()
	for _, e := range s.entries {
		if e.fds[0], err = unix.MemfdCreate("entry", unix.MFD_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(e.fds[0])
	}
	s.handle(wire.Message{Word: "gone", Arg: "refused", Arg2: wire.NotNow})
	s.end(0, true)
	s.send()
	var told []string
	for !strings.HasPrefix(strings.Join(told, "\n"), "stop") && len(told) < 2 {
		ms, err := core.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			state, _, _ := strings.Cut(m.Arg2, ",")
			told = append(told, m.Word+" "+m.Name+" "+state)
			sys.CloseAll(m.FDs)
		}
	}
	if diff := cmp.Diff([]string{"add refused true", "stop  0"}, told); diff != "" {
		t.Errorf("what the core is told (-want +got):\n%s", diff)
	}
	s.handle(wire.Message{Word: "gone", Arg: "late", Arg2: wire.NotNow})
	if e := s.entries["late"]; !e.dropped || !s.isOffered(e) {
		t.Errorf("what was told to stop and could not hear: %+v", e)
	}
}
