package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// emulated are machines, by the name that Go has for them, and how binfmt_misc knows
// their executables by the machine in the ELF header; none for this one's, whose
// children run without the emulator.
var emulated = []struct{ arch, qemu, class, machine string }{
	{"amd64", "qemu-x86_64-static", "", ""},
	{"arm64", "qemu-aarch64-static", "02", "b7"},
	{"arm", "qemu-arm-static", "01", "28"},
	{"riscv64", "qemu-riscv64-static", "02", "f3"},
}

// emulatedScript supervises a tree under an emulator, in a user namespace in which
// that executes the machine's programs.
const emulatedScript = `
cat >inner <<'END'
ff='\xff\xff\xff\xff' zero='\x00\x00\x00\x00'
[ -z "$MACHINE" ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
[ -z "$MACHINE" ] || printf %s ":q:M::\x7fELF\x$CLASS\x01\x01\x00$zero$zero\x02\x00\x$MACHINE\x00:$ff\xff\xff\xff\x00$ff$ff\xfe\xff\xff\xff:$QEMU:OCFP" >/proc/sys/fs/binfmt_misc/register
PATH=$PWD/bin:$PATH
is() { test "$(cat tree/$1/supervise/stat)" = run; }
other() { p=$(cat tree/$1/supervise/pid) && [ -n "$p" ] && [ "$p" != "$2" ]; }
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 400 ] || { echo "never: $*; $(cat err)"; exit 1; }; sleep .05; done; }
core() { for c in $(cat /proc/$P/task/*/children); do echo $c; done; }
new() { C=$(core); [ -n "$C" ] && [ "$C" != "$1" ] && echo "$C" | grep -vq ' '; }
for option in '' -P; do
	rm -rf tree err; cp -r services tree
	$QEMU bin/runsvdir $option tree 2>err & P=$!
	soon is web; soon is web/log; soon is one
	web=$(cat tree/web/supervise/pid)
	for n in 1 2 3 4 5 6; do
		one=$(cat tree/one/supervise/pid)
		kill -9 $one; printf u >tree/one/supervise/control
		soon other one $one; soon is one
	done
	one=$(cat tree/one/supervise/pid)
	old=$(core); kill -9 $old; soon new "$old"
	./bin/sv -w 30 restart ./tree/web
	test $one = $(cat tree/one/supervise/pid)
	test $web != $(cat tree/web/supervise/pid)
	grep -v 'starting another' err && exit 1
	kill -HUP $P; wait $P || test $? = 111
	gone() { [ ! -e /proc/$C ]; }; soon gone # the core is through with all of them, and writes no more
	grep -q down tree/web/supervise/stat; grep -q down tree/one/supervise/stat
done
END
unshare -Urmpf --mount-proc sh -ex inner
-- services/web/run --
#!/bin/sh
exec sleep 1000
-- services/one/run --
#!/bin/sh
exec sleep 1000
-- services/web/log/run --
#!/bin/sh
exec cat >/dev/null
`

// TestEmulated: under qemu-user, which has neither vfork nor clone3 nor close_range,
// services are started, started again and taken over.
func TestEmulated(t *testing.T) {
	t.Parallel()
	for _, m := range emulated {
		t.Run(m.arch, func(t *testing.T) {
			if m.machine == "" && m.arch != runtime.GOARCH {
				skip(t, "this machine is another")
			}
			qemu := peer(t, m.qemu)
			const binfmt = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && test -w /proc/sys/fs/binfmt_misc/register"
			if m.machine != "" && exec.Command("unshare", "-Urm", "sh", "-c", binfmt).Run() != nil {
				skip(t, "needs binfmt_misc in a user namespace (Linux 6.7)")
			}
			t.Parallel()
			built, err := machines[m.arch]()
			if err != nil {
				t.Fatal(err)
			}
			bin := t.TempDir()
			for _, name := range []string{"runsvdir", "runsv", "sv"} {
				if err := os.Symlink(filepath.Join(built, "runitbox"), filepath.Join(bin, name)); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(t.TempDir(), "script")
			text := "MACHINE=" + m.machine + " CLASS=" + m.class + " QEMU=" + qemu + "; export MACHINE CLASS QEMU\nln -s " + bin + " bin\n" + emulatedScript
			if err := writeFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			tools, err := links()
			if err != nil {
				t.Fatal(err)
			}
			script(t, file, tools)
		})
	}
}
