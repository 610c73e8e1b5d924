package applets

import (
	"os"
	"path/filepath"
	"testing"
)

// recipePeer is what make peers has fetched for the tests of what stands beside runit.
func recipePeer(t *testing.T, pattern string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(peersDir(), "recipes", pattern))
	if len(found) == 0 || testing.Short() {
		skip(t, "no "+pattern+" among the peers (make peers)")
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// debs are Debian's packages of runit, as files for inRoot.
func debs(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"runit", "runit-init"} {
		text, err := os.ReadFile(recipePeer(t, name+"_*.deb"))
		if err != nil {
			t.Fatal(err)
		}
		files[name+".deb"] = string(text)
	}
	return files
}

// TestOverRunit: in a Debian system the programs of its runit packages are replaced,
// stay so when the packages are updated, and come back.
func TestOverRunit(t *testing.T) {
	t.Parallel()
	inRoot(t, `
cp /opt/runitbox /usr/sbin/runitbox
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt
not runitbox install --over-runit 2>said
grep -q "unable to find programs of runit's" said
unpack() { dpkg --force-depends --force-conflicts --force-remove-essential --unpack "$@" >/dev/null; }
# what there is of the packages' files, with their sums and links
files() { find /usr/bin /usr/sbin /usr/lib/runit $(test -L /sbin || echo /sbin /lib/runit) ! -type d ! -name runitbox -exec ls -ld --time-style=+ {} + | sort; }
unpack /opt/runit.deb
cp /usr/bin/sv /tmp/
files >before

# On a machine that boots otherwise, its init stays.
init=$(readlink -f /sbin/init || :)
runitbox install --over-runit >said
cat said
grep -qx "linked /usr/bin/sv, runit's is /usr/bin/sv.distrib" said
for name in /usr/bin/sv /usr/bin/chpst /usr/bin/runsvdir /usr/sbin/utmpset /sbin/runit /lib/runit/runit-init /lib/runit/shutdown; do
	test "$(readlink -f $name)" = /usr/sbin/runitbox
done
test "$(readlink -f /sbin/init || :)" = "$init"
sv -V 2>&1 | grep runitbox
cmp /tmp/sv /usr/bin/sv.distrib
files >once
runitbox install --over-runit >said
not grep linked said
files | cmp - once
# An update, which the package of today may put into /usr/sbin.
unpack /opt/runit.deb
for name in /usr/bin/sv /usr/bin/chpst /usr/bin/runsvdir /usr/sbin/utmpset /sbin/runit /lib/runit/runit-init; do
	test "$(readlink -f $name)" = /usr/sbin/runitbox
done
dpkg-divert --list | grep -qx 'diversion of /sbin/runit to /sbin/runit.distrib by runitbox'
test ! -L /sbin || dpkg-divert --list | grep -qx 'diversion of /usr/sbin/runit to /usr/sbin/runit.distrib by runitbox'
runitbox uninstall >said
cat said
grep -qx 'restored /usr/bin/sv' said
files | cmp - before
test -z "$(dpkg-divert --list | grep 'by runitbox')"
test -z "$(dpkg -V runit | grep bin/)"
test -z "$(runitbox uninstall)"
files | cmp - before

# Where runit is the init, what belongs to an init is too.
unpack /opt/runit-init.deb
files >before
runitbox install --over-runit --no-init
test "$(readlink /sbin/halt)" = /lib/runit/shutdown
runitbox install --over-runit
for name in init halt poweroff reboot shutdown; do test "$(readlink -f /sbin/$name)" = /usr/sbin/runitbox; done
unpack /opt/runit-init.deb
test "$(readlink -f /sbin/init)" = /usr/sbin/runitbox
test "$(readlink /sbin/init.distrib)" = /lib/runit/runit-init
runitbox uninstall
files | cmp - before

# A package that is gone leaves nothing to be restored.
runitbox install --over-runit
dpkg --force-depends --force-remove-essential --force-remove-protected --purge runit-init >/dev/null
runitbox uninstall >said
grep -x 'left /sbin/init: there is no other to boot with' said || grep -x 'left /usr/sbin/init: there is no other to boot with' said
test "$(readlink -f /sbin/init)" = /usr/sbin/runitbox
test ! -e /sbin/halt
test -x /usr/bin/sv
`, debs(t))
}

