package supervise

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// What an end has sent before it went is received, also where it went without
// having read what was sent to it: runsvdir that gets HUP has all services exit
// and ends at once, whatever the core has to say meanwhile.
func TestLinkLastWords(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	scanner, core := &link{fd: pair[0]}, &link{fd: pair[1]}
	defer unix.Close(core.fd)
	core.send(message{word: "keep", a: "1:2"})
	for _, name := range []string{"a name", "another"} {
		if err := scanner.send(message{word: "drop", a: "1:2", b: "0", name: name}); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(scanner.fd)
	for _, name := range []string{"a name", "another"} {
		if m, err := core.receive(); err != nil || m.word != "drop" || m.name != name {
			t.Errorf("received %+v, %v, want drop of %q", m, err, name)
		}
	}
	if m, err := core.receive(); err != io.EOF {
		t.Errorf("received %+v, %v, want the end", m, err)
	}
}
