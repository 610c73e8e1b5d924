package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSetupBoot is `runitbox setup boot`, called as users do.
func TestSetupBoot(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		at := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(at), 0o755)
		if err := writeFile(at, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	step := func(about, wantOut string, wantStatus int, args ...string) {
		t.Helper()
		cmd := exec.Command(exe, append([]string{"setup", "boot", "--root", root}, args...)...)
		text, _ := cmd.CombinedOutput()
		out, status := strings.ReplaceAll(string(text), root, "ROOT"), cmd.ProcessState.ExitCode()
		if out != wantOut || status != wantStatus {
			t.Errorf("%s: exit %d, want %d\n%s\nwant\n%s", about, status, wantStatus, out, wantOut)
		}
	}
	holds := func(about, name, want string) {
		t.Helper()
		at := filepath.Join(root, name)
		if text, err := os.ReadFile(at); err != nil || string(text) != want {
			t.Errorf("%s: %v, it holds\n%s\nwant\n%s", about, err, text, want)
		}
		if info, err := os.Stat(at); err == nil && info.Mode().Perm() != 0o640 {
			t.Errorf("%s: mode %v", about, info.Mode())
		}
	}
	const usage = "usage: runitbox setup boot [--list] [--dry-run] [--force] [--root DIR] [--services DIR] [way]\n\n"
	step("no way, and nothing that tells it", usage, 100)
	step("two ways", usage, 100, "systemd", "cron")
	step("an unknown way", "runitbox: fatal: setup: upstart: no such way (--list tells all)\n", 111, "upstart")
	step("a directory that a line cannot hold", "runitbox: fatal: setup: /srv/my services: no path that every init takes as it stands\n", 111, "--services", "/srv/my services", "cron")
	step("only told", "would make ROOT/etc/systemd/system/runitbox.service\n", 0, "--dry-run", "systemd")
	step("a unit", "made ROOT/etc/systemd/system/runitbox.service\n", 0, "systemd")
	step("a unit again", "kept ROOT/etc/systemd/system/runitbox.service\n", 0, "systemd")
	step("for other services", "runitbox: fatal: setup: nothing was changed: ROOT/etc/systemd/system/runitbox.service: it is there and differs (--force replaces it)\n", 111, "--services", "/srv/sv", "systemd")
	step("a script of OpenRC", "made ROOT/etc/init.d/runitbox\n", 0, "openrc")
	step("a table of cron", "made ROOT/etc/cron.d/runitbox\n", 0, "cron")

	const line = "SV:2345:respawn:/usr/sbin/runitbox runsvdir -P /service\n"
	put("etc/inittab", "id:2:initdefault:\nT0:23:respawn:/sbin/getty ttyS0") // no newline
	step("only told of a line", "would extend ROOT/etc/inittab\n", 0, "--dry-run", "sysvinit")
	step("a line", "extended ROOT/etc/inittab\n", 0, "sysvinit")
	holds("a line", "etc/inittab", "id:2:initdefault:\nT0:23:respawn:/sbin/getty ttyS0\n"+line)
	step("a line again", "kept ROOT/etc/inittab\n", 0, "sysvinit")
	put("etc/inittab", "SV:123456:respawn:/etc/runit/2\nid:2:initdefault:\n")
	step("a line of another", "runitbox: fatal: setup: nothing was changed: ROOT/etc/inittab: it is there and differs (--force replaces it)\n", 111, "sysvinit")
	step("a line of another is replaced", "replaced ROOT/etc/inittab\n", 0, "--force", "sysvinit")
	holds("a line of another is replaced", "etc/inittab", line+"id:2:initdefault:\n")
	os.MkdirAll(filepath.Join(root, "var/service"), 0o755)
	put("etc/inittab", "::sysinit:/etc/rc\n::respawn:/sbin/getty 38400 tty1\n::respawn:/bin/runsvdir /service\n")
	step("BusyBox's init has another tree", "runitbox: fatal: setup: nothing was changed: ROOT/etc/inittab: it is there and differs (--force replaces it)\n", 111, "busybox")
	step("which is replaced", "replaced ROOT/etc/inittab\n", 0, "--force", "busybox")
	holds("which is replaced", "etc/inittab", "::sysinit:/etc/rc\n::respawn:/sbin/getty 38400 tty1\n::respawn:/usr/sbin/runitbox runsvdir -P /var/service\n")
	os.Remove(filepath.Join(root, "etc/inittab"))
	os.Symlink("/etc/passwd", filepath.Join(root, "etc/inittab"))
	step("a link", "runitbox: fatal: setup: nothing was changed: ROOT/etc/inittab: it is no regular file\n", 111, "sysvinit")
}