// TestOverRunitFails: where not all can be replaced, nothing is.
func TestOverRunitFails(t *testing.T) {
	t.Parallel()
	inRoot(t, `
cp /opt/runitbox /usr/sbin/runitbox
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt
dpkg --force-depends --unpack /opt/runit.deb >/dev/null
files() { find /usr/bin /usr/sbin /usr/lib/runit /etc/xbps.d ! -type d -exec ls -ld --time-style=+ {} + | sort; }
mkdir -p /etc/xbps.d /var/db/xbps
files >before
# somebody else has diverted one
dpkg-divert --local --no-rename --divert /usr/sbin/utmpset.mine --add /usr/sbin/utmpset
not runitbox install --over-runit 2>said
cat said
grep -q 'unable to divert /usr/sbin/utmpset' said
files | cmp - before
test -z "$(dpkg-divert --list | grep 'by runitbox')"
dpkg-divert --local --no-rename --remove /usr/sbin/utmpset
# a program that cannot be kept
mkdir -p /usr/sbin/utmpset.distrib/x
not runitbox install --over-runit 2>said
cat said
grep -q 'unable to keep /usr/sbin/utmpset: ' said
rm -r /usr/sbin/utmpset.distrib
files | cmp - before
test -z "$(dpkg-divert --list | grep 'by runitbox')"
`, debs(t))
}

// TestOverRunitVoid: without dpkg, where Void's package manager is, that is told; where
// neither is, the user.
func TestOverRunitVoid(t *testing.T) {
	t.Parallel()
	inRoot(t, `
cp /opt/runitbox /usr/bin/runitbox
PATH=/usr/bin:/opt
rm /usr/bin/dpkg-divert
for name in chpst runsvdir sv runit-init halt shutdown; do echo $name of void >/usr/bin/$name; done
ln -sf halt /usr/bin/reboot
ln -sf runit-init /usr/bin/init
find /usr/bin -exec ls -ld {} + >before
runitbox install --over-runit | grep -x 'warning: .*neither dpkg nor xbps'
runitbox uninstall
find /usr/bin -exec ls -ld {} + | cmp - before
mkdir -p /var/db/xbps
runitbox install --over-runit >said
cat said
not grep warning said
grep -x noextract=/usr/bin/sv /etc/xbps.d/runitbox.conf
grep -x noextract=/usr/bin/reboot /etc/xbps.d/runitbox.conf
for name in chpst runsvdir sv runit-init halt shutdown reboot init; do test "$(readlink -f /usr/bin/$name)" = /usr/bin/runitbox; done
# An update that has replaced one all the same: it stays.
rm /usr/bin/sv; echo newer >/usr/bin/sv
runitbox uninstall >said
test "$(cat /usr/bin/sv)" = newer
test "$(cat /usr/bin/chpst)" = 'chpst of void'
test "$(readlink /usr/bin/reboot)" = halt
test ! -e /etc/xbps.d/runitbox.conf
`, nil)
}

// TestUninstallDir: what install has linked in a directory is gone, and nothing else.
func TestUninstallDir(t *testing.T) {
	t.Parallel()
	inRoot(t, `
mkdir /tmp/bin
cp /opt/runitbox /tmp/bin/
/tmp/bin/runitbox install /tmp/bin
rm /tmp/bin/sv; echo mine >/tmp/bin/sv
/tmp/bin/runitbox uninstall /tmp/bin | grep -x 'removed /tmp/bin/runsv'
test "$(cd /tmp/bin && echo *)" = 'runitbox sv'
/tmp/bin/runitbox install --hard --force /tmp/bin
/tmp/bin/runitbox uninstall /tmp/bin >/dev/null
test "$(cd /tmp/bin && echo *)" = runitbox
not runitbox uninstall '' 2>said
grep 'usage: runitbox uninstall' said
`, nil)
}
