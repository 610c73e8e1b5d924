package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSetup is `runitbox setup services`, called as users do.
func TestSetup(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	box := func(args ...string) (string, int) {
		cmd := exec.Command(exe, args...)
		out, _ := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), root, "ROOT"), cmd.ProcessState.ExitCode()
	}
	step := func(about string, wantOut string, wantStatus int, args ...string) {
		t.Helper()
		if out, status := box(args...); out != wantOut || status != wantStatus {
			t.Errorf("%s: exit %d, want %d\n%s\nwant\n%s", about, status, wantStatus, out, wantOut)
		}
	}
	const files = "run check control/h log/run"
	all := func(word string) string {
		var b strings.Builder
		for _, f := range strings.Fields(files) {
			b.WriteString(word + " ROOT/etc/sv/sshd/" + f + "\n")
		}
		return b.String()
	}
	usage := "usage: runitbox setup stages|levels|services|user|container|boot|recipes [option ...]\n\n"
	help, _ := box("setup", "--help")
	for _, name := range []string{"stages", "levels", "services", "user", "container", "boot", "recipes"} {
		if !strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("setup --help does not tell of %s:\n%s", name, help)
		}
	}
	step("nothing to set up", usage, 100, "setup")
	step("something else", "runitbox: setup: no such thing: world\n"+usage, 100, "setup", "world")
	step("a service that there is not", "runitbox: fatal: setup: nosuch: no such service (--list tells all)\n", 111, "setup", "services", "--root", root, "sshd", "nosuch")
	step("a root that there is not", "runitbox: fatal: setup: unable to open ROOT/nosuch: file does not exist\n", 111, "setup", "services", "--root", root+"/nosuch", "sshd")
	step("only told", all("would make"), 0, "setup", "services", "--dry-run", "--root", root, "sshd")
	if entries, _ := os.ReadDir(root); len(entries) > 0 {
		t.Errorf("a dry run has made %v", entries)
	}
	step("made", all("made"), 0, "setup", "services", "--root", root, "sshd")
	step("made before", all("kept"), 0, "setup", "services", "--root="+root+"/", "sshd")
	run := filepath.Join(root, "etc/sv/sshd/run")
	if err := writeFile(run, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	step("changed meanwhile", "runitbox: fatal: setup: nothing was changed: ROOT/etc/sv/sshd/run: it is there and differs (--force replaces it)\n", 111, "setup", "services", "--root", root, "sshd", "nginx")
	if _, err := os.Lstat(filepath.Join(root, "etc/sv/nginx")); err == nil {
		t.Error("it was told that nothing was changed, and there is nginx")
	}
	step("replaced", strings.Replace(all("kept"), "kept", "replaced", 1), 0, "setup", "services", "--force", "--root", root, "sshd")
	if err := os.WriteFile(filepath.Join(root, "etc/runit"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, status := box("setup", "levels", "--root", root); status != 111 || strings.Count(out, "ROOT") != 5 || !strings.Contains(out, "; and ") || !strings.HasSuffix(out, " more\n") {
		t.Errorf("much in the way: exit %d, want five of it: %s", status, out)
	}
	if out, status := box("setup", "services", "--list"); status != 0 || !strings.Contains(out, "sshd            logins from other machines\n") {
		t.Errorf("--list: exit %d: %s", status, out)
	}
}

// TestSetupNoRoom: on a full and on a read-only file system nothing is changed.
func TestSetupNoRoom(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, to mount")
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		skip(t, "needs to mount: "+err.Error())
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	setup := func(member string) (string, int) {
		cmd := exec.Command(exe, "setup", member, "--root", root)
		out, _ := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), root, "ROOT"), cmd.ProcessState.ExitCode()
	}
	const fill = "/fill"
	for _, member := range []string{"services", "stages", "levels", "container"} {
		if member != "services" { // which needs more than there is
			if err := os.WriteFile(root+fill, make([]byte, 48<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, status := setup(member)
		if status != 111 || !strings.HasPrefix(out, "runitbox: fatal: setup: nothing was changed: unable to ") || !strings.HasSuffix(out, ": out of disk space\n") {
			t.Errorf("full: %s: exit %d: %s", member, status, out)
		}
		os.Remove(root + fill)
		if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
			t.Errorf("full: %s: left %v, %v", member, entries, err)
		}
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"services", "stages", "levels", "container"} {
		if out, status := setup(member); status != 111 || out != "runitbox: fatal: setup: nothing was changed: unable to make etc: read-only file system\n" {
			t.Errorf("read-only: %s: exit %d: %s", member, status, out)
		}
	}
}

// TestSetupScripts: each script of the collection is one to every shell, and nothing
// is wrong with it that shellcheck knows of.
func TestSetupScripts(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if out, err := exec.Command(exe, "setup", "services", "--root", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	scripts, err := filepath.Glob(filepath.Join(root, "etc/sv/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"etc/sv/*/control/*", "etc/sv/*/log/run"} {
		found, _ := filepath.Glob(filepath.Join(root, more))
		scripts = append(scripts, found...)
	}
	var files []string
	for _, s := range scripts {
		if info, err := os.Stat(s); err == nil && info.Mode().IsRegular() {
			files = append(files, s)
		}
	}
	for _, set := range []string{"plain", "debian", "container"} {
		at := filepath.Join(root, set)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(exe, "setup", "stages", "--"+set, "--root", at).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		found, _ := filepath.Glob(filepath.Join(at, "etc/runit/*"))
		files = append(files, found...)
	}
	if len(files) < 150 {
		t.Errorf("%d scripts", len(files))
	}
	for _, shell := range [][]string{{"sh", "-n"}, {"bash", "--posix", "-n"}, {peer(t, "busybox"), "sh", "-n"}} {
		for _, f := range files {
			if out, err := exec.Command(shell[0], append(shell[1:], f)...).CombinedOutput(); err != nil {
				t.Errorf("%q %s: %v: %s", shell, f, err, out)
			}
		}
	}
	if out, err := exec.Command(peer(t, "shellcheck"), append([]string{"-s", "sh", "-e", "SC1090,SC1091"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v: %s", err, strings.ReplaceAll(string(out), root, ""))
	}
}
