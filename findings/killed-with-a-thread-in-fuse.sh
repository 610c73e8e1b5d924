#!/bin/sh
# A process that is killed while one of its threads waits for a FUSE server that has
# taken the request and does not answer (one that is stopped before it takes it lets
# go) is not dead: all that its threads share stays. Its flock(2) is
# still held, the other end of its socketpair does not see the end, wait4(2) does
# not return and its pidfd does not become readable, until the server answers or is
# gone. A supervisor that waits for the death of such a process to start another, or
# whose next instance takes the same lock, stands still for as long.
#
# Seen with bindfs 1.14.7 (Debian 12) above another that is stopped, on Linux 6.18:
#
#	after KILL: state of the process D or Z, wait4 0, link open, lock held
#	after CONT of the server: wait4 the pid, link closed, lock free
#
# Needs root, /dev/fuse, apt-get, dpkg and perl with threads.
set -eu
dir=$(mktemp -d)
server=''
clean() {
	[ -z "$server" ] || kill -CONT "$server" 2>/dev/null || true
	umount -l "$dir/m" 2>/dev/null || true
	umount -l "$dir/below" 2>/dev/null || true
	rm -rf "$dir"
}
trap clean EXIT
cd "$dir"
chmod 755 .
apt-get download -qq bindfs=1.14.7-1 libfuse2=2.9.9-6+b1 >/dev/null 2>&1
for p in *.deb; do dpkg -x "$p" root; done
lib=$(dirname "$(find root -name 'libfuse.so.2' | head -n 1)")
mkdir m below src
echo text >src/file
export LD_LIBRARY_PATH="$lib"
root/usr/bin/bindfs -f --no-allow-other -o attr_timeout=0,entry_timeout=0 src below &
server=$!
until [ -e below/file ]; do sleep 0.05; done
root/usr/bin/bindfs -f --no-allow-other -o attr_timeout=0,entry_timeout=0 below m &
until [ -e m/file ]; do sleep 0.05; done
cat >try.pl <<'PERL'
use strict; use threads; use Socket; use Fcntl qw(:flock); use POSIX ':sys_wait_h'; use IO::Handle;
my $server = shift;
socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, 0) or die;
my $child = fork;
if (!$child) {
	close $ours;
	open my $lock, '>', 'lock' or die;
	flock $lock, LOCK_EX or die;
	syswrite $theirs, "locked\n";
	sysread $theirs, my $go, 1;
	threads->create(sub { stat 'm/file' })->detach;
	sleep 1000;
}
close $theirs;
sysread $ours, my $line, 100;
kill 'STOP', $server;
select undef, undef, undef, 0.05 until `cat /proc/$server/stat` =~ /\) T /;
syswrite $ours, 'x';
# One of its threads waits for the server.
select undef, undef, undef, 0.05 until grep { `cat $_ 2>/dev/null` =~ /fuse|request_wait/ } glob "/proc/$child/task/*/wchan";
kill 'KILL', $child;
sub look {
	my $state = `cat /proc/$child/stat 2>/dev/null` =~ /\) (\w) / ? $1 : 'gone';
	my $waited = waitpid $child, WNOHANG;
	my $bits = ''; vec($bits, fileno $ours, 1) = 1;
	my $link = select($bits, undef, undef, 0) ? 'closed' : 'open';
	open my $lock, '>', 'lock' or die;
	my $held = flock($lock, LOCK_EX | LOCK_NB) ? 'free' : 'held';
	return ($state, $waited == $child ? 'the pid' : $waited, $link, $held);
}
select undef, undef, undef, 1.5; # what a kill takes otherwise is a thousandth of that
my ($state, @seen) = look();
print "after KILL: state of the process $state, wait4 $seen[0], link $seen[1], lock $seen[2]\n";
my $good = $state =~ /[DZ]/ && "@seen" eq '0 open held';
kill 'CONT', $server;
my @then;
for (1 .. 100) {
	my ($state, @now) = look();
	@then = @now if !@then || $then[0] ne 'the pid';
	@then[1, 2] = @now[1, 2];
	last if "@then" eq 'the pid closed free';
	select undef, undef, undef, 0.05;
}
print "after CONT of the server: wait4 $then[0], link $then[1], lock $then[2]\n";
exit !($good && "@then" eq 'the pid closed free');
PERL
perl try.pl "$server"
