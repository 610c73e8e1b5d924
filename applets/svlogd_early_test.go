package applets

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// builtLinks is a PATH with links to the executable that make build makes, which begins with
// what Go's own entry does not have.
func builtLinks(t *testing.T) (path string) {
	t.Helper()
	bin := withLinks(t, built(t))
	os.Chmod(filepath.Dir(bin), 0o755)
	tools, err := links() // of the scripts
	if err != nil {
		t.Fatal(err)
	}
	return bin + ":" + tools
}

// TestLogHostBuilt plays the scripts of log services that share a process with the
// executable, where a log service asks for a host before Go's runtime begins.
func TestLogHostBuilt(t *testing.T) {
	bin := builtLinks(t)
	paths, err := filepath.Glob("../testdata/scripts/log-host*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "-security.txt") {
			continue // who tells there what is not true is the test itself, in the place of svlogd
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			script(t, path, bin)
		})
	}
}

// TestLogHostEarly: a svlogd whose log a host takes ends before Go's runtime begins, which
// tells of that where it is asked to.
func TestLogHostEarly(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there is no such entry for this machine")
	}
	path := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(path, []byte(`
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 400 ] || { echo "never: $*; $(cat err)"; exit 1; }; moment; done; }
for s in first second; do
	mkdir -p tree/$s/log/main; cp run tree/$s/; cp logger tree/$s/log/run
	chmod +x tree/$s/run tree/$s/log/run
	[ "${P-}" ] || { runsvdir tree 2>err & P=$!; }
	soon grep -q begin tree/$s/log/main/current
done
test "$(cat tree/first/log/supervise/pid)" = "$(cat tree/second/log/supervise/pid)"
grep -q '^init ' tree/first/log/trace
test ! -s tree/second/log/trace
kill -HUP $P
-- run --
#!/bin/sh
echo begin
exec sleep 1000
-- logger --
#!/bin/sh
GODEBUG=inittrace=1 exec svlogd main 2>trace
`), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, path, builtLinks(t))
}

