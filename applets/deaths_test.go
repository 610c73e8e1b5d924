package applets

import (
	"path/filepath"
	"testing"
)

// TestOpeningHangs: a service whose directory does not answer holds up the ends of
// no other process that a killed core has left, adopted or nobody's.
func TestOpeningHangs(t *testing.T) {
	needFuse(t)
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "script")
	text := `soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 200 ] || { echo "never: $*; $(cat err)"; exit 1; }; sleep .05; done; }
core() { for c in $(cat /proc/$P/task/*/children); do [ "$(cat /proc/$c/comm)" != runsv ] || echo $c; done; }
is() { test "$(cat tree/$1/supervise/stat)" = "$2"; }
other() { p=$(cat tree/$1/supervise/pid) && [ -n "$p" ] && [ "$p" != "$2" ]; }
held() { grep -q ":$(stat -c %i tree/$1/supervise/lock) " /proc/locks; }
zombie() { grep -q '^State:.Z' /proc/$1/status; }
gone() { ! test -e /proc/$1; }
mkdir m tree
stallfs m rules & F=$!
soon test -e rules.ready
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
kill -9 $F; wait $F || true
umount -l m
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
`
	if err := writeFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, file, bin)
}
