package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecipePostgreSQL: the replica in memory, with Debian's PostgreSQL. It is read-only and
// follows the server, is made anew when that has been restarted, although a client is
// connected, waits for a server that is down without losing what it has, and ends at once.
func TestRecipePostgreSQL(t *testing.T) {
	t.Parallel()
	inRoot(t, `
getent passwd postgres || echo 'postgres:*:999:999::/var/lib/postgresql:/bin/sh' >>/etc/passwd
getent group postgres || echo 'postgres:x:999:' >>/etc/group
rm -rf /etc/postgresql /var/lib/postgresql /etc/sv /service
mkdir -p /service /var/lib/postgresql/15 /etc/postgresql/15/main
chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/15
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/15/main
chpst -u postgres $bin/initdb -D $data -E UTF8 --locale=C -A peer --no-sync >/dev/null
# as Debian has it: what is configured is elsewhere
for name in postgresql pg_hba pg_ident; do mv $data/$name.conf /etc/postgresql/15/main/; done
cat >>/etc/postgresql/15/main/postgresql.conf <<EOF
data_directory = '$data'
hba_file = '/etc/postgresql/15/main/pg_hba.conf'
ident_file = '/etc/postgresql/15/main/pg_ident.conf'
external_pid_file = '/run/postgresql/15-main.pid'
unix_socket_directories = '/run/postgresql'
listen_addresses = ''
EOF
runitbox setup services postgresql >/dev/null
runitbox setup recipes postgresql-replica
runsvdir -P /service 2>errors &
server() { chpst -u postgres $bin/psql -h /run/postgresql -p 5432 -d postgres -Atc "$1"; }
replica() { chpst -u postgres $bin/psql -h /dev/shm/pg_shm -p 5434 -d postgres -Atc "$1"; }
holds() { test "$(replica 'select count(*) from t')" = "$1"; }
soon() { n=0; until "$@" 2>/dev/null; do n=$((n + 1)); [ $n -lt 600 ] || return 1; sleep .1; done; }
log() { cat /var/log/sv/pg_shm/current; }

# The replica waits for the server.
ln -s /etc/sv/pg_shm /service/
soon sh -c 'grep "waiting for the server" /var/log/sv/pg_shm/current'
not sv -w 1 check pg_shm
ln -s /etc/sv/postgresql /service/
soon sv -w 7 check postgresql
server 'create table t as select generate_series(1, 100) n'
soon sv -w 7 check pg_shm
soon holds 100
server 'insert into t values (0)'
soon holds 101
replica 'insert into t values (0)' 2>said && exit 1
grep 'cannot execute INSERT in a read-only transaction' said
test "$(replica 'show data_directory')" = /dev/shm/pg_shm/data
test "$(stat -c '%U %a' /dev/shm/pg_shm)" = 'postgres 700'
test "$(replica 'select status from pg_stat_wal_receiver')" = streaming
# not the server's, nor root's
test "$(cat /run/postgresql/15-main.pid)" = "$(cat /etc/sv/postgresql/supervise/pid)"
not grep -r /root /dev/shm/pg_shm/data/postgresql.auto.conf

# Why the recipe is not the one of PostgreSQL 9.
server "select pg_start_backup('x')" 2>said && exit 1
grep 'function pg_start_backup(unknown) does not exist' said
mkdir -m 700 /tmp/old && cp -a /dev/shm/pg_shm/data /tmp/old/ && rm /tmp/old/data/postmaster.pid && chown postgres /tmp/old
chpst -u postgres sh -c 'echo "standby_mode = on" >/tmp/old/data/recovery.conf'
chpst -u postgres $bin/postgres -D /tmp/old/data -c config_file=/etc/postgresql/15/main/postgresql.conf -c data_directory=/tmp/old/data \
	-c external_pid_file=/tmp/old/pid -c port=5435 -c ssl=off >said 2>&1 && exit 1
grep 'using recovery command file "recovery.conf" is not supported' said
rm -r /tmp/old

# The server restarts, with a client on it: finish has the replica made anew.
pid=$(cat /etc/sv/pg_shm/supervise/pid)
server 'select pg_sleep(1000)' 2>/dev/null & C=$!
soon sh -c "chpst -u postgres $bin/psql -h /run/postgresql -d postgres -Atc \"select count(*) from pg_stat_activity where query like 'select pg_sleep%'\" | grep -x 1"
sv -w 20 restart postgresql
wait $C || :
soon not grep -qx "$pid" /etc/sv/pg_shm/supervise/pid
soon sv -w 7 check pg_shm
server 'insert into t values (-1)'
soon holds 102

# The server is stopped: what the replica has is kept until the server answers again.
sv -w 20 stop postgresql
soon sh -c 'tail -n 1 /var/log/sv/pg_shm/current | grep "waiting for the server"'
test -s /dev/shm/pg_shm/data/PG_VERSION
test "$(cat /etc/sv/postgresql/supervise/stat)" = down
sv -w 20 start postgresql
soon sv -w 7 check pg_shm
soon holds 102
replica 'select pg_sleep(1000)' 2>/dev/null &
sv -w 10 stop pg_shm
sv -w 10 stop postgresql
not pgrep -x postgres
`, nil, recipePeer(t, "root"))
}

// TestSetupRecipes is `runitbox setup recipes`, called as users do.
func TestSetupRecipes(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	const usage = "usage: runitbox setup recipes [--list] [--dry-run] [--force] [--root DIR] recipe ...\n\n"
	const failover = "ROOT/etc/keepalived/keepalived.conf\nROOT/etc/keepalived/failover\n"
	each := func(word, files string) string {
		return strings.ReplaceAll(files, "ROOT", word+" ROOT")
	}
	for _, tt := range []struct {
		about, args, out string
		status           int
	}{
		{"none", "", usage, 100},
		{"one that there is not", "failover soup", "runitbox: fatal: setup: soup: no such recipe (--list tells all)\n", 111},
		{"all are told", "--list", "failover            a level of services that follows an address of keepalived's\npostgresql-replica  a replica in memory of PostgreSQL\n", 0},
		{"only told", "--dry-run failover", each("would make", failover), 0},
		{"made", "failover", each("made", failover), 0},
		{"made before", "failover", each("kept", failover), 0},
	} {
		cmd := exec.Command(exe, append([]string{"setup", "recipes", "--root", root}, strings.Fields(tt.args)...)...)
		text, _ := cmd.CombinedOutput()
		if out, status := strings.ReplaceAll(string(text), root, "ROOT"), cmd.ProcessState.ExitCode(); out != tt.out || status != tt.status {
			t.Errorf("%s: exit %d, want %d\n%s\nwant\n%s", tt.about, status, tt.status, out, tt.out)
		}
	}
	for name, mode := range map[string]os.FileMode{"failover": 0o755, "keepalived.conf": 0o644} {
		if info, err := os.Stat(filepath.Join(root, "etc/keepalived", name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
