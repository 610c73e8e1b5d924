package applets

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// personalities are the names under which chpst is called.
var personalities = []string{"chpst", "setuidgid", "envuidgid", "envdir", "pgrphack", "setlock", "softlimit", "denvdir", "dsetuidgid", "dsoftlimit"}

// loaderLinks is a directory of chpst's names, each a link to the executable
// that users get.
var loaderLinks = sync.OnceValues(func() (string, error) {
	exe, err := binary()
	if err != nil {
		return "", err
	}
	return linkAll(exe)
})

func linkAll(to string) (string, error) {
	dir, err := os.MkdirTemp(suiteDir, "chpst")
	if err != nil {
		return "", err
	}
	// The tests become nobody, who must be able to go all the way down.
	for _, d := range []string{dir, filepath.Dir(to)} {
		if err := os.Chmod(d, 0o755); err != nil {
			return "", err
		}
	}
	for _, name := range personalities {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// ours is loaderLinks, for tests that become other users.
func ours(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "only root becomes another user")
	}
	dir, err := loaderLinks()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// line is a shell command line and what comes of it: what is written to stdout
// and stderr, in this order, and the exit status at its end.
type line struct {
	name string
	sh   string
	want string

	// differs is why runit does something else on purpose, and runit what that
	// is. All such lines are in procenv/README.md's table.
	differs string
	runit   string
}

const usageOfChpst = "usage: chpst [...]\n\n"

// lines are the oracle table of chpst and its other names.
var lines = []line{
	// How it is called.
	{name: "no program", sh: `chpst`, want: usageOfChpst + "100"},
	{name: "no program after options", sh: `chpst -u nobody`, want: usageOfChpst + "100"},
	{name: "unknown option", sh: `chpst -x true`, want: "chpst: illegal option -- x\n" + usageOfChpst + "100"},
	{name: "unknown option under daemontools' name", sh: `dsoftlimit -x true`, want: "dsoftlimit: illegal option -- x\nusage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child\n\n100"},
	{name: "dash in a cluster", sh: `chpst -P- true`, want: "chpst: illegal option -- -\n" + usageOfChpst + "100"},
	{name: "option without its argument", sh: `chpst -u`, want: "chpst: option requires an argument -- u\n" + usageOfChpst + "100"},
	{name: "version", sh: `chpst -V true 2>&1 | sed '1d;2s/ .*//'; chpst -V true 2>/dev/null`, want: "usage:\n\n100"},
	{name: "not an option of chpst", sh: `chpst -s 1 true`, want: "chpst: illegal option -- s\n" + usageOfChpst + "100"},
	{name: "attached value", sh: `chpst -unobody id -u`, want: "65534\n0"},
	{name: "cluster with a value at its end", sh: `chpst -P2unobody id -u`, want: "65534\n0"},
	{name: "two dashes end the options", sh: `chpst -n 3 -- nice`, want: "3\n0"},
	{name: "options end at the program", sh: `chpst sh -c 'echo "$0" "$@"' -u nobody`, want: "-u nobody\n0"},
	{name: "a lone dash is the program", sh: `chpst - true`, want: "chpst: fatal: unable to run: -: file does not exist\n111"},
	{name: "the last one counts", sh: `chpst -u nosuch -n 5 -u nobody -n 2 sh -c 'id -u; nice'`, want: "65534\n2\n0"},
	{name: "exit status of the program", sh: `chpst sh -c 'exit 7'`, want: "7"},
	{name: "long option that nobody knows", sh: `chpst --frobnicate true`, want: "chpst: illegal option -- frobnicate\n" + usageOfChpst + "100",
		differs: "anything that begins with two dashes ends the options", runit: "0"},

	// Users.
	{name: "user", sh: `chpst -u nobody sh -c 'id -u; id -g; id -G'`, want: "65534\n65534\n65534\n0"},
	{name: "user and groups", sh: `chpst -u nobody:daemon:adm:tty sh -c 'id -u; id -g; id -G'`, want: "65534\n1\n1 4 5\n0"},
	{name: "numbers", sh: `chpst -u :1:2:3:4 sh -c 'id -u; id -g; id -G'`, want: "1\n2\n2 3 4\n0"},
	{name: "numbers and -U beside names", sh: `chpst -u nobody -U daemon sh -c 'id -u; echo $UID $GID'`, want: "65534\n1 1\n0"},
	{name: "unknown user", sh: `chpst -u nosuch true`, want: "chpst: fatal: unknown user/group: nosuch\n111"},
	{name: "no user", sh: `chpst -u '' true`, want: "chpst: fatal: unknown user/group: \n111"},
	{name: "empty group", sh: `chpst -u nobody: true`, want: "chpst: fatal: unknown user/group: nobody:\n111"},
	{name: "empty group at the end", sh: `chpst -u nobody:nogroup: true`, want: "chpst: fatal: unknown user/group: nobody:nogroup:\n111"},
	{name: "unknown group", sh: `chpst -u nobody:nosuch:daemon true`, want: "chpst: fatal: unknown user/group: nobody:nosuch:daemon\n111"},
	{name: "a number is a name", sh: `chpst -u 65534 true`, want: "chpst: fatal: unknown user/group: 65534\n111"},
	{name: "uid without gid", sh: `chpst -u :1 true`, want: "chpst: fatal: invalid uid/gids: 1\n111"},
	{name: "colon alone", sh: `chpst -u : true`, want: "chpst: fatal: invalid uid/gids: \n111"},
	{name: "gid that is no number", sh: `chpst -u :1:2:x true`, want: "chpst: fatal: invalid uid/gids: 1:2:x\n111"},
	{name: "signs in numbers", sh: `chpst -u :-1:1 true; chpst -u :+1:1 true`, want: "chpst: fatal: invalid uid/gids: -1:1\nchpst: fatal: invalid uid/gids: +1:1\n111"},
	{name: "empty gid", sh: `chpst -u :1: id -G`, want: "chpst: fatal: invalid uid/gids: 1:\n111",
		differs: "an empty number is 0", runit: "0\n0"},
	{name: "empty uid", sh: `chpst -u ::1 id -u`, want: "chpst: fatal: invalid uid/gids: :1\n111",
		differs: "an empty number is 0", runit: "0\n0"},
	{name: "numbers of more than 32 bits", sh: `chpst -u :4294967296:4294967297 id -u`, want: "chpst: fatal: invalid uid/gids: 4294967296:4294967297\n111",
		differs: "they wrap", runit: "0\n0"},
	{name: "not from nobody to root", sh: `chpst -u nobody chpst -u root true`, want: "chpst: fatal: unable to setgroups: permission denied\n111"},
	{name: "-U numbers", sh: `chpst -U :10:20:30 sh -c 'echo $UID $GID; id -u'`, want: "10 20\n0\n0"},
	{name: "-U overrides -e", sh: `chpst -U nobody -e ids sh -c 'echo $UID $GID'`, want: "65534 65534\n0"},
	{name: "-U needs all groups to exist", sh: `chpst -U nobody:daemon:nosuch true`, want: "chpst: fatal: unknown user/group: nobody:daemon:nosuch\n111"},
	{name: "-U leaves the rest alone", sh: `env -i HOME=/h USER=u PATH=$PATH chpst -U nobody sh -c 'echo $HOME $USER'`, want: "/h u\n0"},
	{name: "-u leaves HOME and USER alone", sh: `env -i HOME=/h USER=u PATH=$PATH chpst -u nobody sh -c 'echo $HOME $USER $UID'`, want: "/h u\n0"},
	{name: "users are looked up inside the root", sh: `chpst -/ root -u :7:8 /busybox id -u; chpst -/ root -u nobody /busybox id`, want: "7\nchpst: fatal: unable to get password/group file entry: file does not exist\n111"},
	{name: "-U is looked up inside the root", sh: `chpst -/ root -U nobody /busybox id`, want: "chpst: fatal: unable to get password/group file entry: file does not exist\n111"},
	{name: "groups are looked up inside the root", sh: `chpst -/ passwdroot -u who:daemon /busybox id`, want: "chpst: fatal: unable to get password/group file entry: file does not exist\n111"},
	{name: "a user of the root", sh: `chpst -/ passwdroot -u who /busybox sh -c '/busybox id -u; /busybox id -g'`, want: "77\n78\n0"},

	// Nice.
	{name: "nice", sh: `chpst -n 5 nice; chpst -n +5 nice; chpst -n 100 nice; chpst -n -100 nice`, want: "5\n5\n19\n-20\n0"},
	{name: "nice of nothing", sh: `chpst -n - nice; chpst -n '' nice; chpst -n + nice`, want: "0\n0\n0\n0"},
	{name: "nice adds up", sh: `chpst -n 3 chpst -n 4 nice`, want: "7\n0"},
	{name: "nice of no number", sh: `chpst -n 5x nice`, want: usageOfChpst + "100"},
	{name: "nice with a blank", sh: `chpst -n ' 5' nice`, want: usageOfChpst + "100"},
	{name: "nobody is not nicer to himself", sh: `chpst -u nobody chpst -n -5 true`, want: "chpst: fatal: unable to set nice level: permission denied\n111"},

	// Running.
	{name: "argv[0]", sh: `chpst -b foo sh -c 'echo $0'`, want: "foo\n0"},
	{name: "login shell", sh: `chpst -b -sh sh -c 'echo $0'`, want: "-sh\n0"},
	{name: "argv[0] in the message", sh: `chpst -b zz nosuchprog`, want: "chpst: fatal: unable to run: zz: file does not exist\n111"},
	{name: "nothing to run", sh: `chpst ''; chpst /nosuch; chpst ./noexec/x`, want: "chpst: fatal: unable to run: : access denied\nchpst: fatal: unable to run: /nosuch: file does not exist\nchpst: fatal: unable to run: ./noexec/x: not a directory\n111"},
	{name: "not executable", sh: `chpst ./noexec`, want: "chpst: fatal: unable to run: ./noexec: access denied\n111"},
	{name: "a directory", sh: `chpst ./sub; chpst .`, want: "chpst: fatal: unable to run: ./sub: access denied\nchpst: fatal: unable to run: .: access denied\n111"},
	{name: "no interpreter named", sh: `chpst ./noshebang`, want: "chpst: fatal: unable to run: ./noshebang: exec format error\n111"},
	{name: "empty element of PATH", sh: `c=$(command -v chpst); PATH=:/nosuch $c noexec; PATH= $c hello; PATH=/nosuch: $c hello`, want: "hello\nhello\nchpst: fatal: unable to run: noexec: access denied\n0"},
	{name: "no PATH", sh: `c=$(command -v chpst); unset PATH; $c sh -c 'echo found'`, want: "found\n0"},
	{name: "not executable in PATH, but further on", sh: `c=$(command -v chpst); PATH=$PWD/hidden:$PWD $c hello`, want: "hello\n0"},
	{name: "not executable anywhere in PATH", sh: `c=$(command -v chpst); PATH=$PWD/hidden:/bin $c hello`, want: "chpst: fatal: unable to run: hello: access denied\n111"},
	{name: "a file in PATH", sh: `c=$(command -v chpst); PATH=/etc/passwd:$PWD $c hello`, want: "hello\n0",
		differs: "the search ends there", runit: "chpst: fatal: unable to run: hello: not a directory\n111"},
	{name: "PATH of -e is not searched", sh: `chpst -e path hello`, want: "chpst: fatal: unable to run: hello: file does not exist\n111"},
	{name: "PATH of -e arrives", sh: `chpst -e path /bin/sh -c 'echo $PATH'`, want: ".\n0"},

	// Root and directory.
	{name: "root", sh: `chpst -/ root /busybox pwd`, want: "/\n0"},
	{name: "no such root", sh: `chpst -/ nosuch true; chpst -/ '' true`, want: "chpst: fatal: unable to change directory: nosuch: file does not exist\nchpst: fatal: unable to change directory: : file does not exist\n111"},
	{name: "-e is outside the root", sh: `chpst -/ root -e path /busybox sh -c 'echo $PATH'`, want: ".\n0"},
	{name: "chroot is root's", sh: `chpst -u nobody chpst -/ / true`, want: "chpst: fatal: unable to change root directory: permission denied\n111"},
	{name: "directory", sh: `chpst -C sub pwd | sed 's,.*/,,'; chpst -C nosuch pwd`, want: "sub\nchpst: fatal: unable to change directory: nosuch: file does not exist\n111",
		differs: "Debian's has no -C", runit: "chpst: illegal option -- C\n" + usageOfChpst + "chpst: illegal option -- C\n" + usageOfChpst + "100"},
	{name: "directory inside the root", sh: `chpst -C d -/ root /busybox pwd`, want: "/d\n0",
		differs: "Debian's has no -C", runit: "chpst: illegal option -- C\n" + usageOfChpst + "100"},

	// Descriptors.
	{name: "close", sh: `chpst -012 sh -c 'for n in 0 1 2; do test ! -e /proc/$$/fd/$n || exit 9; done'`, want: "0"},
	{name: "close twice", sh: `chpst -00 true`, want: "0"},
	{name: "close what is closed", sh: `chpst -0 true <&-; chpst -1 true >&-`, want: "chpst: fatal: unable to close stdin: file descriptor not open\nchpst: fatal: unable to close stdout: file descriptor not open\n111"},
	{name: "closed stays closed", sh: `chpst sh -c 'test ! -e /proc/$$/fd/0' <&-`, want: "0"},
	{name: "signals ignored stay ignored", sh: `trap '' HUP INT QUIT USR1 PIPE TERM; chpst grep SigIgn /proc/self/status | tail -c 6`, want: "05207\n0"},
	{name: "signals blocked stay blocked", sh: `perl -e 'use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1, SIGCHLD, SIGPROF)); exec @ARGV' chpst grep SigBlk /proc/self/status | tail -c 9`, want: "04010200\n0"},

	// Locks.
	{name: "lock", sh: `chpst -l lk sh -c 'stat -c %a lk; readlink /proc/$$/fd/3 | sed s,.*/,,'`, want: "600\nlk\n0"},
	{name: "lock that is held", sh: `chpst -l lk chpst -L lk true`, want: "chpst: fatal: unable to lock: lk: temporary failure\n111"},
	{name: "lock lives as long as the program", sh: `chpst -L lk sh -c 'chpst -L lk true'; chpst -L lk true && echo free`, want: "free\nchpst: fatal: unable to lock: lk: temporary failure\n0"},
	{name: "one lock only", sh: `chpst -l a -l b true; chpst -L a -l b true`, want: usageOfChpst + usageOfChpst + "100"},
	{name: "lock in no directory", sh: `chpst -l nosuch/lk true`, want: "chpst: fatal: unable to open lock: nosuch/lk: file does not exist\n111"},
	{name: "the lock is opened as the user", sh: `chmod 755 .; chpst -u nobody -l lk true`, want: "chpst: fatal: unable to open lock: lk: access denied\n111"},
	{name: "the lock is opened inside the root", sh: `chpst -/ root -l /d/lk /busybox true; test -e root/d/lk`, want: "0"},

	// Limits.
	{name: "descriptors", sh: `ulimit -n 4000; chpst -o 100 sh -c 'ulimit -Sn; ulimit -Hn'`, want: "100\n4000\n0"},
	{name: "descriptors of who did not ask", sh: `ulimit -Sn 300; ulimit -Hn 4000; chpst sh -c 'ulimit -Sn; ulimit -Hn'`, want: "300\n4000\n0"},
	{name: "limit beyond the hard one", sh: `ulimit -n 4000; chpst -o 99999999999 sh -c 'ulimit -Sn'`, want: "4000\n0"},
	{name: "limit of -1", sh: `ulimit -Sn 300; ulimit -Hn 4000; chpst -o 18446744073709551615 sh -c 'ulimit -Sn'`, want: "4000\n0"},
	{name: "limit below -1", sh: `ulimit -Sn 300; ulimit -Hn 4000; chpst -o 9223372036854775808 sh -c 'ulimit -Sn'`, want: "300\n0"},
	{name: "limit of no number", sh: `chpst -o 5M true; chpst -o -5 true; chpst -o = true`, want: usageOfChpst + usageOfChpst + usageOfChpst + "100"},
	{name: "limit of more than 64 bits", sh: `chpst -o 18446744073709551716 sh -c 'ulimit -n'`, want: usageOfChpst + "100",
		differs: "it wraps", runit: "100\n0"},
	{name: "memory", sh: `chpst -m 100000000 sh -c 'ulimit -Sd; ulimit -Ss; ulimit -Sv'; chpst -m 2097152000 sh -c 'test $(ulimit -l) -le 2048000'`, want: "97656\n97656\n97656\n0"},
	{name: "memory and data", sh: `chpst -m 100000000 -d 5000000 sh -c 'ulimit -Sd; ulimit -Ss'`, want: "4882\n97656\n0"},
	{name: "processor time", sh: `exec chpst -t 1 sh -c 'while :; do :; done'`, want: "152"},
	{name: "program that dies of its limits", sh: `for n in 0 1 1000; do (chpst -m $n true; echo $?) 2>/dev/null; done`, want: "139\n139\n139\n0"},
	{name: "loader that dies of its limits", sh: `chpst -o 3 true 2>/dev/null`, want: "127"},
	{name: "chpst under limits", sh: `chpst -m 30000000 chpst -u nobody chpst -o 50 sh -c 'ulimit -Sv; ulimit -Sd; id -u'; chpst -p 1 -u :54321:54321 chpst -P sh -c 'echo one'`, want: "29296\n29296\n65534\none\n0"},
	{name: "a user with too many processes", sh: `for n in 1 2 3; do chpst -u :54324:54324 sleep 100 >/dev/null 2>&1 & done
		until test $(ps -o comm= -U 54324 | grep -c sleep) -ge 3; do sleep 0.02; done
		(ulimit -Sp 2; chpst -u :54324:54324 echo it runs); (ulimit -Sp 2; chpst -p 500 -u :54324:54324 echo it runs with more)`, want: "it runs with more\nchpst: fatal: unable to run: echo: temporary failure\n0"},
	{name: "failed exec under limits", sh: `chpst -m 0 -o 0 nosuchprog`, want: "chpst: fatal: unable to run: nosuchprog: file does not exist\n111"},
	{name: "new descriptors of a new session", sh: `chpst -P sh -c 'test $(ps -o sid= -p $$) = $$'`, want: "0"},
	{name: "a leader leads already", sh: `chpst -P chpst -P true`, want: "0"},

	// Environment directories.
	{name: "environment", sh: `env -i HOME=/h KEEP=1 C=0 PATH=$PATH chpst -e env env | sed '/^PATH=/d' | sort`,
		want: "\nA=v1\nB= lead trail\nC=a\nCR=cr\r\nEMPTY=\nKEEP=1\nNONL=no newline\nSP=\nb\n0"},
	{name: "name with =", sh: `env -i A=1 PATH=$PATH chpst -e equal env | sed '/^PATH=/d' | sort`, want: "A=1\nC=2\nchpst: warning: unable to set variable equal/A=B: name contains =\n0",
		differs: "sets A to B=v", runit: "A=B=v\nC=2\n0"},
	{name: "subdirectory", sh: `chpst -e dirs true; chpst -v -e dirs true; envdir dirs true`, want: "chpst: warning: unable to read dirs/sub: is a directory\nchpst: fatal: unable to read dirs/sub: is a directory\n111"},
	{name: "no directory", sh: `chpst -e nosuch true; chpst -e noexec true; chpst -e '' true`, want: "chpst: fatal: unable to switch to directory: nosuch: file does not exist\nchpst: fatal: unable to switch to directory: noexec: not a directory\nchpst: fatal: unable to switch to directory: : file does not exist\n111"},
	{name: "unreadable file", sh: `chpst -u nobody chpst -e secret true`, want: "chpst: fatal: unable to read secret/S: access denied\n111"},
	{name: "unreadable directory", sh: `chmod 711 secret; chpst -u nobody chpst -e secret true; chmod 744 secret; chpst -u nobody chpst -e secret true`, want: "chpst: fatal: unable to open directory: secret: access denied\nchpst: fatal: unable to switch to directory: secret: access denied\n111"},
	{name: "unreadable start", sh: `chmod 711 .; chpst -u nobody chpst -e env true`, want: "chpst: fatal: unable to open current working directory: access denied\n111"},
	{name: "files are read before the user changes", sh: `chpst -u nobody -e secret sh -c 'echo $S'`, want: "s\n0"},
	{name: "FIFO", sh: `mkfifo fifo/F; F=1 chpst -e fifo sh -c 'echo ${F-unset}'`, want: "unset\n0"},
	{name: "links", sh: `ln -s nosuch links/D; D=1 F=2 chpst -e links sh -c 'echo $D $L'`, want: "1 value\n0",
		differs: "a link to nothing takes what was read before", runit: "*"},
	{name: "link to itself", sh: `ln -s L2 links/L2; chpst -e links true`, want: "chpst: fatal: unable to read links/L2: symbolic link loop\n111"},
	{name: "the start directory again", sh: `chpst -e env ./hello`, want: "hello\n0"},
	{name: "long value", sh: `head -c 100000 /dev/zero | tr '\0' x >long/V; chpst -e long sh -c 'echo ${#V}'`, want: "100000\n0"},
	{name: "a thousand files", sh: `i=0; while [ $i -lt 1000 ]; do echo $i >many/V$i; i=$((i+1)); done; chpst -e many env | grep -c '^V'`, want: "1000\n0"},

	// The other names.
	{name: "setuidgid", sh: `setuidgid nobody sh -c 'id -u; id -g; id -G'`, want: "65534\n65534\n65534\n0"},
	{name: "setuidgid usage", sh: `setuidgid nobody; dsetuidgid`, want: "usage: setuidgid account child\n\nusage: setuidgid account child\n\n100"},
	{name: "setuidgid takes no options and no groups", sh: `setuidgid -x true; setuidgid -- true; setuidgid nobody:daemon true; setuidgid :1:1 true`,
		want: "chpst: fatal: unknown account: -x\nchpst: fatal: unknown account: --\nchpst: fatal: unknown account: nobody:daemon\nchpst: fatal: unknown account: :1:1\n111"},
	{name: "envuidgid", sh: `envuidgid nobody sh -c 'echo $UID $GID; id -u'; envuidgid daemon`, want: "65534 65534\n0\nusage: envuidgid account child\n\n100"},
	{name: "envdir", sh: `envdir path sh -c true; denvdir env ./hello; envdir env; denvdir`, want: "hello\nusage: envdir dir child\n\nusage: envdir dir child\n\n100"},
	{name: "pgrphack", sh: `pgrphack sh -c 'test $(ps -o sid= -p $$) = $$'; pgrphack; pgrphack -- true`, want: "usage: pgrphack child\n\nchpst: fatal: unable to run: --: file does not exist\n111"},
	{name: "softlimit", sh: `softlimit -m 100000000 sh -c 'ulimit -Sd; ulimit -Ss; ulimit -Sv'; softlimit -a 200000000 -s 300000 sh -c 'ulimit -Sv; ulimit -Ss'; softlimit -l 4096 sh -c 'ulimit -Sl'`, want: "97656\n97656\n97656\n195312\n292\n4\n0"},
	{name: "softlimit =", sh: `ulimit -Sn 300; ulimit -Hn 4000; softlimit -o = sh -c 'ulimit -Sn'`, want: "4000\n0"},
	{name: "softlimit usage", sh: `softlimit; softlimit -o x true`, want: "usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child\n\nusage: softlimit [...]\n\n100"},
	{name: "setlock usage", sh: `setlock; setlock lk; setlock -q lk true`, want: "usage: setlock [ -nNxX ] file program [ arg ... ]\n\nusage: setlock [ -nNxX ] file program [ arg ... ]\n\nsetlock: illegal option -- q\nusage: setlock [ -nNxX ] file program [ arg ... ]\n\n100"},
	{name: "setlock on a free lock", sh: `setlock lk echo 1; setlock -n lk echo 2; setlock -N lk echo 3; setlock -- lk echo 4`, want: "1\n2\n3\n4\n0"},
	{name: "setlock cannot open", sh: `setlock nosuch/lk true; setlock -X nosuch/lk true; setlock -x nosuch/lk true`, want: "chpst: fatal: unable to open lock: nosuch/lk: file does not exist\nchpst: fatal: unable to open lock: nosuch/lk: file does not exist\n0"},
	{name: "setlock -n on a held lock", sh: `chpst -L lk setlock -n lk true; chpst -L lk setlock -nx lk true`, want: "chpst: fatal: unable to lock: lk: temporary failure\n0",
		differs: "-N means that; -n waits", runit: ""},
	{name: "setlock -x does not hide a program that is not there", sh: `setlock -x lk ./nosuch`, want: "chpst: fatal: unable to run: ./nosuch: file does not exist\n111",
		differs: "exit 0 in silence", runit: "0"},
}

// fixture makes the files that the lines are about.
func fixture(t *testing.T, busybox string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"env/A": "v1\nsecond\n", "env/B": " lead trail \t \nx", "env/C": "a\x00b\x00\n", "env/HOME": "",
		"env/EMPTY": "\n", "env/SP": "   \n", "env/CR": "cr\r\n", "env/.hidden": "h", "env/NONL": "no newline",
		"ids/UID": "1", "ids/GID": "2", "path/PATH": ".", "dirs/sub/x": "x", "dirs/Z": "z",
		"equal/A=B": "v", "equal/C": "2", "links/L": "value\n", "fifo/.keep": "", "long/.keep": "", "many/.keep": "",
		"noexec": "x", "hidden/hello": "x", "sub/x": "", "root/d/x": "",
		"passwdroot/etc/passwd": "# who:x:1:1\n-who:x:2:2::/:\nwho:x:77:78::/:/bin/sh\n",
	} {
		write(name, text, 0o644)
	}
	write("hello", "#!/bin/sh\necho hello\n", 0o755)
	write("noshebang", "echo hello\n", 0o755)
	write("secret/S", "s\n", 0o600)
	for _, root := range []string{"root", "passwdroot"} {
		if err := os.Link(busybox, filepath.Join(dir, root, "busybox")); err != nil {
			text, err := os.ReadFile(busybox)
			if err != nil {
				t.Fatal(err)
			}
			write(root+"/busybox", string(text), 0o755)
		}
	}
	// The way down is the users' too.
	for up := dir; up != os.TempDir() && len(up) > 1; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// chpstUsageLine is the part of a usage line that the builds of runit differ in.
var chpstUsageLine = regexp.MustCompile(`(?m)^usage: (\S+) \[-vV?P012\].*$`)

// play runs a line in a fresh fixture, with the programs of bin, and tells what
// came of it.
func play(t *testing.T, sh, bin, busybox string) string {
	t.Helper()
	needTools(t, sh)
	cmd := contained(t, exec.Command("/bin/sh", "-c", sh))
	cmd.Dir = fixture(t, busybox)
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "LC_ALL=C"}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, &stdout, &stderr
	status := 0
	if err := cmd.Run(); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			t.Fatal(err)
		}
		status = ended.ExitCode()
	}
	said := stdout.String() + chpstUsageLine.ReplaceAllString(stderr.String(), "usage: $1 [...]")
	return fmt.Sprint(said, status)
}