// TestSetupBootWay: without a way it is that of the machine's init.
func TestSetupBootWay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files []string // with "-> " a link
		want  []string
	}{
		"Debian":                        {[]string{"sbin/init -> /lib/systemd/systemd", "etc/cron.d/x", "sbin/openrc-run"}, []string{"systemd"}},
		"sysvinit":                      {[]string{"sbin/init", "etc/inittab", "etc/cron.d/x"}, []string{"sysvinit"}},
		"Alpine":                        {[]string{"sbin/init -> /bin/busybox", "etc/inittab", "sbin/openrc-run"}, []string{"openrc"}},
		"Gentoo":                        {[]string{"sbin/init", "etc/inittab", "sbin/openrc-run"}, []string{"openrc"}},
		"BusyBox alone":                 {[]string{"sbin/init -> ../bin/busybox", "etc/inittab"}, []string{"busybox"}},
		"an init that nobody knows":     {[]string{"sbin/init -> /lib/else/init", "etc/inittab", "etc/cron.d/x"}, []string{"cron"}},
		"a container without any":       {[]string{"etc/passwd"}, nil},
		"sysvinit's tables, no program": {[]string{"etc/inittab"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, f := range tt.files {
				f, to, link := strings.Cut(f, " -> ")
				at := filepath.Join(root, f)
				os.MkdirAll(filepath.Dir(at), 0o755)
				if link {
					os.Symlink(to, at)
				} else if err := writeFile(at, nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tt.want, initIn(root)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSetupBootStarts: BusyBox's init and cron's line start a tree, have one of it, start
// it again when it was killed, and what it was told to end by is its services' end too.
func TestSetupBootStarts(t *testing.T) {
	t.Parallel()
	inRoot(t, `
mkdir -p /service/web
cp /opt/run /service/web/
printf '%s\n' 'root::0:0::/root:/bin/sh' >/etc/passwd
runitbox setup boot cron
runitbox setup boot cron | grep '^kept'
# As cron calls it, with the line's sixth field and what follows.
sed -n 's/^[*] [*] [*] [*] [*] root //p' /etc/cron.d/runitbox >line
/bin/sh -c "$(cat line)" & C=$!
eventually sv check /service/web
/bin/sh -c "$(cat line)"
sh -c "$(sed -n 's/^@reboot root //p' /etc/cron.d/runitbox)"
test "$(cat /run/runitbox.pid)" = $C
pid=$(cat /service/web/supervise/pid)
kill -9 $C
wait $C || :
eventually runitbox setlock -n /run/runitbox.lock true
/bin/sh -c "$(cat line)" & C=$!
eventually sv check /service/web
eventually grep -qx $C /run/runitbox.pid
test "$(cat /service/web/supervise/pid)" = $pid
cp -r /opt/second /service/ # what starts it heeds HUP
eventually sv check /service/second
kill -HUP "$(cat /run/runitbox.pid)"
wait $C || test $? = 111
eventually not kill -0 $pid

rm -f /etc/inittab
runitbox setup boot busybox
unshare --pid --fork --kill-child --mount-proc /opt/busybox init & I=$!
eventually sv check /service/web
pid=$(cat /service/web/supervise/pid)
pgrep -x runsvdir
`, map[string]string{"run": "#!/bin/sh\nexec sleep 1000\n", "second/run": "#!/bin/sh\nexec sleep 1000\n", "busybox": string(readPeer(t, "busybox"))})
}

// TestSetupBootInits: Debian's OpenRC starts the tree, starts it again when it was killed
// and its services live on, and stops it with them; its sysvinit starts it, and again. Systemd
// finds nothing wrong with the unit.
func TestSetupBootInits(t *testing.T) {
	t.Parallel()
	inRoot(t, `
mkdir -p /service/web
cp /opt/run /service/web/
# What OpenRC's own boot makes.
for dir in starting started stopping inactive wasinactive failed hotplugged daemons options exclusive scheduled tmp; do mkdir -p /run/openrc/$dir; done
touch /run/openrc/softlevel /etc/insserv.conf
runitbox setup boot openrc
rc-service --nodeps runitbox start
eventually sv check /service/web
pid=$(cat /service/web/supervise/pid)
tree=$(pgrep -o -x runsvdir)
kill -9 $tree
eventually sh -c "new=\$(pgrep -o -x runsvdir) && test \"\$new\" != $tree"
eventually sv check /service/web
test "$(cat /service/web/supervise/pid)" = $pid
rc-service --nodeps runitbox status | grep started
rc-service --nodeps runitbox stop
eventually not kill -0 $pid
eventually not pgrep -x runsvdir
runitbox setup boot systemd
printf 'id:2:initdefault:\n' >/etc/inittab
runitbox setup boot sysvinit
unshare --pid --fork --kill-child --mount-proc /usr/sbin/init &
eventually sv check /service/web
pid=$(cat /service/web/supervise/pid)
tree=$(pgrep -o -x runsvdir)
kill -9 $tree
eventually sh -c "new=\$(pgrep -o -x runsvdir) && test \"\$new\" != $tree"
eventually sv check /service/web
test "$(cat /service/web/supervise/pid)" = $pid
! command -v systemd-analyze || test -z "$(systemd-analyze verify --man=no /etc/systemd/system/runitbox.service 2>&1)"
`, map[string]string{"run": "#!/bin/sh\nexec sleep 1000\n"}, recipePeer(t, "inits"))
}

// readPeer is what a peer's file holds.
func readPeer(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(peer(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
