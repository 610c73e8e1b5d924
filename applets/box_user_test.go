package applets

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withJoe makes a user in a root of a test's own, as whom joe runs a command at a login.
const withJoe = `
getent group audio >/dev/null
sed -i 's/^\(audio:.*:\)[^:]*$/\1joe/' /etc/group
echo 'joe:*:1234:1234:Joe:/home/joe:/bin/sh' >>/etc/passwd
echo joe:x:1234: >>/etc/group
mkdir -p /home/joe
chown 1234:1234 /home/joe
service() { # NAME: one of joe's that tells its environment and logs
	as_joe mkdir -p "$1/log"
	cp /opt/hello "$1/run"
	cp /opt/log "$1/log/run"
	chown -R joe "$1"
}
`

// joesFiles are files for inRoot: a program that runs others as joe, and services.
var joesFiles = map[string]string{
	"as_joe": "#!/bin/sh\ncd /home/joe && exec env -i HOME=/home/joe PATH=/opt:/usr/bin:/bin XDG_RUNTIME_DIR=\"${XDG_RUNTIME_DIR:-}\" chpst --groups -u joe \"$@\"\n",
	"hello":  "#!/bin/sh\nexec 2>&1\necho hello\nenv >env.new && id >>env.new && pwd >>env.new && mv env.new env\nexec sleep 1000\n",
	"log":    "#!/bin/sh\nmkdir -p main\nexec svlogd ./main\n",
	"slow":   "#!/bin/sh\ntrap 'sleep 2; echo well >ended; exit' TERM\necho >here\nwhile :; do sleep 1; done\n",
	"xinit":  "#!/bin/sh\ntrap 'echo well >$HOME/ended; kill $!; exit' TERM\n{ echo \"$USER $HOME\"; echo $$; } >$HOME/session.new\nmv $HOME/session.new $HOME/session\nsleep 1000 & wait\n",
	"wm":     "#!/bin/sh\neventually test -s .config/service/web/env\n",
}

// TestSetupUserOwn: a user without any privilege has his tree, which a login starts and
// does not take along, and of which there is one however often it is started.
func TestSetupUserOwn(t *testing.T) {
	t.Parallel()
	inRoot(t, withJoe+`
cp /opt/runitbox /usr/bin/
echo 'umask 022' >/home/joe/.profile
chown joe /home/joe/.profile
as_joe /usr/bin/runitbox setup user --login --session --systemd --x >said
cat said
grep -qx 'extended /home/joe/.profile' said
as_joe /usr/bin/runitbox setup user --login --session --systemd --x >said
not grep -v '^kept' said
test "$(stat -c %U /home/joe/.config/runitbox/tree)" = joe
test -x /home/joe/.xinitrc
service /home/joe/.config/service/web
pid=/home/joe/.config/service/web/supervise/pid

# A login on a terminal of its own, which ends.
as_joe setsid -w script -qec 'sh -lc "echo in"' /dev/null </dev/null | grep in
eventually sv check /home/joe/.config/service/web
eventually test -s /home/joe/.config/service/web/env
cat /home/joe/.config/service/web/env
grep -qx HOME=/home/joe /home/joe/.config/service/web/env
grep -qx USER=joe /home/joe/.config/service/web/env
not grep XDG_RUNTIME_DIR /home/joe/.config/service/web/env
grep 'uid=1234(joe) gid=1234(joe).*(audio)' /home/joe/.config/service/web/env
first=$(cat $pid)
tree=$(cat /home/joe/.local/state/runitbox/pid)
as_joe /home/joe/.config/runitbox/tree start
as_joe sh -lc true
# those that found it running have ended
eventually not pgrep -u joe -f 'runitbox/tree|setlock'
as_joe /home/joe/.config/runitbox/tree run # ends at once, since there is one
test "$(cat /home/joe/.local/state/runitbox/pid)" = $tree
test "$(cat $pid)" = $first

# Killed, it is started again, and what it ran lives on.
kill -9 $tree
eventually as_joe runitbox setlock -n .local/state/runitbox/lock true
as_joe /home/joe/.config/runitbox/tree start
eventually not grep -qx $tree /home/joe/.local/state/runitbox/pid
eventually sv check /home/joe/.config/service/web
test "$(cat $pid)" = $first

# Stopped, all is gone: also what does not end at once.
mkdir /home/joe/.config/service/slow
cp /opt/slow /home/joe/.config/service/slow/run
chown -R joe /home/joe/.config/service/slow
eventually sv check /home/joe/.config/service/slow
eventually test -s /home/joe/.config/service/slow/here
slow=$(cat /home/joe/.config/service/slow/supervise/pid)
as_joe /home/joe/.config/runitbox/tree stop
not kill -0 $first
not kill -0 $slow
test "$(cat /home/joe/.config/service/slow/ended)" = well
eventually not pgrep -u joe
as_joe /home/joe/.config/runitbox/tree stop # there is none
as_joe not /home/joe/.config/runitbox/tree 2>said
grep 'usage: ' said

# With a place for a session's sockets, which is told.
mkdir -p /run/user/1234
chown joe /run/user/1234
ln -s ../sv/dbus /home/joe/.config/service/
as_joe /home/joe/.config/runitbox/tree start
eventually grep -qx DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1234/bus /home/joe/.config/service/web/env
grep -qx XDG_RUNTIME_DIR=/run/user/1234 /home/joe/.config/service/web/env
if command -v dbus-daemon; then
	eventually as_joe env XDG_RUNTIME_DIR=/run/user/1234 sv -w 1 check /home/joe/.config/service/dbus
	bus=$(cat /home/joe/.config/service/dbus/supervise/pid)
	# A second one leaves it alone.
	as_joe mkdir -p .config/new/log
	as_joe cp .config/sv/dbus/run .config/sv/dbus/check .config/new/
	as_joe cp .config/sv/dbus/log/run .config/new/log/
	as_joe mv .config/new .config/service/other
	eventually grep 'the session has one already' /home/joe/.local/state/log/other/current
	eventually grep -qx down /home/joe/.config/service/other/supervise/stat
	as_joe env XDG_RUNTIME_DIR=/run/user/1234 sv -w 5 check /home/joe/.config/service/dbus
	test "$(cat /home/joe/.config/service/dbus/supervise/pid)" = "$bus"
fi
as_joe /home/joe/.config/runitbox/tree stop
eventually not pgrep -u joe
`, joesFiles)
}

