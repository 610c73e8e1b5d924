package applets

import (
	"net"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"runitbox/applets/syslog"
)

// TestVloggerOutage: while there is no syslog a line waits, but not for ever,
// and what is lost then is told when there is one again.
func TestVloggerOutage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		v := &vlogger{who: "vlogger", tag: "web", priority: syslog.DaemonNotice, conn: syslog.Conn{Path: path}}
		begin := time.Now()
		v.send([]byte("first"))
		if waited := time.Since(begin); waited < outagePatience || waited > outagePatience+2*time.Second {
			t.Errorf("the first line waited for %v", waited)
		}
		begin = time.Now()
		v.send([]byte("second"))
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("the second line waited for %v", waited)
		}
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		v.send([]byte("third"))
		v.send([]byte("fourth"))
		v.conn.Close()
		var got []string
		for range 3 {
			b := make([]byte, 200)
			n, err := l.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, regexp.MustCompile(`^<29>.{15} `).ReplaceAllString(string(b[:n]), ""))
		}
		want := []string{"web: third", "web: vlogger: warning: 2 lines were lost while there was no syslog", "web: fourth"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestVloggerHurry: at the end nothing waits.
func TestVloggerHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vlogger{who: "vlogger", conn: syslog.Conn{Path: filepath.Join(t.TempDir(), "log")}}
		v.outage.over.Store(true)
		begin := time.Now()
		v.send([]byte("line"))
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("it waited for %v", waited)
		}
	})
}
