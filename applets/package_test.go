package applets

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReproducible: the executable is the same, byte by byte, when it is made in another
// directory by a compiler that has kept nothing of this tree. (That Go's own packages are
// compiled to the same each time is for Go to see to.)
func TestReproducible(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "compiles all of the tree anew")
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "another place")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(cmd *exec.Cmd) {
		t.Helper()
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, text)
		}
	}
	run(exec.Command("sh", "-c", `tar -C .. --exclude=./build --exclude=./.git -c . | tar -C "$1" -x
# Another text, of which no compiler has kept anything, that is compiled to the same; what
# the build has put into the executable as its name is main's.
find "$1" \( -name '*.go' -o -name '*.s' \) ! -path "$1/main.go" | while read -r file; do
	printf '\n// %s\n' "$1" >>"$file"
done`, "sh", other))
	run(exec.Command("make", "-C", "..", "build", "VERSION=1.0", "OUT="+filepath.Join(dir, "here")))
	run(exec.Command("make", "-C", other, "build", "VERSION=1.0", "OUT=out"))
	a, errA := os.ReadFile(filepath.Join(dir, "here/runitbox"))
	b, errB := os.ReadFile(filepath.Join(other, "out/runitbox"))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("two builds differ: %d and %d bytes", len(a), len(b))
	}
}

