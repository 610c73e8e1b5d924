#!/bin/sh
# Which daemons of Debian 12 tell by sd_notify(3) that they are ready, when they do relative
# to the moment from which they can be reached, and what else they tell: for each a row
#
#	| daemon | version | READY=1 | other messages |
#
# Strace tells the order: of the calls listen(2) (for a server of datagrams: bind(2)) and
# that which sends READY=1. A socket that listens takes connections, which wait for who
# accepts them. The other messages are of a start, a HUP and a TERM.
#
# Seen on Linux 6.18: the table in supervise/README.md. Which say nothing: chronyd, cron,
# dnsmasq, lighttpd, memcached, nginx, stunnel.
#
# Needs root, apt-get, dpkg and the packages' mirror; NAMES as arguments try some.
set -eu
dir=$(mktemp -d)
clean() { umount "$dir/root/proc" "$dir/root/dev" 2>/dev/null || true; rm -rf "$dir"; }
trap clean EXIT
cd "$dir"
chmod 755 .
mkdir -p lists/partial cache/partial root
cd root
for d in bin sbin lib lib64; do mkdir -p usr/$d; ln -s usr/$d $d; done
mkdir -p proc dev tmp run var/run etc
cd ..
apt="apt-get -qq -o APT::Sandbox::User=root -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir -o Debug::NoLocking=1 -o Dir::State::status=/dev/null -o Dir::Cache::archives=$dir/cache"
$apt update >/dev/null
$apt -y --download-only --no-install-recommends install strace base-passwd dash coreutils chrony cron dnsmasq-base haproxy lighttpd \
	memcached mosquitto nginx openssh-server php8.2-fpm redis-server rsyslog stunnel4 tor unbound bind9 >log 2>&1 || { tail log; exit 1; }
