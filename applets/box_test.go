package applets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// answer is what a program gave back.
type answer struct {
	Stdout, Stderr string
	Status         int
}

// ask runs argv[1:] of the executable path under the name argv[0].
func ask(t *testing.T, path string, env []string, argv ...string) answer {
	t.Helper()
	var out, err bytes.Buffer
	cmd := &exec.Cmd{Path: path, Args: argv, Env: append(os.Environ(), env...), Stdout: &out, Stderr: &err}
	e := cmd.Run()
	var status *exec.ExitError
	if e != nil && !errors.As(e, &status) {
		t.Fatalf("%s %q: %v", path, argv, e)
	}
	return answer{out.String(), err.String(), cmd.ProcessState.ExitCode()}
}

// built is the path of the executable as users get it.
func built(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withLinks is a new directory of links to an executable, made by it, under all its names.
func withLinks(t *testing.T, program string) (bin string) {
	t.Helper()
	bin = t.TempDir()
	if out, err := exec.Command(program, "install", bin).CombinedOutput(); err != nil {
		t.Fatalf("install: %v: %s", err, out)
	}
	return bin
}

func TestBoxApplets(t *testing.T) {
	t.Parallel()
	self := built(t)
	// usages are the answers to a call without arguments, of those applets that
	// need some; %s is argv[0] as it was typed.
	usages := map[string]struct {
		usage  string
		status int
	}{
		"chpst":      {"", 100}, // its text is of many lines
		"runsv":      {"usage: %s dir\n\n", 1},
		"runsvchdir": {"usage: %s dir\n\n", 1},
		"runsvdir":   {"usage: %s [-P] dir\n\n", 1},
		"sv":         {"usage: sv [-v] [-w sec] command service ...\n\n", 100},
		"svlogd":     {"usage: %s [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n", 111},
	}
	for name, want := range usages {
		if !known(name) {
			t.Errorf("%s is not among the applets", name)
			continue
		}
		for how, argv := range map[string][]string{
			"by argv[0]":           {name},
			"by a path in argv[0]": {"/no/such/directory/" + name},
			"as an argument":       {"runitbox", name},
			"of another version":   {"runitbox-1.0", name},
		} {
			got := ask(t, self, nil, argv...)
			typed := argv[len(argv)-1]
			if got.Status != want.status {
				t.Errorf("%s %s: exit status %d, want %d\n%s", name, how, got.Status, want.status, got.Stderr)
			}
			if text := strings.ReplaceAll(want.usage, "%s", typed); text != "" && got.Stderr != text {
				t.Errorf("%s %s (-want +got):\n%s", name, how, cmp.Diff(text, got.Stderr))
			}
			if got.Stdout != "" {
				t.Errorf("%s %s writes to stdout: %q", name, how, got.Stdout)
			}
		}
	}
}

func TestBoxList(t *testing.T) {
	t.Parallel()
	self := built(t)
	alone := ask(t, self, nil, "runitbox")
	if alone.Status != 0 || alone.Stderr != "" {
		t.Errorf("runitbox: exit status %d, stderr %q", alone.Status, alone.Stderr)
	}
	if diff := cmp.Diff(alone, ask(t, self, nil, "runitbox", "--help")); diff != "" {
		t.Errorf("runitbox and runitbox --help differ:\n%s", diff)
	}
	said := map[string]string{}
	for line := range strings.Lines(alone.Stdout) {
		if name, short, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(line, "  ") {
			said[name] = strings.TrimSpace(short)
		}
	}
	for _, name := range append(names(), "install", "completion") {
		if said[name] == "" {
			t.Errorf("%s has no line", name)
		}
	}
	if got := ask(t, self, nil, "runitbox", "--version"); got.Status != 0 || !strings.HasPrefix(got.Stdout, "runitbox version ") {
		t.Errorf("runitbox --version: %+v", got)
	}
}

func TestBoxUnknown(t *testing.T) {
	t.Parallel()
	self := built(t)
	for _, tt := range []struct {
		argv []string
		want answer
	}{
		{[]string{"nosuch"}, answer{"", "runitbox: fatal: nosuch: applet not found\n", 127}},
		{[]string{"/usr/bin/nosuch", "--help"}, answer{"", "runitbox: fatal: nosuch: applet not found\n", 127}},
		{[]string{"-sh"}, answer{"", "runitbox: fatal: -sh: applet not found\n", 127}},
		{[]string{""}, answer{"", "runitbox: fatal: .: applet not found\n", 127}},
		{[]string{"runitbox", "nosuch"}, answer{"", "runitbox: fatal: nosuch: applet not found\n", 127}},
		{[]string{"runitbox", "nosuch", "--force", "-x"}, answer{"", "runitbox: fatal: nosuch: applet not found\n", 127}},
		{[]string{"runitbox", "-x"}, answer{"", "runitbox: illegal option -- x\nusage: runitbox [--help | --version | applet [arg ...]]\n\n", 100}},
		{[]string{"runitbox", "install"}, answer{"", "usage: runitbox install [--hard] [--force] [--no-init] [--restart] dir|--over-runit\n\n", 100}},
		{[]string{"runitbox", "install", ""}, answer{"", "usage: runitbox install [--hard] [--force] [--no-init] [--restart] dir|--over-runit\n\n", 100}},
		{[]string{"runitbox", "install", "a", "b"}, answer{"", "usage: runitbox install [--hard] [--force] [--no-init] [--restart] dir|--over-runit\n\n", 100}},
		{[]string{"runitbox", "completion", "nosh"}, answer{"", "usage: runitbox completion bash|zsh|fish\n\n", 100}},
	} {
		if diff := cmp.Diff(tt.want, ask(t, self, nil, tt.argv...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.argv, diff)
		}
	}
}

// TestBoxLSB calls sv by the names that init scripts have.
func TestBoxLSB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self := built(t)
	lay := func(target, name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	lay(self, "sbin/runitbox")
	lay("runitbox", "sbin/sv")
	lay("runitbox", "sbin/svlogd")
	lay("../sbin/sv", "init.d/relative")
	lay(filepath.Join(dir, "sbin/sv"), "init.d/absolute")
	lay("relative", "init.d/twice")
	lay("sv", "sbin/sv-beside")
	lay("../sbin/svlogd", "init.d/other")
	lay("../sbin/runitbox", "init.d/direct")
	lay("deep/er/init.d", "rc.d") // a link to a directory on the way
	lay("../../../sbin/sv", "deep/er/init.d/through")
	for path, lsb := range map[string]bool{
		"init.d/relative": true,
		"init.d/absolute": true,
		"init.d/twice":    true,
		"sbin/sv-beside":  true,
		"rc.d/through":    true,
		"init.d/other":    false,
		"init.d/direct":   false,
	} {
		name := filepath.Base(path)
		want := answer{"", fmt.Sprintf("usage: %s [-w sec] command\n\n", name), 2}
		if !lsb {
			want = answer{"", fmt.Sprintf("runitbox: fatal: %s: applet not found\n", name), 127}
		}
		at := filepath.Join(dir, path)
		if diff := cmp.Diff(want, ask(t, at, nil, at)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		env := []string{"PATH=/no/such:" + filepath.Dir(at)}
		if diff := cmp.Diff(want, ask(t, at, env, name)); diff != "" {
			t.Errorf("%s found in PATH (-want +got):\n%s", path, diff)
		}
	}
}

func TestLeadsThrough(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, target := range map[string]string{"a": "b", "b": "a", "c": "d/../sv", "sv": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"a": false, "c": true, "sv": false, "none": false} {
		if got := leadsThrough(filepath.Join(dir, name), "sv"); got != want {
			t.Errorf("%s leads through sv: %v, want %v", name, got, want)
		}
	}
}

func TestBoxInstall(t *testing.T) {
	t.Parallel()
	from := built(t)
	dir := t.TempDir()
	elsewhere, beside := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "beside")
	for _, d := range []string{elsewhere, beside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(beside, "runitbox")
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(self, text, 0o755); err != nil {
		t.Fatal(err)
	}
	install := func(want answer, args ...string) {
		t.Helper()
		got := ask(t, self, nil, append([]string{"runitbox", "install"}, args...)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("install %q (-want +got):\n%s", args, diff)
		}
	}
	// listing tells what is in a directory: a link's target, "same" for a hard
	// link to self, "file" for a file that is something else.
	listing := func(dir string) map[string]string {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		is := map[string]string{}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch target, err := os.Readlink(path); {
			case path == self:
			case err == nil:
				is[e.Name()] = target
			case same(path, self):
				is[e.Name()] = "same"
			default:
				is[e.Name()] = "file"
			}
		}
		return is
	}
	all := func(is string) map[string]string {
		want := map[string]string{}
		for _, name := range names() {
			want[name] = is
		}
		return want
	}
	inode := func(path string) uint64 {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	ok := answer{}

	install(ok, elsewhere)
	if diff := cmp.Diff(all(self), listing(elsewhere)); diff != "" {
		t.Errorf("links in another directory (-want +got):\n%s", diff)
	}
	first := filepath.Join(elsewhere, names()[0])
	before := inode(first)
	install(ok, elsewhere)
	if inode(first) != before {
		t.Error("a second install made a link again")
	}
	install(ok, beside)
	if diff := cmp.Diff(all("runitbox"), listing(beside)); diff != "" {
		t.Errorf("links beside it (-want +got):\n%s", diff)
	}
	install(ok, "--hard", elsewhere)
	if diff := cmp.Diff(all("same"), listing(elsewhere)); diff != "" {
		t.Errorf("hard links in place of links (-want +got):\n%s", diff)
	}
	before = inode(first)
	install(ok, "--hard", elsewhere)
	if inode(first) != before {
		t.Error("a second install made a hard link again")
	}
	install(ok, elsewhere)
	if diff := cmp.Diff(all(self), listing(elsewhere)); diff != "" {
		t.Errorf("links in place of hard links (-want +got):\n%s", diff)
	}

	// What is not such a link stays, and then nothing else is touched either.
	mixed := filepath.Join(dir, "mixed")
	stands := filepath.Join(mixed, names()[1])
	dangles := filepath.Join(mixed, names()[0])
	if err := os.Mkdir(mixed, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stands, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", dangles); err != nil {
		t.Fatal(err)
	}
	refusal := answer{"", fmt.Sprintf("runitbox: fatal: unable to link %s, %s: not a link to runitbox (--force replaces it)\n", dangles, stands), 111}
	install(refusal, mixed)
	if diff := cmp.Diff(map[string]string{names()[0]: "nowhere", names()[1]: "file"}, listing(mixed)); diff != "" {
		t.Errorf("after a refusal (-want +got):\n%s", diff)
	}
	install(ok, "--force", mixed)
	if diff := cmp.Diff(all(self), listing(mixed)); diff != "" {
		t.Errorf("by force (-want +got):\n%s", diff)
	}

	// The names of the machine's own init are left out if that is wanted.
	machine := filepath.Join(dir, "machine")
	if err := os.Mkdir(machine, 0o755); err != nil {
		t.Fatal(err)
	}
	want := all(self)
	for _, name := range []string{"halt", "init", "poweroff", "reboot", "shutdown"} {
		if err := os.Symlink("systemctl", filepath.Join(machine, name)); err != nil {
			t.Fatal(err)
		}
		want[name] = "systemctl"
	}
	if got := ask(t, self, nil, "runitbox", "install", machine); got.Status != 111 || !strings.Contains(got.Stderr, "--no-init leaves out") {
		t.Errorf("install beside another init: %+v", got)
	}
	install(ok, "--no-init", machine)
	if diff := cmp.Diff(want, listing(machine)); diff != "" {
		t.Errorf("beside another init (-want +got):\n%s", diff)
	}

	// A directory is not replaced by any force.
	if err := os.Remove(stands); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(stands, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, self, nil, "runitbox", "install", "--force", mixed); got.Status != 111 || !strings.Contains(got.Stderr, stands+": ") {
		t.Errorf("install over a directory: %+v", got)
	}
	want = all(self)
	want[names()[1]] = "file"
	if diff := cmp.Diff(want, listing(mixed)); diff != "" {
		t.Errorf("after a directory stood in the way (-want +got):\n%s", diff)
	}
	install(answer{"", fmt.Sprintf("runitbox: fatal: unable to link %s: file does not exist\n", filepath.Join(dir, "none", names()[0])), 111}, filepath.Join(dir, "none"))
}

// TestMakeInstall packs the suite as a distribution does, then moves it.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		skip(t, "no make here")
	}
	dir := t.TempDir()
	dest, out := filepath.Join(dir, "the dest"), filepath.Join(dir, "the out")
	// The second time is over what is there, and as root, who may have no go.
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "make", "install", "mv", "ln", "cat", "dirname", "grep", "sed", "gzip"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			skip(t, "no "+tool+" here")
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{os.Getenv("PATH"), bin} {
		cmd := exec.Command("make", "-C", "..", "install", "DESTDIR="+dest, "PREFIX=/usr", "OUT="+out)
		cmd.Env = append(os.Environ(), "PATH="+path)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make install: %v\n%s", err, text)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "runitbox")); err != nil {
		t.Errorf("OUT: %v", err)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(dest, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	sbin := filepath.Join(moved, "usr/sbin")
	for _, name := range append(names(), "runitbox") {
		info, err := os.Stat(filepath.Join(sbin, name))
		if err != nil {
			t.Errorf("after the move: %v", err)
		} else if info.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if got := ask(t, filepath.Join(sbin, "runitbox"), nil, "runitbox"); got.Status != 0 {
		t.Errorf("runitbox there: %+v", got)
	}
	installed(t, filepath.Join(moved, "usr/share"), append(names(), "runitbox"))
}

// installed looks for the manual page and the completion of each name below share.
func installed(t *testing.T, share string, names []string) {
	t.Helper()
	for _, name := range names {
		for _, path := range []string{"man/man8/" + name + ".8.gz", "bash-completion/completions/" + name, "fish/vendor_completions.d/" + name + ".fish"} {
			if info, err := os.Stat(filepath.Join(share, path)); err != nil || info.Mode().Perm() != 0o644 || info.Size() == 0 {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if found, _ := filepath.Glob(filepath.Join(share, "zsh/*/_runitbox")); len(found) != 1 {
		t.Errorf("the completion of zsh is in %v", found)
	}
	for _, left := range []string{"man/man8/.new", "bash-completion/completions/runitbox.new"} {
		if _, err := os.Lstat(filepath.Join(share, left)); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}

// TestMakeInstallBeside: beside another init, nothing of the names of an init is installed.
func TestMakeInstallBeside(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	share := filepath.Join(root, "usr/share")
	foreign := filepath.Join(share, "bash-completion/completions/sv") // another package's
	if err := os.MkdirAll(filepath.Dir(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("complete -f sv\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	makeInstalled(t, root, "LINKS=--no-init")
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "complete -f sv\n" {
		t.Errorf("another package's completion is now %q, %v", text, err)
	}
	makeInstalled(t, root, "LINKS=--no-init --force")
	if target, err := os.Readlink(foreign); err != nil || target != "runitbox" {
		t.Errorf("by force, another package's completion is %q, %v", target, err)
	}
	installed(t, share, append(slices.DeleteFunc(names(), ofInit), "runitbox"))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		if ofInit(name) {
			t.Errorf("%s is installed", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"bash-completion/completions/runitbox", "fish/vendor_completions.d/runitbox.fish", "zsh/*/_runitbox"} {
		found, err := filepath.Glob(filepath.Join(share, script))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v %v", script, found, err)
		}
		if text, err := os.ReadFile(found[0]); err != nil || strings.Contains(string(text), " poweroff") {
			t.Errorf("%s completes poweroff (%v)", script, err)
		}
	}
}

// TestBoxCompletion gives each shell that is here its script.
func TestBoxCompletion(t *testing.T) {
	t.Parallel()
	self := built(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := ask(t, self, nil, "runitbox", "completion", shell)
		if got.Status != 0 || got.Stderr != "" || !strings.Contains(got.Stdout, "runitbox") {
			t.Errorf("completion %s: exit status %d, %d bytes, %q", shell, got.Status, len(got.Stdout), got.Stderr)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(got.Stdout)
			if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
				t.Errorf("%s does not take its script: %v\n%s", shell, err, text)
			}
		} else {
			t.Logf("no %s here to read its script", shell)
		}
	}
	// What the scripts call: the words that may come next.
	got := ask(t, self, nil, "runitbox", "complete", "runitbox", "")
	offered := map[string]bool{}
	for line := range strings.Lines(got.Stdout) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		offered[word] = true
	}
	for _, name := range append(names(), "install", "completion") {
		if !offered[name] {
			t.Errorf("%s is not offered", name)
		}
	}
}

// TestInstallWithoutProc: a root that is being made has no /proc.
func TestInstallWithoutProc(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	script := "mkdir b sbin; cp " + program + " b/runitbox\n" +
		"chroot . /b/runitbox install /sbin; echo $?; readlink sbin/sv\n" +
		"cp b/runitbox sbin; rm sbin/sv; ln -s ../sbin/runitbox b/l; chroot . /b/l runitbox install --force sbin 2>&1; chroot . /sbin/runitbox install --force /sbin; readlink sbin/sv sbin/runsv\n" +
		"chroot . /b/runitbox runsvdir 2>&1; echo $?\n" +
		"chroot . /b/runitbox install --restart b 2>&1; echo $?\n"
	cmd := contained(t, exec.Command("/bin/sh", "-c", script))
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	want := "0\n/b/runitbox\nrunitbox: fatal: l: applet not found\nrunitbox\nrunitbox\nusage: runsvdir [-P] dir\n\n1\n" +
		"runitbox: fatal: unable to find what runs: open /proc: file does not exist\n111\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestInstallRestart: what runs a replaced executable becomes the new one.
func TestInstallRestart(t *testing.T) {
	t.Parallel()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	script := `set -e
PATH=` + bin + `:$PATH
for how in "" --hard; do
	mkdir b t t/a
	printf '#!/bin/sh\nexec sleep 1000\n' >t/a/run
	chmod +x t/a/run
	cp ` + program + ` b/runitbox
	b/runitbox install $how b
	b/runsvdir t &
	P=$!
	eventually b/sv start ./t/a
	before=$(cat t/a/supervise/pid)
	b/runitbox install --restart $how b # nothing is new
	cp ` + program + ` b/new
	mv b/new b/runitbox
	b/runitbox install --force --restart $how b
	eventually sh -c "! readlink /proc/$P/exe | grep -q deleted"
	[ $before = $(cat t/a/supervise/pid) ]
	b/sv -w 20 restart ./t/a # the new one hears now
	kill -HUP $P
	wait $P || :
	eventually sh -c '! b/sv status ./t/a | grep -q ^run:'
	rm -r b t
done
`
	cmd := contained(t, exec.Command("/bin/sh", "-c", script))
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