// TestSetupUserRefuses: what cannot be written is said, and nothing is.
func TestSetupUserRefuses(t *testing.T) {
	t.Parallel()
	inRoot(t, withJoe+`
cp /opt/runitbox /usr/bin/
refused() { # MESSAGE COMMAND...: exit 111 with it, and no file is there
	message=$1; shift
	"$@" 2>said && exit 1 || test $? = 111
	cat said
	grep -q "$message" said
	test -z "$(find /home/joe -mindepth 1 -newer /stamp ! -type l)"
}
touch -d '-1 hour' /home/joe # what is made is newer than this
touch -d '-1 minute' /stamp
refused 'HOME must name it' as_joe env -u HOME runitbox setup user
refused "HOME: /home/joe is another user's" env HOME=/home/joe runitbox setup user
refused 'XDG_CONFIG_HOME: /etc/xdg is not below /home/joe' as_joe env XDG_CONFIG_HOME=/etc/xdg runitbox setup user
refused 'XDG_CONFIG_HOME: etc is no absolute path' as_joe env XDG_CONFIG_HOME=etc runitbox setup user
ln -s /etc /home/joe/.config
refused 'is not below /home/joe' as_joe runitbox setup user
rm /home/joe/.config
ln -s /nowhere /home/joe/.config
refused 'nothing was changed: .*path escapes from parent' as_joe runitbox setup user
rm /home/joe/.config
ln -s /etc/passwd /home/joe/.profile
refused 'nothing was changed: /home/joe/.profile: it is no regular file' as_joe runitbox setup user --login
rm /home/joe/.profile
chmod 555 /home/joe
refused 'nothing was changed: unable to make .config: access denied' as_joe runitbox setup user
for args in '--login joe' '--root /mnt' '--list extra --nosuch'; do
	runitbox setup user $args 2>said && exit 1 || test $? = 100
	grep 'usage: runitbox setup user' said
done
`, joesFiles)
}

