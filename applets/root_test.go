package applets

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inRoot runs a shell script with -ex as root of a system of its own: a copy of this
// machine's, by an overlay of which nothing is kept, with more, directories of unpacked
// packages, copied over it; /run, /tmp and /dev/shm are empty. In its /opt are the static
// executable under the applets' names, with eventually and not, and the files; the tools
// that this machine lacks are there, too. The script is what "chroot" is told, so that
// process 1 of its namespace is the test's.
func inRoot(t *testing.T, script string, files map[string]string, more ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root, to make a root of its own")
	}
	needTools(t, script)
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	opt := filepath.Join(dir, "opt")
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(filepath.Join(opt, "tools"), 0o755), copyFile(filepath.Join(opt, "runitbox"), exe)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(opt, "runitbox"), "install", opt).CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	for _, name := range []string{"eventually", "not"} {
		if err := copyFile(filepath.Join(opt, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		at := filepath.Join(opt, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), writeFile(at, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(filepath.Join(opt, ".script"), []byte("set -ex\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := contained(t, exec.CommandContext(ctx, "/bin/sh", "-e"))
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/opt:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/tools", "HOME=/root", "LC_ALL=C", "TZ=UTC", gorace(t)}
	cmd.Stdin = strings.NewReader(`
T=` + dir + `
mount -t tmpfs tmpfs /mnt || exit 99
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o 'lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work' /mnt/root || exit 99
cd /mnt/root
for more in ` + strings.Join(more, " ") + `; do cp -a --remove-destination "$more/." .; done
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p opt
mount --bind $T/opt opt
mount --bind ` + lentTools() + ` opt/tools
exec chroot . /bin/sh /opt/.script
`)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); cmd.ProcessState.ExitCode() == 99 {
		skip(t, "no overlay of / can be mounted here")
	} else if err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	return out.String()
}
