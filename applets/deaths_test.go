package applets

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// stalled plays a script, with its files, to which a file system on m is given that
// can be made to hang, by rules: soon waits for a command, and fails aloud.
func stalled(t *testing.T, text string) {
	t.Helper()
	needFuse(t)
	bin, err := links()
	if err == nil {
		bin, err = callers(bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	const begin = `soon() { set +x; n=0; until "$@"; do n=$((n+1)); [ $n -lt 200 ] || { echo "never: $*"; cat err; ps -eo pid,ppid,state,args; cat /proc/[0-9]*/task/*/stack | grep fuse_; exit 1; }; moment; done; set -x; }
mkdir m
stallfs m rules & F=$!
soon test -e rules.ready
`
	const end = `kill -9 $F; wait $F || true
umount -l m
`
	body, files, _ := strings.Cut(text, "\n-- ")
	file := filepath.Join(t.TempDir(), "script")
	if err := writeFile(file, []byte(begin+body+"\n"+end+"-- "+files), 0o644); err != nil {
		t.Fatal(err)
	}
	// A file system that stops answering between the answer that a child has had of it and
	// the scanner's own call holds that up: seldom, and hardly twice.
	err = tryScript(t, file, bin)
	if err != nil {
		t.Log("once more, after:", err)
		err = tryScript(t, file, bin)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestOpeningHangs: a service whose directory does not answer holds up the ends of
// no other process that a killed core has left, adopted or nobody's.
func TestOpeningHangs(t *testing.T) {
	t.Parallel()
	stalled(t, `core() { for c in $(cat /proc/$P/task/*/children); do [ "$(cat /proc/$c/comm)" != runsv ] || echo $c; done; }
is() { test "$(cat tree/$1/supervise/stat)" = "$2"; }
other() { p=$(cat tree/$1/supervise/pid) && [ -n "$p" ] && [ "$p" != "$2" ]; }
held() { grep -q ":$(stat -c %i tree/$1/supervise/lock) " /proc/locks; }
zombie() { grep -q '^State:.Z' /proc/$1/status; }
gone() { ! test -e /proc/$1; }
mkdir tree
cp -r slow m/slow
ln -s ../m/slow tree/slow
for s in a b; do cp -r web tree/$s; done
runsvdir tree 2>err & P=$!
for s in a b slow; do soon is $s run; done
slow=$(cat tree/slow/supervise/pid)
soon test -s tree/b/orphan
old=$(core)
echo 'lookup slow/supervise' >rules
kill -9 $old
soon grep -q 'lookup slow/supervise' rules.held
new() { n=$(core) && [ -n "$n" ] && [ "$n" != "$old" ]; }; soon new
for s in a b; do soon held $s; done
# Nobody's, before all others; then two at once that are known, and one that may be
# known when it has been opened.
kill -9 $(cat tree/b/orphan) $slow
soon zombie $(cat tree/b/orphan); soon zombie $slow
for n in 1 2 3; do
	a=$(cat tree/a/supervise/pid) b=$(cat tree/b/supervise/pid)
	rm -f tree/?/ended
	kill -9 $a $b
	soon other a $a; soon other b $b
	for s in a b; do soon is $s run; test "$(cat tree/$s/ended)" = '-1 9'; done
	soon gone $a; soon gone $b
done
zombie $(cat tree/b/orphan); zombie $slow
: >rules
soon other slow $slow; soon is slow run
test "$(cat tree/slow/ended)" = '-1 9'
soon gone $slow; soon gone $(cat tree/b/orphan)
kill -HUP $P; wait $P || test $? = 111
for s in a b slow; do soon is $s down; done
-- web/run --
#!/bin/sh
[ -e orphan ] || (sleep 1000 & echo $! >orphan)
exec sleep 1000
-- web/finish --
#!/bin/sh
echo "$@" >ended
-- slow/run --
#!/bin/sh
exec sleep 1000
-- slow/finish --
#!/bin/sh
echo "$@" >ended
`)
}

type holdup struct {
	name, rules, begin string
}

// holdups are what a service is held up at, by rules for the file system that it
// is on, and what makes it come there.
var holdups = []holdup{
	{name: "exec", rules: "open slow/run", begin: "die"},
	{name: "directory", rules: "access slow", begin: "die"},
	{name: "record", rules: "write slow/supervise/proc", begin: "die"},
	{name: "finish", rules: "lookup slow/finish", begin: "die"},
	{name: "rename", rules: "rename slow/supervise/stat.new\nrename2 slow/supervise/stat.new", begin: "die"},
	{name: "status", rules: "open slow/supervise/pid.new\ncreate slow/supervise/pid.new\nlookup slow/supervise/pid.new", begin: "die"},
	{name: "mkdir", rules: "mkdir slow/supervise", begin: "appear"},
	{name: "supervise", rules: "lookup slow/supervise", begin: "appear"},
	{name: "lock", rules: "lookup slow/supervise/lock", begin: "appear"},
	{name: "log", rules: "lookup slow/log", begin: "appear"},
	{name: "control", rules: "lookup slow/supervise/control", begin: "appear"},
	{name: "ok", rules: "mknod slow/supervise/ok", begin: "appear"},
	{name: "a stopped server", begin: "stop"},
	{name: "a stopped reader of standard error", begin: "mute"},
}

// nothing is where nothing is held up: it tells how slow the machine is.
var nothing = holdup{name: "nothing", begin: "control"}

// heldTimes are how long each event has taken at most, in milliseconds.
type heldTimes map[string]int

// heldUp plays the script for one place.
func heldUp(t *testing.T, h holdup) heldTimes {
	bin, err := links()
	if err == nil {
		bin, err = callers(bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../testdata/held-up.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file, took := filepath.Join(dir, "script"), filepath.Join(dir, "times")
	vars := fmt.Sprintf("BEGIN=%s RULES='%s' TIMES=%s\n", h.begin, h.rules, took)
	if err := writeFile(file, append([]byte(vars), text...), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, file, bin)
	lines, err := os.ReadFile(took)
	if err != nil {
		t.Fatal(err)
	}
	times := heldTimes{}
	for line := range strings.Lines(string(lines)) { // an event and a number
		at := strings.LastIndex(line, " ")
		ms, err := strconv.Atoi(strings.TrimSpace(line[at+1:]))
		if err != nil {
			t.Fatal(err)
		}
		times[line[:at]] = max(times[line[:at]], ms)
	}
	return times
}

// late are the events that have taken more than a second longer than where nothing is
// held up.
func (h heldTimes) late(t *testing.T, name string, alone heldTimes) (late []string) {
	for _, event := range slices.Sorted(maps.Keys(h)) {
		t.Logf("held up at %s, %s: %d ms; where nothing is held up %d", name, event, h[event], alone[event])
		if h[event] > 1000+alone[event] {
			late = append(late, fmt.Sprintf("%s: %d ms, not %d", event, h[event], alone[event]))
		}
	}
	return late
}

// TestHeldUp: whatever a service is held up at, and whatever happens meanwhile, all
// others are served within a second, and the tree can be stopped. The places are tried
// at once, which may take its time on a small machine: those where it does are tried again,
// three times at most. What waits for the place does so each time; what waits for other
// tests does not.
func TestHeldUp(t *testing.T) {
	needFuse(t)
	places := holdups
	for round := 1; len(places) > 0; round++ {
		times := map[string]heldTimes{}
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			var mu sync.Mutex
			for _, h := range append(slices.Clone(places), nothing) {
				t.Run(h.name, func(t *testing.T) {
					t.Parallel()
					took := heldUp(t, h)
					mu.Lock()
					defer mu.Unlock()
					times[h.name] = took
				})
			}
		})
		var again []holdup
		for _, h := range places {
			if late := times[h.name].late(t, h.name, times[nothing.name]); len(late) > 0 {
				if again = append(again, h); round == 4 {
					t.Errorf("too late at %s: %q", h.name, late)
				}
			}
		}
		if places = again; round == 4 {
			return
		}
	}
}

// TestThreadHangs: the kernel gives the signal of a child's end to the thread that
// has made the child. Where that thread hangs at a disk, the ends are noticed all
// the same.
func TestThreadHangs(t *testing.T) {
	t.Parallel()
	stalled(t, `is() { test "$(cat tree/$1/supervise/stat)" = "$2"; }
up() { for s in $all; do is $s run || return 1; done; }
pids() { for s in $all; do cat tree/$s/supervise/pid; done; }
fresh() { now=$(pids); test $(echo $now | wc -w) = 20 && up && for p in $now; do case " $before " in *" $p "*) return 1 ;; esac; done; }
mkdir tree
all=
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do all="$all s$n"; cp -r web tree/s$n; done
for n in 1 2 3 4 5 6; do cp -r web m/slow$n; ln -s ../m/slow$n tree/slow$n; done
runsvdir tree 2>err & P=$!
soon up
for n in 1 2 3 4 5 6; do soon is slow$n run; done
echo 'write slow?/supervise/proc' >rules
kill -9 $(cat m/slow?/supervise/pid)
all6() { test $(grep -c . rules.held) -ge 6; }
soon all6
for n in 1 2 3; do
	before=$(echo $(pids))
	kill -9 $before
	soon fresh
done
: >rules
kill -HUP $P; wait $P || test $? = 111
soon sh -c '! pgrep -x runsv'
-- web/run --
#!/bin/sh
exec sleep 1000
`)
}

// TestDirectoryHangs: where the directory of services itself does not answer, what
// runs is served, and the scanner can be upgraded, ended and killed.
func TestDirectoryHangs(t *testing.T) {
	t.Parallel()
	text := `core() { for c in $(cat /proc/$P/task/*/children); do [ "$(cat /proc/$c/comm)" != runsv ] || grep -q '^State:.Z' /proc/$c/status || echo $c; done; }
is() { test "$(cat svc/$1/supervise/stat)" = "$2"; }
other() { p=$(cat svc/$1/supervise/pid) && [ -n "$p" ] && [ "$p" != "$2" ]; }
has() { grep -q "FLOCK *ADVISORY *WRITE $1 [^ ]*:$(stat -c %i svc/web/supervise/lock) " /proc/locks; }
next() { new=$(core) && [ -n "$new" ] && [ "$new" != "$old" ] && has $new; }
scanner() {
	rm -f ended scanner
	sh -c 'runsvdir m/tree 2>err & echo $! >scanner; wait $!; echo $? >ended' &
	soon test -s scanner
	P=$(cat scanner)
}
served() { # by then the look hangs, and with ALRM what writes of it
	kill -ALRM $P
	soon test -s rules.held
	p=$(cat svc/web/supervise/pid)
	kill -9 $p
	soon other web $p
	sv -w 5 restart "$PWD/svc/web"
}
free() { # until all that has hung has looked, and one look more
	: >rules
	for n in 1 2; do
		cp -r svc/web svc/new; rm -rf svc/new/supervise
		ln -s "$PWD/svc/new" m/tree/new
		kill -ALRM $P
		soon is new run
		rm m/tree/new
		kill -ALRM $P
		soon sh -c '! test -e svc/new/supervise/proc'
		rm -r svc/new
	done
	rm -f rules.held
}
hang() { echo "$RULE" >rules.new; mv rules.new rules; }
mkdir m/tree
ln -s "$PWD/svc/web" m/tree/web
scanner
soon is web run
hang
served
old=$(core)
kill -USR2 $P
soon next
test "$(cat /proc/$P/comm)" = runsvdir
served
free
hang
served
kill -9 $P
soon grep -qx 137 ended
served() { sv -w 5 restart "$PWD/svc/web"; }
served
: >rules
scanner
old=$new
soon next
free
hang
kill -ALRM $P
soon test -s rules.held
kill $P
soon grep -qx 0 ended
served
: >rules
scanner
new() { new=$(core) && [ -n "$new" ] && has $new; }; soon new
free
hang
kill -ALRM $P
soon test -s rules.held
kill -HUP $P
soon grep -qx 111 ended
soon is web down
-- svc/web/run --
#!/bin/sh
exec sleep 1000
`
	for _, rule := range []string{"lookup tree", "getattr tree", "access tree", "opendir tree", "readdir tree", "readlink tree/web", "create tree/.forced-rescan\nopen tree/.forced-rescan"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			stalled(t, "RULE='"+rule+"'\n"+text)
		})
	}
}

// TestEndBeforeTheFirstLook: a runsvdir that is told to end, and its services with it, before
// it has looked at its directory has those exit all the same that run since an earlier one,
// and begins nothing.
func TestEndBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	stalled(t, `mkdir m/tree
ln -s "$PWD/web" m/tree/web
runsvdir m/tree & P=$!
eventually grep -qx run web/supervise/stat
pid=$(cat web/supervise/pid)
kill $P; wait $P
kill -0 $pid
mkdir other; cp web/run other
ln -s "$PWD/other" m/tree/other
for way in HUP TERM; do
	option=; [ $way = HUP ] || option=--stop-on-term
	echo 'opendir tree' >rules
	runsvdir $option m/tree & P=$!
	eventually test -s rules.held
	kill -$way $P
	: >rules
	status=0; wait $P || status=$?
	eventually dead $pid
	eventually grep -qx down web/supervise/stat
	test ! -e other/supervise/pid
	case $way in
	HUP)
		test $status = 111
		rm m/tree/other
		runsvdir m/tree & P=$!
		eventually grep -qx run web/supervise/stat
		pid=$(cat web/supervise/pid)
		kill $P; wait $P
		ln -s "$PWD/other" m/tree/other ;;
	*) test $status = 0 ;;
	esac
	rm -f rules.held
done
-- web/run --
#!/bin/sh
exec sleep 1000
`)
}

// TestWatchHangs: where one service's supervise directory cannot be watched, since it
// does not answer, that of each other is, and is made again when it is removed.
func TestWatchHangs(t *testing.T) {
	t.Parallel()
	stalled(t, `mkdir tree
cp -r web m/slow
ln -s ../m/slow tree/slow
for s in a b c d e; do cp -r web tree/$s; done
runsvdir tree 2>err & P=$!
for s in a b c d e slow; do eventually sv check ./tree/$s; done
eventually grep -q ^run tree/slow/supervise/proc
echo 'lookup slow/supervise' >rules
eventually grep -q 'lookup slow/supervise' rules.held # that is three seconds after the start
for s in a b c d e; do
	pid=$(cat tree/$s/supervise/pid)
	rm -r tree/$s/supervise
	eventually sv check ./tree/$s
	test $(cat tree/$s/supervise/pid) = $pid
done
: >rules
kill -HUP $P; wait $P || test $? = 111
-- web/run --
#!/bin/sh
exec sleep 1000
`)
}