// TestSetupUserService: root's service is one user's tree, with what a login gives, and
// ends with all of it.
func TestSetupUserService(t *testing.T) {
	t.Parallel()
	inRoot(t, withJoe+`
mkdir -p /service /etc/sv
runitbox setup user joe
service /home/joe/.config/service/web
web=/home/joe/.config/service/web
export SECRET=roots
runsvdir -P /service & P=$!
ln -s /etc/sv/user-joe /service/
eventually sv check $web
eventually test -s $web/env
cat $web/env
for word in HOME=/home/joe USER=joe LOGNAME=joe SHELL=/bin/sh XDG_RUNTIME_DIR=/run/user/1234; do grep -qx $word $web/env; done
not grep SECRET $web/env
not grep DBUS $web/env
grep 'uid=1234(joe) gid=1234(joe).*(audio)' $web/env
grep NoNewPrivs /proc/$(cat $web/supervise/pid)/status
test "$(stat -c '%U %a' /run/user/1234)" = 'joe 700'
# joe rules his own, and nobody else's
as_joe sv restart $web
not as_joe sv stop /service/user-joe
# Killed, the next takes over.
pid=$(cat $web/supervise/pid) tree=$(cat /etc/sv/user-joe/supervise/pid)
kill -9 $tree
eventually not grep -qx $tree /etc/sv/user-joe/supervise/pid
eventually sv check $web
sv check /service/user-joe
test "$(cat $web/supervise/pid)" = $pid
# restart and stop and exit: the services end with it, also those that take their time
mkdir /home/joe/.config/service/slow
cp /opt/slow /home/joe/.config/service/slow/run
chown -R joe /home/joe/.config/service/slow
eventually test -s /home/joe/.config/service/slow/here
rm /home/joe/.config/service/slow/here
sv -w 20 restart /service/user-joe
not kill -0 $pid
test "$(cat /home/joe/.config/service/slow/ended)" = well
eventually test -s /home/joe/.config/service/slow/here
eventually sv check $web
pid=$(cat $web/supervise/pid)
rm /home/joe/.config/service/slow/ended
sv -w 20 stop /service/user-joe
not kill -0 $pid
test "$(cat /home/joe/.config/service/slow/ended)" = well
eventually not pgrep -u joe
# with a session's bus, which the service of joe's is
ln -s /home/joe/.config/service/web /home/joe/.config/service/dbus
sv start /service/user-joe
eventually grep -qx DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1234/bus $web/env
pid=$(cat $web/supervise/pid)
sv -w 20 exit /service/user-joe
eventually not pgrep -u joe
# another place, by conf; the page's, if that is there
rm -r /home/joe/.config
service /home/joe/service/web
rm /service/user-joe
eventually not sv status /etc/sv/user-joe
ln -s /etc/sv/user-joe /service/
eventually sv check /home/joe/service/web
kill -HUP $P
wait $P || :
eventually not pgrep -u joe
`, joesFiles)
}

// TestSetupUserX: the X session of a user is started at his login's shell, ends with the
// service, and is given up when it ends at once again and again.
func TestSetupUserX(t *testing.T) {
	t.Parallel()
	inRoot(t, withJoe+`
mkdir -p /service /etc/sv /usr/local/bin
cp /opt/xinit /usr/local/bin/xinit
cp /opt/runitbox /usr/bin/
runitbox setup user --x joe
runsvdir -P /service &
ln -s /etc/sv/x-joe /service/
eventually test -s /home/joe/session
grep -qx 'joe /home/joe' /home/joe/session
sv check /service/x-joe
pid=$(sed -n 2p /home/joe/session)
kill -0 $pid
sv -w 10 stop /service/x-joe
eventually not kill -0 $pid
test "$(cat /home/joe/ended)" = well
# The user's .xinitrc, as xinit would run it: the tree is there as long as the window manager.
service /home/joe/.config/service/web
as_joe runitbox setup user --x
as_joe env WINDOW_MANAGER=/opt/wm DISPLAY=:7 /home/joe/.xinitrc
grep -qx DISPLAY=:7 /home/joe/.config/service/web/env
eventually not pgrep -u joe
# A session that fails at once.
echo '#!/bin/sh' >/usr/local/bin/xinit
sv start /service/x-joe
eventually grep -qx down /etc/sv/x-joe/supervise/stat
eventually sh -c 'sv status /service/x-joe | grep "^down: .*normally up"'
`, joesFiles)
}

// TestSetupUserScripts: what is written for users, other inits and recipes is a script to
// every shell, and nothing is wrong with it that shellcheck knows of.
func TestSetupUserScripts(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, args := range []string{
		"boot --root " + root + " openrc", "user --root " + root + " joe", "user --root " + root + " --x joe",
		"user --login --session --systemd --x", "recipes --root " + root + " failover postgresql-replica",
	} {
		cmd := exec.Command(exe, append([]string{"setup"}, strings.Fields(args)...)...)
		cmd.Env = []string{"HOME=" + root}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
	}
	var scripts []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.HasPrefix(string(text), "#!") || d.Name() == ".profile" {
			scripts = append(scripts, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 20 {
		t.Errorf("%d scripts", len(scripts))
	}
	for _, shell := range [][]string{{"sh", "-n"}, {"dash", "-n"}, {peer(t, "busybox"), "sh", "-n"}} {
		if _, err := exec.LookPath(shell[0]); err != nil {
			continue
		}
		for _, s := range scripts {
			if out, err := exec.Command(shell[0], append(shell[1:], s)...).CombinedOutput(); err != nil {
				t.Errorf("%q %s: %v: %s", shell, s, err, out)
			}
		}
	}
	if out, err := exec.Command(peer(t, "shellcheck"), append([]string{"-s", "sh", "-e", "SC1090,SC1091"}, scripts...)...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v: %s", err, strings.ReplaceAll(string(out), root, ""))
	}
}
