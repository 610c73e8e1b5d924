package syslog

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParsePriority(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Priority
		err  string
	}{
		{"daemon.info", DaemonInfo, ""},
		{"daemon.notice", DaemonNotice, ""},
		{"notice", UserNotice, ""},
		{"kern.emerg", 0, ""},
		{"local7.debug", 191, ""},
		{"authpriv.alert", 81, ""},
		{"LOCAL0.Warn", 132, ""},
		{"security.error", 35, ""},
		{"mail.panic", 16, ""},
		{"30", 30, ""},
		{"192", 0, "unknown priority: 192"},
		{"nobody.info", 0, "unknown facility: nobody"},
		{"daemon.loud", 0, "unknown priority: loud"},
		{"daemon.", 0, "unknown priority: "},
		{".info", 0, "unknown facility: "},
		{"", 0, "unknown priority: "},
	} {
		got, err := ParsePriority(tt.text)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if diff := cmp.Diff([]any{tt.want, tt.err}, []any{got, said}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

// TestPriorityNames: the name of each is read as what it is the name of.
func TestPriorityNames(t *testing.T) {
	for p := range Priority(24 << 3) {
		if name := p.Facility() + "." + p.Level(); name[0] > '9' {
			if got, err := ParsePriority(name); got != p || err != nil {
				t.Errorf("%d is %s, and that %d, %v", p, name, got, err)
			}
		}
	}
}

func TestHeader(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	if diff := cmp.Diff("<29>Mar  4 05:06:07 web: ", Header(DaemonNotice, at, "web", 0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("<13>Mar  4 05:06:07 web[42]: ", Header(UserNotice, at, "web", 42)); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", Piece)
	for _, tt := range []struct {
		name, text string
		end        bool
		want       []string
		rest       string
	}{
		{"nothing", "", false, nil, ""},
		{"a line", "a\n", false, []string{"a"}, ""},
		{"lines", "a\n\nb\n", false, []string{"a", "", "b"}, ""},
		{"a beginning", "a\nb", false, []string{"a"}, "b"},
		{"a beginning at the end", "a\nb", true, []string{"a", "b"}, ""},
		{"a piece and its newline", long + "\na", false, []string{long}, "a"},
		{"a piece without", long, false, nil, long},
		{"more than a piece", long + "yz\n", false, []string{long, "yz"}, ""},
		{"more than two", long + long + "y", true, []string{long, long, "y"}, ""},
	} {
		var got []string
		rest := Lines([]byte(tt.text), tt.end, func(piece []byte) { got = append(got, string(piece)) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.rest, string(rest)); diff != "" {
			t.Errorf("%s: the rest (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestDatagrams: a message is a datagram, to the daemon that there is.
func TestDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := &Conn{Path: path}
	defer c.Close()
	if err := c.Send([]byte("nobody")); !os.IsNotExist(err) {
		t.Errorf("without a daemon: %v", err)
	}
	for _, generation := range []string{"first", "second"} {
		os.Remove(path)
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{generation, ""} {
			if err := c.Send([]byte("<29>" + text)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, err := l.Read(b)
			if diff := cmp.Diff("<29>"+text, string(b[:n])); diff != "" || err != nil {
				t.Error(diff, err)
			}
		}
		l.Close()
	}
}

// TestStream: a daemon may want a stream.
func TestStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &Conn{Path: path}
	for _, text := range []string{"<29>one", "<29>two"} {
		if err := c.Send([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(peer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("<29>one\x00<29>two\x00", got.String()); diff != "" {
		t.Error(diff)
	}
}