// TestRsvlogEarly: a link to rsvlog ends before Go's runtime begins where the core can do what
// it would, and begins wherever anything is not plain; what comes of it is the same.
func TestRsvlogEarly(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there is no such entry for this machine")
	}
	if os.Geteuid() != 0 {
		skip(t, "only root's rsvlog becomes another user")
	}
	path := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(path, []byte(`
if not superuser; then echo 'skipped: takes root'; exit 0; fi
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 400 ] || { echo "never: $*; $(grep -v ^init err)"; exit 1; }; moment; done; }
usual=$(for u in rsvlog _runit-log daemon nobody; do id -u $u 2>/dev/null || true; done | head -n 1)
chmod 755 . ..; mkdir new tree base # another user writes there
make() { # NAME, and more for its conf
	mkdir -p new/$1/log; cp run new/$1/; [ -e new/$1/log/run ] || ln -s "$(command -v rsvlog)" new/$1/log/run
	[ -e new/$1/log/conf ] || printf '%s\n' "SV_LOGDIR=$PWD/base/$1" "$2" >new/$1/log/conf
	mv new/$1 tree/
}
GODEBUG=inittrace=1 runsvdir tree 2>err & P=$!
host() { text tree/$1/log/supervise/pid; }
has() { grep -q "$2" base/$1/current 2>/dev/null; }
together() { [ -n "$(host $1)" ] && [ "$(host $1)" = "$(host $2)" ]; }
begun() { [ $(grep -c '^init runtime ' err) = $1 ]; }
ends() { # NAME WITH CONF: nothing begins
	make $1 "$3"; soon has $1 begin; soon together $1 $2; begun $N
}
begins() { # NAME CONF
	N=$((N+1)); make $1 "$2"; soon has $1 begin; soon begun $N
}
N=2; begins first # after the runsvdir and its core

ends plain first; test "$(stat -c '%u %a' base/plain)" = "$usual 750"
test "$(readlink tree/plain/log/main) $(readlink tree/plain/log/current)" = "$PWD/base/plain main/current"
mkdir -m 750 base/there; chown $usual base/there; ends there first
ends stamped first SV_TIMESTAMP=-tt; has stamped '^[0-9-]*_[0-9:.]* begin'
ends linked first "CURRENT_LOG_FILE=$PWD/base/link"; grep -q begin base/link
begins nobody USERGROUP=nobody; ends nobody2 nobody USERGROUP=nobody
test "$(stat -c %U base/nobody2/current)" = nobody
mkdir -p new/script/log; printf '#!/bin/sh\nexec rsvlog\n' >new/script/log/run; chmod +x new/script/log/run; ends script first
mkdir -p new/based/log; echo >new/based/log/conf; printf '#!/bin/sh\nexec rsvlog %s/base\n' $PWD >new/based/log/run; chmod +x new/based/log/run; ends based first
# What conf says counts at each start.
echo "SV_LOGDIR=$PWD/base/moved" >tree/plain/log/conf; sv -w 9 restart ./tree/plain/log; sv -w 9 restart ./tree/plain
soon has moved begin; soon together plain first; begun $N; test "$(readlink tree/plain/log/main)" = $PWD/base/moved
# A config is its owner's to write; after that there is nothing to be done.
mkdir -p new/config/log; echo s5000 >new/config/log/log.config; begins config
test "$(cat base/config/config)" = s5000; test "$(stat -c %u base/config/config)" = $usual
sv -w 9 restart ./tree/config/log; soon together config first; begun $N
echo s6000 >tree/config/log/log.config; sv -w 9 restart ./tree/config/log; N=$((N+1)); soon begun $N; soon grep -q s6000 base/config/config
soon together config first; rm base/config/config; mkfifo base/config/config # of its owner's
sv -w 9 restart ./tree/plain/log; soon together plain first

# What is not plain.
begins shell 'true $(echo)'
mkdir -p new/alink/log; echo "SV_LOGDIR=$PWD/base/alink" >elsewhere; ln -s $PWD/elsewhere new/alink/log/conf; begins alink
mkdir -p new/large/log; { echo "SV_LOGDIR=$PWD/base/large"; yes '# much' | head -c 10000000; } >new/large/log/conf; begins large
mkdir -p new/closed/log; chmod 700 new/closed/log; begins closed
mkdir -p new/own/log; : >new/own/log/own-process; begins own; not together own first
mkdir -p new/given/log; printf '#!/bin/sh\nexec rsvlog -tt\n' >new/given/log/run; chmod +x new/given/log/run; begins given
# It is said once, by rsvlog itself, and nothing is done as somebody else.
said() { grep -v ^init err | grep -c "$1"; }
begins unknown USERGROUP=nosuch; [ $(said 'nosuch: logging as root') = 1 ]
begins unknown2 USERGROUP=nosuch; soon together unknown unknown2; [ $(said 'nosuch: logging as root') = 2 ]
mkdir base/others; chown 12345 base/others; begins others
[ $(said 'base/others belongs to 12345') = 1 ]; test "$(stat -c %u base/others/current)" = 12345
mkdir target; ln -s $PWD/target base/planted; chown -h 12345 base/planted; make planted
soon grep -q 'base/planted: it is a link of 12345' err; test -z "$(ls target)"
mkdir -m 700 base/dark; make dark SV_LOGDIR=$PWD/base/dark/log # its owner does not get there
soon grep -q 'base/dark/log: access denied' err; test -z "$(ls -A base/dark/log)"
sv -w 9 exit ./tree/planted/log ./tree/dark/log ./tree/planted ./tree/dark
# A conf that nobody writes to holds up rsvlog, and neither the core nor its service.
mkdir -p new/fifo/log; mkfifo new/fifo/log/conf; make fifo
is() { test "$(text tree/$1/supervise/stat)" = "$2"; }
soon is fifo run; soon is fifo/log run
for n in 1 2 3; do sv -w 9 restart ./tree/fifo; done
sv -w 9 force-stop ./tree/fifo ./tree/fifo/log
make last SV_LOG_CHOWN=yes; soon has last begin; soon together last first
kill -HUP $P; wait $P || test $? = 111
-- run --
#!/bin/sh
echo begin
exec sleep 1000
`), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, path, builtLinks(t))
}
