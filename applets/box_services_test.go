package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// collected are the services of the collection that TestCollection tries, and the user
// that each has: its package would make that when it is installed. `make test-services`
// tries the others too.
var collected = map[string]string{
	"chronyd":   "_chrony",
	"cron":      "",
	"dnsmasq":   "dnsmasq",
	"haproxy":   "haproxy",
	"lighttpd":  "",
	"memcached": "memcache",
	"mosquitto": "mosquitto",
	"nginx":     "",
	"redis":     "redis",
	"rsyslogd":  "",
	"sshd":      "sshd",
}

// TestCollection tries service directories of the collection with Debian's daemons, each in
// a container of its own: testdata/services/try says what must hold. Mostly they wait, so
// all are tried at a time.
func TestCollection(t *testing.T) {
	t.Parallel()
	tryServices(t, func(name, row string) bool {
		return strings.HasPrefix(row, "| "+name+" | ") && !strings.Contains(row, "not installed")
	})
}

// TestReady tries which of them say by NOTIFY_SOCKET that they are ready, and that they
// serve then.
func TestReady(t *testing.T) {
	t.Parallel()
	tell := map[string]bool{"haproxy": true, "mosquitto": true, "redis": true, "rsyslogd": true, "sshd": true}
	tryServices(t, func(name, row string) bool {
		cell := "says nothing"
		if tell[name] {
			cell = "ready, and serves"
		}
		return strings.HasPrefix(row, "| "+name+" | ") && strings.HasSuffix(row, " | "+cell+" |\n")
	}, "--ready")
}

// tryServices has testdata/services/try, with these options, try each of the services:
// good says whether its row for one is as it should be.
func tryServices(t *testing.T, good func(name, row string) bool, options ...string) {
	if testing.Short() {
		skip(t, "starts daemons of the peers")
	}
	if os.Geteuid() != 0 {
		skip(t, "needs root: daemons have users of their own")
	}
	needNamespaces(t)
	from, err := filepath.Abs(filepath.Join(peersDir(), "services"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(from, ".done")); err != nil {
		skip(t, "no daemons of the collection among the peers (make peers)")
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range collected {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := servicesRoot(t, from, exe, user)
			if out, err := exec.Command(exe, "setup", "services", "--root", root, name).CombinedOutput(); err != nil {
				t.Fatalf("setup: %v: %s", err, out)
			}
			var row bytes.Buffer
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Args = append(append([]string{"services-init", root, filepath.Join(from, "usr"), "/opt/runitbox/try"}, options...), name)
			cmd.Env = []string{"HOME=/", gorace(t)}
			cmd.Stdout, cmd.Stderr = &row, &row
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
				Pdeathsig:  unix.SIGKILL,
				Setsid:     true,
			}
			if err := cmd.Run(); err != nil || !good(name, row.String()) {
				t.Errorf("%v:\n%s", err, &row)
			}
		})
	}
}

// servicesRoot makes a root for one service, but /usr, which is mounted: Debian's
// configuration, the user, and the executable with its links.
func servicesRoot(t *testing.T, from, exe, user string) string {
	t.Helper()
	root := t.TempDir()
	r := &recipe{files: map[string]bootFile{}}
	for _, dir := range []string{"usr", "proc", "run", "dev", "tmp", "opt/runitbox"} {
		r.files[dir] = bootFile{mode: unix.S_IFDIR | 0o755}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		r.files[dir] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte("usr/" + dir)}
	}
	r.files["var/run"] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte("/run")}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		r.files["dev/"+name] = bootFile{mode: unix.S_IFCHR | 0o666, dev: [2]uint32{1, minor}}
	}
	r.copy(t, exe, "opt/runitbox/runitbox")
	r.copy(t, peer(t, "busybox"), "opt/runitbox/busybox")
	for _, name := range names() {
		r.files["opt/runitbox/"+name] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte("runitbox")}
	}
	r.copy(t, "../testdata/services/try", "opt/runitbox/try")
	for file, line := range map[string]string{
		"passwd": "%s:x:999:999::/:/usr/sbin/nologin\n",
		"group":  "%s:x:999:\n",
	} {
		text, err := os.ReadFile(filepath.Join(from, "usr/share/base-passwd", file+".master"))
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			text = fmt.Appendf(text, line, user)
		}
		r.files["etc/"+file] = bootFile{mode: unix.S_IFREG | 0o644, data: text}
	}
	r.files["etc/hosts"] = bootFile{mode: unix.S_IFREG | 0o644, data: []byte("127.0.0.1 localhost\n::1 localhost\n")}
	if err := r.writeTree(root); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][]string{
		{"cp", "-a", filepath.Join(from, "etc"), filepath.Join(from, "var"), root},
		{"chmod", "a+rw", filepath.Join(root, "dev/null"), filepath.Join(root, "dev/zero"), filepath.Join(root, "tmp")},
	} {
		if out, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", step, err, out)
		}
	}
	return root
}

// servicesInit becomes argv[2] as process 1 of a container with a network of its own, whose
// root is argv[0] with argv[1] for /usr.
func servicesInit(argv []string) int {
	usr := filepath.Join(argv[0], "usr")
	unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err := unix.Mount(argv[1], usr, "", unix.MS_BIND, ""); err != nil {
		fmt.Fprintln(os.Stderr, "services-init: mount /usr:", err)
		return 125
	}
	if err := unix.Mount("", usr, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		fmt.Fprintln(os.Stderr, "services-init: mount /usr read-only:", err)
		return 125
	}
	return containerInit(append([]string{argv[0], "capable"}, argv[2:]...))
}