for p in cache/*.deb; do dpkg --fsys-tarfile "$p" | tar -xC root --keep-directory-symlink --no-same-owner --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'; done
cp root/usr/share/base-passwd/passwd.master root/etc/passwd
cp root/usr/share/base-passwd/group.master root/etc/group
for user in _chrony dnsmasq haproxy memcache mosquitto redis sshd tor debian-tor unbound bind stunnel4; do
	echo "$user:x:999:999::/:/bin/false" >>root/etc/passwd
	echo "$user:x:999:" >>root/etc/group
done
mount --bind /dev root/dev
mount -t proc proc root/proc
cd root
mkdir -p run/sshd run/php var/cache/bind run/named var/lib/php var/lib/redis var/lib/chrony var/tmp
chmod 777 tmp var/tmp var/cache/bind run/named var/lib/redis run
chown 999:999 var/lib/chrony
printf 'global\n\tmaster-worker\ndefaults\n\ttimeout client 1s\n\ttimeout server 1s\n\ttimeout connect 1s\nfrontend try\n\tbind 127.0.0.1:18080\n\tmode http\n' >etc/haproxy.try
printf 'listener 18081 127.0.0.1\nallow_anonymous true\n' >etc/mosquitto.try
printf 'module(load="imtcp")\ninput(type="imtcp" port="18082" address="127.0.0.1")\n*.* /tmp/rsyslog.out\n' >etc/rsyslog.try
printf 'Port 18083\nListenAddress 127.0.0.1\nHostKey /etc/ssh/try\nUsePAM no\n' >etc/sshd.try
chroot . ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/try
printf '[global]\nerror_log = /tmp/php.log\n[try]\nuser = www-data\nlisten = 127.0.0.1:18084\npm = static\npm.max_children = 1\n' >etc/php.try
printf 'foreground = yes\npid =\n[try]\nclient = yes\naccept = 127.0.0.1:18086\nconnect = 127.0.0.1:1\n' >etc/stunnel.try
printf 'SocksPort 127.0.0.1:18087\nDisableNetwork 0\nDataDirectory /tmp/tor\n' >etc/tor.try
printf 'server:\n\tinterface: 127.0.0.1@18088\n\tchroot: ""\n\tusername: ""\n\tpidfile: ""\n\tdo-daemonize: no\nremote-control:\n\tcontrol-enable: no\n' >etc/unbound.try
printf 'options { directory "/tmp"; listen-on port 18089 { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; pid-file none; };\n' >etc/named.try
printf 'server.document-root = "/tmp"\nserver.port = 18091\nserver.bind = "127.0.0.1"\n' >etc/lighttpd.try
printf 'daemon off;\nevents {}\npid /tmp/nginx.pid;\nerror_log /dev/null;\nhttp { access_log off; server { listen 127.0.0.1:18092; } }\n' >etc/nginx.try
: >etc/chrony.try
program() {
	case $1 in
	chronyd) echo chronyd -d -x -f /etc/chrony.try ;;
	cron) echo cron -f ;;
	dnsmasq) echo dnsmasq -k -p 18093 -C /dev/null ;;
	haproxy) echo haproxy -Ws -f /etc/haproxy.try ;;
	lighttpd) echo lighttpd -D -f /etc/lighttpd.try ;;
	memcached) echo memcached -u memcache -l 127.0.0.1 -p 18094 ;;
	mosquitto) echo mosquitto -c /etc/mosquitto.try ;;
	named) echo named -f -c /etc/named.try ;;
	nginx) echo nginx -c /etc/nginx.try ;;
	php-fpm) echo php-fpm8.2 -F -y /etc/php.try ;;
	redis) echo redis-server --supervised systemd --bind 127.0.0.1 --port 18095 --dir /tmp ;;
	rsyslogd) echo rsyslogd -n -iNONE -f /etc/rsyslog.try ;;
	sshd) echo /usr/sbin/sshd -D -f /etc/sshd.try ;;
	stunnel) echo stunnel4 /etc/stunnel.try ;;
	tor) echo tor -f /etc/tor.try ;;
	unbound) echo unbound -d -c /etc/unbound.try ;;
	esac
}
package() {
	case $1 in chronyd) echo chrony ;; dnsmasq) echo dnsmasq-base ;; named) echo bind9 ;; php-fpm) echo php8.2-fpm ;; redis) echo redis-server ;; rsyslogd) echo rsyslog ;; sshd) echo openssh-server ;; stunnel) echo stunnel4 ;; *) echo "$1" ;; esac
}
# seen PATTERN: strace has seen it, by now or within ten seconds
seen() {
	n=0
	until grep -q "$1" "$dir/trace" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 100 ] || return 1
		sleep 0.1
	done
}
[ $# -gt 0 ] || set -- chronyd cron dnsmasq haproxy lighttpd memcached mosquitto named nginx php-fpm redis rsyslogd sshd stunnel tor unbound
for name; do
	rm -f "$dir/trace"
	# A socket that is there and that nobody reads holds what a daemon says.
	perl -MSocket -e 'socket S, AF_UNIX, SOCK_DGRAM, 0; bind S, pack_sockaddr_un "$ARGV[0]"; chmod 0666, $ARGV[0]; $| = 1; while (defined recv S, $m, 4096, 0) {}' "$dir/root/run/notify" &
	reader=$!
	until [ -e run/notify ]; do sleep 0.05; done
	# shellcheck disable=SC2046
	NOTIFY_SOCKET=/run/notify "$dir/root/usr/bin/strace" -f -s 200 -e trace=listen,bind,sendto,sendmsg -o "$dir/trace" chroot . $(program "$name") >"$dir/out" 2>&1 &
	tracer=$!
	version=$(find "$dir/cache" -name "$(package "$name")_*.deb" | sed 's/.*_\(.*\)_.*/\1/; s/%3a/:/')
	if seen READY=1; then
		ready=$(grep -n READY=1 "$dir/trace" | head -n 1 | cut -d: -f1)
		what='listen('
		first=$(grep -nF "$what" "$dir/trace" | head -n 1 | cut -d: -f1)
		[ -n "$first" ] || first=$(grep -n 'bind(.*AF_INET' "$dir/trace" | head -n 1 | cut -d: -f1)
		if [ -z "$first" ]; then when='and listens nowhere'
		elif [ "$first" -lt "$ready" ]; then when='once it listens'
		else when='before it listens'; fi
		pid=$(cut -d' ' -f1 "/proc/$tracer/task/$tracer/children" || true)
		kill -HUP "$pid" || true
		sleep 2
	else
		when='never'
		pid=$(cut -d' ' -f1 "/proc/$tracer/task/$tracer/children" || true)
	fi
	kill -TERM "$pid" 2>/dev/null || true
	n=0
	while kill -0 "$tracer" 2>/dev/null && [ $n -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
	kill -9 "$pid" "$tracer" 2>/dev/null || true
	wait "$tracer" 2>/dev/null || true
	kill "$reader"
	wait "$reader" 2>/dev/null || true
	rm -f run/notify
	others=$(grep '/run/notify' "$dir/trace" | grep -o '"[^"]*"' | tr -d '"' | sed 's/\\n/\n/g' | grep -o '^[A-Z_]*=' | grep -v '^READY=' | sort -u | tr '\n' ' ' | sed 's/= */ /g')
	echo "| $name | $version | $when | $others |"
	if [ "$when" = never ]; then head -n 3 "$dir/out" | sed 's/^/	/'; fi
done