// TestPackageDebian builds the Debian packages and looks what is in them.
func TestPackageDebian(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		skip(t, "no dpkg-deb here")
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "../testdata/package/debian/build", dir, "1.0-1", "OUT="+filepath.Join(dir, "out"))
	cmd.Env = append(os.Environ(), "DPKG_DEB_COMPRESSOR_TYPE=none") // faster
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	says := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("dpkg-deb", args...).Output()
		if err != nil {
			t.Fatalf("dpkg-deb %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	root := filepath.Join(dir, "root")
	for name, fields := range map[string]map[string]string{
		"runitbox":      {"Provides": "runit (= 2.1.2-54), runsystem", "Conflicts": "runit, daemontools", "Replaces": "runit", "Version": "1.0-1"},
		"runitbox-init": {"Provides": "runit-init", "Conflicts": "runit-init, sysvinit-core, systemd-sysv", "Replaces": "runit-init, sysvinit-core, systemd-sysv", "Depends": "runitbox (= 1.0-1)"},
	} {
		found, err := filepath.Glob(filepath.Join(dir, name+"_1.0-1_*.deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v %v", name, found, err)
		}
		for field, want := range fields {
			if got := says("-f", found[0], field); got != want {
				t.Errorf("%s: %s: %q, want %q", name, field, got, want)
			}
		}
		for line := range strings.Lines(says("-c", found[0])) {
			fields := strings.Fields(line)
			path := fields[5]
			first, _, _ := strings.Cut(filepath.Base(path), ".")
			if fields[1] != "root/root" {
				t.Errorf("%s: %s is %s's", name, path, fields[1])
			}
			if ours := name == "runitbox-init"; !strings.HasSuffix(path, "/") && !strings.Contains(path, "/doc/") && ofInit(first) != ours {
				t.Errorf("%s has %s", name, path)
			}
		}
		says("-x", found[0], root)
	}
	installed(t, filepath.Join(root, "usr/share"), append(names(), "runitbox"))
	for _, name := range names() {
		if got := ask(t, filepath.Join(root, "usr/sbin", name), nil, name, "--help"); got.Status != 0 || !strings.HasPrefix(got.Stdout, "usage: "+name) {
			t.Errorf("%s --help: %+v", name, got)
		}
	}
	if got := ask(t, filepath.Join(root, "usr/sbin/runitbox"), nil, "runitbox", "--version"); got.Stdout != "runitbox version 1.0-1\n" {
		t.Errorf("the version: %+v", got)
	}
}

// TestPackageAlpine plays the functions of the APKBUILD as abuild does.
func TestPackageAlpine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := `set -eu
. testdata/package/alpine/APKBUILD
pkgdir=$1/pkg
package
for sub in $subpackages; do
	name=${sub%%:*} function=${sub#*:}
	function=${function%%:*}
	[ "$function" != "$name" ] || function=${name##*-}
	subpkgdir=$1/$name
	mkdir "$subpkgdir"
	(set -- && $function)
done`
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "OUT="+filepath.Join(dir, "out"))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for path, there := range map[string]bool{
		"pkg/sbin/runitbox":                                true,
		"pkg/sbin/sv":                                      true,
		"pkg/sbin/reboot":                                  false,
		"pkg/usr/share/man":                                false,
		"pkg/usr/share/zsh":                                false,
		"runitbox-init/sbin/reboot":                        true,
		"runitbox-init/usr/share/man/man8/halt.8.gz":       true,
		"runitbox-init/sbin/sv":                            false,
		"runitbox-doc/usr/share/man/man8/sv.8.gz":          true,
		"runitbox-doc/usr/share/licenses/runitbox/LICENSE": true,
		"runitbox-bash-completion/usr/share/bash-completion/completions/sv":    true,
		"runitbox-zsh-completion/usr/share/zsh/site-functions/_runitbox":       true,
		"runitbox-fish-completion/usr/share/fish/vendor_completions.d/sv.fish": true,
	} {
		if _, err := os.Lstat(filepath.Join(dir, path)); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestPackageVoid plays the functions of the template as xbps-src does.
func TestPackageVoid(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		skip(t, "no bash here")
	}
	dir := t.TempDir()
	script := `set -eu
. testdata/package/void/template
sourcepkg=$pkgname DESTDIR=$1/pkg
vlicense() { install -Dm644 "$1" "$DESTDIR/usr/share/licenses/$pkgname/$1"; }
vmove() { mkdir -p "$PKGDESTDIR/${1%/*}"; mv "$DESTDIR/$1" "$PKGDESTDIR/$1"; }
do_install
for sub in $subpackages; do
	PKGDESTDIR=$1/$sub
	"${sub}_package"
	pkg_install
done`
	cmd := exec.Command("bash", "-c", script, "bash", dir)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "OUT="+filepath.Join(dir, "out"))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for path, there := range map[string]bool{
		"pkg/usr/bin/runitbox":                            true,
		"pkg/usr/bin/sv":                                  true,
		"pkg/usr/bin/init":                                true,
		"pkg/usr/bin/reboot":                              false,
		"pkg/usr/bin/vlogger":                             false,
		"pkg/usr/share/man/man8/sv.8.gz":                  true,
		"pkg/usr/share/licenses/runitbox/LICENSE":         true,
		"runitbox-init/usr/bin/reboot":                    true,
		"runitbox-init/usr/bin/vlogger":                   true,
		"runitbox-init/usr/share/man/man8/halt.8.gz":      true,
		"runitbox-init/usr/bin/sv":                        false,
		"pkg/usr/share/zsh/site-functions/_runitbox":      true,
		"pkg/usr/share/fish/vendor_completions.d/sv.fish": true,
	} {
		if _, err := os.Lstat(filepath.Join(dir, path)); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestPackageContainer runs the root directory of the container's image as an engine
// does: its only program is process 1.
func TestPackageContainer(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root")
	}
	small, err := slim()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if text, err := exec.Command("sh", "../testdata/package/container/root", root, small).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	os.Chmod(dir, 0o755)
	recipe, err := os.ReadFile("../testdata/package/container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, entry, _ := strings.Cut(string(recipe), "\nENTRYPOINT [")
	entry, _, _ = strings.Cut(entry, "]")
	var argv []string
	for word := range strings.SplitSeq(entry, ", ") {
		argv = append(argv, strings.Trim(word, `"`))
	}
	if len(argv) < 2 {
		t.Fatalf("no entry point: %q", argv)
	}
	var said bytes.Buffer
	first := &exec.Cmd{Path: argv[0], Args: argv, Dir: "/", Env: []string{}, Stdout: &said, Stderr: &said,
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}}
	if err := first.Start(); err != nil {
		skip(t, fmt.Sprint("no namespaces here: ", err))
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	t.Cleanup(func() { first.Process.Kill() })
	var status []byte
	for limit := time.Now().Add(20 * time.Second); !strings.HasPrefix(string(status), "run: "); time.Sleep(20 * time.Millisecond) {
		sv := &exec.Cmd{Path: "/sbin/sv", Args: []string{"sv", "status", "/service/heartbeat"}, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Chroot: root}}
		if status, _ = sv.Output(); time.Now().After(limit) {
			t.Fatalf("the service does not run: %s%s", status, said.String())
		}
	}
	first.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after TERM: %v\n%s", err, said.String())
		}
	case <-time.After(20 * time.Second):
		t.Error("TERM does not end it")
	}
}

// TestPackageScripts: what the tree brings for packagers has no fault that shellcheck
// knows of, and no shell that may read it finds one.
func TestPackageScripts(t *testing.T) {
	scripts := []string{"share.sh", "../testdata/package/debian/build", "../testdata/package/alpine/APKBUILD", "../testdata/package/container/root"}
	for _, shell := range [][]string{{"sh", "-n"}, {"dash", "-n"}, {"busybox", "sh", "-n"}} {
		path, err := exec.LookPath(shell[0])
		if err != nil {
			if path = fetched(shell[0]); path == "" {
				continue
			}
		}
		for _, script := range scripts {
			if text, err := exec.Command(path, append(slices.Clone(shell[1:]), script)...).CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", shell[0], script, err, text)
			}
		}
	}
	for shell, scripts := range map[string][]string{"sh": scripts, "bash": {"../testdata/package/void/template"}} {
		if text, err := exec.Command(peer(t, "shellcheck"), append([]string{"-s", shell}, scripts...)...).CombinedOutput(); err != nil {
			t.Errorf("shellcheck: %v\n%s", err, text)
		}
	}
}
