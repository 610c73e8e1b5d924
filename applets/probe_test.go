package applets

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestProbe: what serves is told from what does not answer, answers something else, or is
// not there.
func TestProbe(t *testing.T) {
	t.Parallel()
	self := built(t)
	serve := func(network, address string, do func(net.Conn)) string {
		t.Helper()
		l, err := net.Listen(network, address)
		if err != nil {
			skip(t, err.Error())
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					do(conn)
				}()
			}
		}()
		return l.Addr().String()
	}
	// says answers a first line that ends with want, and says what was asked otherwise.
	says := func(conn net.Conn) {
		buf := make([]byte, 1<<10)
		n, _ := conn.Read(buf)
		if first, _, _ := strings.Cut(string(buf[:n]), "\r\n"); first == "GET /ready HTTP/1.0" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		} else {
			io.WriteString(conn, "HTTP/1.1 404 Not Found\r\n\r\n")
		}
	}
	web := serve("tcp", "127.0.0.1:0", says)
	_, port, _ := net.SplitHostPort(web)
	six := serve("tcp", "[::1]:0", says)
	silent := serve("tcp", "127.0.0.1:0", func(conn net.Conn) { io.Copy(io.Discard, conn) })
	path := filepath.Join(t.TempDir(), "socket")
	serve("unix", path, func(conn net.Conn) {
		io.WriteString(conn, "220 ")
		io.WriteString(conn, "at your service\r\n")
		io.Copy(io.Discard, conn)
	})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	const usage = "usage: runitbox probe [-w sec] address [text]\n\n"
	for _, tt := range []struct {
		about  string
		args   string
		status int
		says   string
	}{
		{"a page that there is", "http://" + web + "/ready", 0, ""},
		{"any answer of a web server", "http://localhost:" + port, 0, ""},
		{"one that is no answer", "http://" + web + "/|\x20200\x20", 1, "runitbox: fatal: probe: http://" + web + "/: what it answers has no \" 200 \"\n"},
		{"one that is", "http://" + six + "/ready|\x20200\x20", 0, ""},
		{"a connection is enough", "tcp:" + silent, 0, ""},
		{"nobody answers", "-w|0|tcp:" + silent + "|220", 1, "runitbox: fatal: probe: tcp:" + silent + ": i/o timeout\n"},
		{"what is said to a socket", "unix:" + path + "|220 at your", 0, ""},
		{"nobody listens", "tcp:" + gone.Addr().String(), 1, "runitbox: fatal: probe: tcp:" + gone.Addr().String() + ": connection refused\n"},
		{"nobody listens at a socket", "unix:" + path + "x", 1, "runitbox: fatal: probe: unix:" + path + "x: file does not exist\n"},
		{"no port", "tcp:127.0.0.1", 100, "runitbox: fatal: probe: 127.0.0.1: want an address and a port\n"},
		{"no such port", "tcp:127.0.0.1:65536", 100, "runitbox: fatal: probe: 127.0.0.1:65536: no such port\n"},
		{"a name", "tcp:example.org:25", 100, "runitbox: fatal: probe: example.org:25: want an address and a port\n"},
		{"something else", "ftp://127.0.0.1/", 100, "runitbox: fatal: probe: ftp://127.0.0.1/: want http://HOST/, tcp:HOST:PORT or unix:PATH\n"},
		{"no time", "-w|x|tcp:" + silent, 100, usage},
		{"no address", "", 100, usage},
	} {
		argv := []string{"runitbox", "probe"}
		if tt.args != "" {
			argv = append(argv, strings.Split(tt.args, "|")...)
		}
		if got := ask(t, self, nil, argv...); got.Status != tt.status || got.Stderr != tt.says || got.Stdout != "" {
			t.Errorf("%s: %q: %+v, want %d and %q", tt.about, tt.args, got, tt.status, tt.says)
		}
	}
}
