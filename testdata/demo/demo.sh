#!/bin/sh
# demo.sh RUNITBOX shows the suite at work: a small tree of services in a
# temporary directory, of which nothing is left in the end. A step that does not
# do what it says ends the demo with status 1.
set -eu

box=${1:?usage: demo.sh path-of-runitbox}
case $box in /*) ;; *) box=$PWD/$box ;; esac
here=$(cd "$(dirname "$0")" && pwd)
T=$(mktemp -d "${TMPDIR:-/tmp}/runitbox-demo.XXXXXX")

# Whatever the demo starts inherits this, and is found by it in /proc.
export RUNITBOX_DEMO="$T"
export SVDIR="$T/service" RUNSVDIR="$T/runsvdir" PATH="$T/bin:$PATH"
unset SVWAIT || :

# running lists the processes that the demo has started. The list of all is
# made first, so that grep is not in it.
running() {
	set -- /proc/[0-9]*/environ
	grep -ls "RUNITBOX_DEMO=$T" "$@" | while IFS=/ read -r _ _ pid _; do
		echo "$pid"
	done
}

# clean ends all that runs, the polite way first, and removes the directory.
clean() {
	status=$?
	trap '' INT TERM HUP
	[ -z "${scanner:-}" ] || kill -HUP "$scanner" 2>/dev/null || :
	n=0
	while left=$(running) && [ -n "$left" ] && [ $n -lt 100 ]; do
		n=$((n + 1))
		[ $n -lt 50 ] || kill -KILL $left 2>/dev/null || :
		sleep 0.1
	done
	cd /
	if [ $status -ne 0 ]; then
		echo "demo: failed; the messages of the tree were:" >&2
		tail -n 30 "$T/messages" >&2 || :
	fi
	rm -rf "$T"
	exit $status
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# step says what is shown next.
steps=0
step() {
	steps=$((steps + 1))
	printf '\n%s. %s\n' $steps "$1"
}

# fail ends the demo.
fail() {
	echo "demo: step $steps: $*" >&2
	exit 1
}

# show runs a command and shows it with what it says.
show() {
	echo "   \$ $*"
	said=$("$@") || fail "$* has failed: $said"
	[ -z "$said" ] || echo "$said" | sed 's/^/     /'
}

# eventually repeats a command until it succeeds, for ten seconds.
eventually() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 100 ] || fail "never: $*"
		sleep 0.1
	done
}

# pid prints the process of a service.
pid() { cat "$SVDIR/$1/supervise/pid"; }

# parent prints the parent of a process.
parent() {
	while read -r key value; do
		[ "$key" != PPid: ] || echo "$value"
	done <"/proc/$1/status"
}

# The conditions that are waited for.
answers() { sv status "$@"; }
isup() { case $(sv status "$1") in run:*) ;; *) return 1 ;; esac; }
isgone() { case $(sv status "$1") in fail:*) ;; *) return 1 ;; esac; }
another() { p=$(pid "$1") && [ -n "$p" ] && [ "$p" != "$2" ] && isup "$1"; }
holds() { [ "$(wc -l <"$1")" -ge "$2" ]; }
another_core() { [ "$(parent "$(pid worker)")" != "$core" ]; }
nothing() { [ -z "$(running)" ]; }

# A link must still lead to a service while runlevels are switched: the names
# in a runlevel are links to the one place where the services are.
mkdir "$T/bin" "$T/runsvdir" "$T/runsvdir/default" "$T/runsvdir/single"
cp -R "$here/services" "$T/services"
for s in ticker crasher worker sleeper; do
	ln -s "../../services/$s" "$T/runsvdir/default/$s"
done
ln -s ../../services/ticker "$T/runsvdir/single/ticker"
ln -s default "$T/runsvdir/current"
ln -s runsvdir/current "$T/service"
cd "$T"

step "One executable, called by many names: links are all there is to install."
show "$box" install bin
show ls bin

step "runsvdir starts what is in its directory; sleeper has a file 'down' and stays so."
echo "   \$ runsvdir service &"
runsvdir service 2>messages &
scanner=$!
eventually isup ticker
eventually isup worker
eventually answers crasher sleeper
eventually isup ticker/log
show sv status ticker crasher worker sleeper

step "The log service keeps what ticker writes, with a time stamp on each line."
eventually holds services/ticker/log/main/current 2
show tail -n 3 services/ticker/log/main/current

step "crasher fails all the time and is started again, once a second."
eventually holds services/crasher/starts 3
show wc -l services/crasher/starts

step "sleeper is started when it is asked for."
show sv start sleeper
isup sleeper || fail "sleeper is not up"

step "A service that is killed is back at once, and its finish was told the signal."
old=$(pid worker)
echo "   \$ kill -KILL $old"
kill -KILL "$old"
eventually another worker "$old"
show sv status worker
show cat services/worker/finished
grep -qx 'exit code -1, signal 9' services/worker/finished || fail "finish was told something else"

step "The supervisor itself is killed: another takes over, no service's process has changed."
core=$(parent "$(pid worker)")
for s in ticker ticker/log sleeper; do
	[ "$(parent "$(pid $s)")" = "$core" ] || fail "$s has a supervisor of its own"
done
before="ticker $(pid ticker), its log $(pid ticker/log), worker $(pid worker), sleeper $(pid sleeper)"
echo "   $before"
echo "   \$ kill -KILL $core"
kill -KILL "$core"
eventually another_core
eventually answers ticker worker sleeper crasher
after="ticker $(pid ticker), its log $(pid ticker/log), worker $(pid worker), sleeper $(pid sleeper)"
echo "   $after"
[ "$before" = "$after" ] || fail "a service was started again"
for p in $(pid ticker) $(pid ticker/log) $(pid worker) $(pid sleeper); do
	kill -0 "$p" || fail "process $p is gone"
done
show sv status ticker worker sleeper

step "The new supervisor watches them as the old one did."
old=$(pid worker)
echo "   \$ kill -TERM $old"
kill -TERM "$old"
eventually another worker "$old"
show sv status worker
show tail -n 1 services/worker/finished
[ "$(tail -n 1 services/worker/finished)" = 'exit code -1, signal 15' ] || fail "finish was told something else"

step "Another runlevel: what is not in it stops, what is in both runs on."
old=$(pid ticker)
show runsvchdir single
for s in crasher worker sleeper; do
	eventually isgone "./services/$s"
done
show sv status ticker
[ "$(pid ticker)" = "$old" ] || fail "ticker was started again"

step "All stops with runsvdir, and the last line is in the log."
echo "   \$ kill -HUP $scanner"
kill -HUP "$scanner"
status=0
wait "$scanner" || status=$?
[ $status -eq 111 ] || fail "runsvdir exited $status, not 111"
scanner=
eventually nothing
show tail -n 1 services/ticker/log/main/current
echo
echo "Nothing runs on, and $T will be gone."