// TestChpstOracle holds what is expected of chpst against runit's own, and ours
// against what is expected.
func TestChpstOracle(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	busybox := peer(t, "busybox")
	t.Run("runitbox", func(t *testing.T) {
		for _, l := range lines {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(l.want, play(t, l.sh, bin, busybox)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", l.sh, diff)
				}
			})
		}
	})
	t.Run("runit", func(t *testing.T) {
		chpst := filepath.Join(publicDir(t), "chpst") // where other users can get to it
		if err := copyFile(chpst, peer(t, "chpst")); err != nil {
			t.Fatal(err)
		}
		theirs, err := linkAll(chpst)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(theirs) })
		for _, l := range lines {
			want := l.want
			if l.differs != "" {
				want = l.runit
			}
			if want == "*" || want == "" { // not the same each time, or it waits for ever
				continue
			}
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(want, play(t, l.sh, theirs, busybox)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", l.sh, diff)
				}
			})
		}
	})
}

// daemontools are lines whose outcome is that of daemontools' own programs: the
// words on stderr differ.
var daemontools = []line{
	{name: "setuidgid", sh: `setuidgid daemon sh -c 'id -u; id -g; id -G'`, want: "1\n1\n1\n0"},
	{name: "setuidgid nobody knows", sh: `setuidgid nosuch true`, want: "111"},
	{name: "setuidgid usage", sh: `setuidgid nobody`, want: "100"},
	{name: "envuidgid", sh: `envuidgid daemon sh -c 'echo $UID $GID; id -u'`, want: "1 1\n0\n0"},
	{name: "envdir", sh: `env -i HOME=/h KEEP=1 C=0 PATH=$PATH envdir env env | sed '/^PATH=/d' | sort`,
		want: "\nA=v1\nB= lead trail\nC=a\nCR=cr\r\nEMPTY=\nKEEP=1\nNONL=no newline\nSP=\nb\n0"},
	{name: "envdir of no directory", sh: `envdir nosuch true`, want: "111"},
	{name: "envdir with a subdirectory", sh: `envdir dirs true`, want: "111"},
	{name: "pgrphack", sh: `pgrphack sh -c 'test $(ps -o pgid= -p $$) = $$'`, want: "0"},
	{name: "setlock", sh: `setlock lk sh -c 'stat -c %a lk; echo in'`, want: "600\nin\n0"},
	{name: "setlock waits", sh: `setlock lk timeout 1 setlock lk true`, want: "124"},
	{name: "setlock -N waits", sh: `setlock lk timeout 1 setlock -nN lk true`, want: "124"},
	{name: "setlock -n does not", sh: `setlock lk setlock -n lk echo in; setlock lk setlock -Nn lk echo in`, want: "111"},
	{name: "setlock -x is silent", sh: `setlock lk setlock -nx lk echo in 2>&1; setlock -x nosuch/lk echo in 2>&1`, want: "0"},
	{name: "setlock -X is not", sh: `setlock lk setlock -nxX lk echo in; setlock -X nosuch/lk echo in`, want: "111"},
	{name: "setlock -x and no program", sh: `setlock -x lk ./nosuch`, want: "111"},
	{name: "setlock usage", sh: `setlock lk; echo $?; setlock -q lk true`, want: "100\n100"},
	{name: "softlimit -o", sh: `ulimit -n 4000; softlimit -o 50 sh -c 'ulimit -Sn; ulimit -Hn'`, want: "50\n4000\n0"},
	{name: "softlimit =", sh: `ulimit -Sn 300; ulimit -Hn 4000; softlimit -o = sh -c 'ulimit -Sn'`, want: "4000\n0"},
	{name: "softlimit beyond the hard limit", sh: `ulimit -n 4000; softlimit -o 5000 sh -c 'ulimit -Sn'`, want: "4000\n0"},
	{name: "softlimit -m", sh: `softlimit -m 100000000 sh -c 'ulimit -Sd; ulimit -Ss; ulimit -Sv'`, want: "97656\n97656\n97656\n0"},
	{name: "softlimit of all kinds", sh: `softlimit -a 200000000 -c 1024 -d 100000000 -f 2048 -l 4096 -p 500 -s 307200 -t 9 sh -c 'ulimit -Sv; ulimit -Sc; ulimit -Sd; ulimit -Sf; ulimit -Sl; ulimit -Su 2>/dev/null || ulimit -Sp; ulimit -Ss; ulimit -St'`, want: "195312\n2\n97656\n4\n4\n500\n300\n9\n0"},
	{name: "softlimit usage", sh: `softlimit; softlimit -z 1 true`, want: "100"},
}

// TestDaemontools holds the other names against daemontools' programs.
func TestDaemontools(t *testing.T) {
	t.Parallel()
	bin := ours(t)
	busybox := peer(t, "busybox")
	theirs := filepath.Dir(peer(t, "setlock"))
	for _, l := range daemontools {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			sh := "exec 2>/dev/null; " + l.sh
			if diff := cmp.Diff(l.want, play(t, sh, bin, busybox)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", l.sh, diff)
			}
			if diff := cmp.Diff(l.want, play(t, sh, theirs, busybox)); diff != "" {
				t.Errorf("daemontools': %s (-want +got):\n%s", l.sh, diff)
			}
		})
	}
}

// TestChpstUsage names all letters, -V as well, as Debian's does.
func TestChpstUsage(t *testing.T) {
	t.Parallel()
	bin, err := loaderLinks()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(filepath.Join(bin, "chpst")).CombinedOutput()
	if want := "usage: chpst [-vVP012] [-u user[:group]] "; !bytes.HasPrefix(out, []byte(want)) {
		t.Errorf("it says %q, want %q ...", out, want)
	}
}
