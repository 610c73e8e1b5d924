package applets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// treeOf tells what there is below dir: of a file its mode and text, of a link where it leads.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || at == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		said := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			said += " " + string(text)
		case !d.IsDir():
			to, _ := os.Readlink(at)
			said = "-> " + to
		}
		name, _ := filepath.Rel(dir, at)
		all[name] = said
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestSetupStages is `runitbox setup stages`, `levels` and `container`, called as users do.
func TestSetupStages(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const stagesUsage = "usage: runitbox setup stages [--plain|--debian|--container] [--list] [--dry-run] [--force] [--root DIR]\n\n"
	solo := func(word string) string {
		return strings.ReplaceAll("WORD ROOT/etc/runit/runsvdir/solo\nWORD ROOT/etc/runit/runsvdir/current\nWORD ROOT/var/service\n", "WORD", word)
	}
	stages := func(word string, names string) string {
		var b strings.Builder
		for _, f := range strings.Fields(names) {
			b.WriteString(word + " ROOT/etc/runit/" + f + "\n")
		}
		return b.String()
	}
	const machine, container = "functions emergency ctrlaltdel 1 2 3", "functions 1 2 3"
	for _, tt := range []struct {
		about  string
		before map[string]string // "-> " is a link, "/" at the end a directory
		args   string
		out    string
		status int
		after  map[string]string // what is there more, of these files how it begins
	}{
		{"an argument too many", nil, "stages plain", stagesUsage, 100, nil},
		{"two sets", nil, "stages --plain --debian", stagesUsage, 100, nil},
		{"an unknown set", nil, "stages --void", "runitbox: illegal option -- -\n" + stagesUsage, 100, nil},
		{"an unknown level", nil, "levels solo multi", "runitbox: fatal: setup: multi: no such level (--list tells all)\n", 111, nil},
		{"a level of a container", nil, "container solo", "usage: runitbox setup container [--list] [--dry-run] [--force] [--root DIR]\n\n", 100, nil},
		{"stages that fit", nil, "stages", stages("made", machine), 0,
			map[string]string{"etc/runit/1": "-rwxr-xr-x #!/bin/sh\n# Stage 1: makes the system ready for services, without", "etc/runit/functions": "-rw-r--r-- # The steps"}},
		{"stages that fit Debian", map[string]string{"etc/debian_version": "12\n"}, "stages", stages("made", machine), 0,
			map[string]string{"etc/runit/1": "-rwxr-xr-x #!/bin/sh\n# Stage 1: makes the system ready for services, with the scripts of sysvinit"}},
		{"stages for Debian", nil, "stages --debian", stages("made", machine), 0,
			map[string]string{"etc/runit/3": "-rwxr-xr-x #!/bin/sh\n# Stage 3: ends the services, then all else, by sysvinit's"}},
		{"stages for a container", nil, "stages --container", stages("made", container), 0,
			map[string]string{"etc/runit/2": "-rwxr-xr-x #!/bin/sh\n# Stage 2 of a container"}},
		{"only told", nil, "stages --dry-run", stages("would make", machine), 0, nil},
		{"a level", nil, "levels solo", solo("made"), 0,
			map[string]string{"etc/runit/runsvdir/current": "-> solo", "etc/runit/runsvdir/solo": "drwxr-xr-x", "var/service": "-> /run/runit/runsvdir/current"}},
		{"a container", nil, "container", stages("made", container) + solo("made"), 0, map[string]string{"etc/runit/2": "-rwxr-xr-x #!/bin/sh\n# Stage 2 of a container"}},
		{"a stage of somebody's", map[string]string{"etc/runit/2": "#!/bin/sh\n"}, "stages", "runitbox: fatal: setup: nothing was changed: ROOT/etc/runit/2: it is there and differs (--force replaces it)\n", 111, nil},
		{"a stage of somebody's, by force", map[string]string{"etc/runit/2": "#!/bin/sh\n"}, "stages --plain --force", strings.Replace(stages("made", machine), "made ROOT/etc/runit/2", "replaced ROOT/etc/runit/2", 1), 0,
			map[string]string{"etc/runit/2": "-rwxr-xr-x #!/bin/sh\n# Stage 2"}},
		{"a link in place of a stage, by force", map[string]string{"etc/runit/1": "-> /bin/true"}, "stages --plain --force", "runitbox: fatal: setup: nothing was changed: ROOT/etc/runit/1: it is no regular file\n", 111, nil},
		{"a link out of the root", map[string]string{"etc/runit": "-> ../../.."}, "stages --plain --force", "", 111, nil},
		{"a directory in place of a stage", map[string]string{"etc/runit/3/": ""}, "stages --plain --force", "runitbox: fatal: setup: nothing was changed: ROOT/etc/runit/3: it is no regular file\n", 111, nil},
		{"a level is current", map[string]string{"etc/runit/runsvdir/current": "-> mine", "var/service/web/": ""}, "levels solo",
			"made ROOT/etc/runit/runsvdir/solo\nleft ROOT/etc/runit/runsvdir/current: it is another one\nleft ROOT/var/service: it is no link\n", 0,
			map[string]string{"etc/runit/runsvdir/current": "-> mine", "var/service": "drwxr-xr-x"}},
		{"a file in place of a level", map[string]string{"etc/runit/runsvdir/single": "file"}, "levels --force single",
			"runitbox: fatal: setup: nothing was changed: ROOT/etc/runit/runsvdir/single: it is no directory; ROOT/etc/runit/runsvdir/single/sulogin: not a directory\n", 111, nil},
		{"another service in a level", map[string]string{"etc/runit/runsvdir/single/sulogin": "-> /etc/sv/other"}, "levels single",
			"runitbox: fatal: setup: nothing was changed: ROOT/etc/runit/runsvdir/single/sulogin: it is there and differs (--force replaces it)\n", 111, nil},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for name, text := range tt.before {
				at := filepath.Join(root, name)
				if strings.HasSuffix(name, "/") {
					at = filepath.Join(at, "x")
				}
				if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if to, ok := strings.CutPrefix(text, "-> "); ok {
					err = os.Symlink(to, at)
				} else if text != "" {
					err = os.WriteFile(at, []byte(text), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			run := func() (string, int) {
				args := append([]string{"setup"}, strings.Fields(tt.args)...)
				cmd := exec.Command(exe, append(args[:2:2], append([]string{"--root", root}, args[2:]...)...)...)
				out, _ := cmd.CombinedOutput()
				return strings.ReplaceAll(string(out), root, "ROOT"), cmd.ProcessState.ExitCode()
			}
			before := treeOf(t, root)
			out, status := run()
			if status != tt.status || out != tt.out && tt.out != "" {
				t.Errorf("exit %d, want %d\n%s\nwant\n%s", status, tt.status, out, tt.out)
			}
			after := treeOf(t, root)
			if tt.after == nil {
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("it was changed (-want +got):\n%s", diff)
				}
				return
			}
			for name, want := range tt.after {
				if got := after[name]; !strings.HasPrefix(got, want) {
					t.Errorf("%s: %s\nwant\n%s", name, got, want)
				}
			}
			again, status := run()
			for _, word := range []string{"made", "replaced", "nothing"} {
				if status != 0 || strings.Contains(again, word) {
					t.Errorf("the second time: exit %d: %s", status, again)
					break
				}
			}
			if diff := cmp.Diff(after, treeOf(t, root)); diff != "" {
				t.Errorf("the second time it was changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSetupStagesList: what there is is told, and nothing is written.
func TestSetupStagesList(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for member, want := range map[string]string{
		"stages":    "container       for process 1 of a container\n",
		"levels":    "single          root's shell on the console and nothing else\n",
		"container": "/etc/runit/runsvdir/solo\n",
	} {
		root := t.TempDir()
		out, err := exec.Command(exe, "setup", member, "--list", "--root", root).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s --list: %v: %s", member, err, out)
		}
		if entries, _ := os.ReadDir(root); len(entries) > 0 {
			t.Errorf("%s --list has made %v", member, entries)
		}
	}
}

// TestSetupSteps calls steps of the stages, with every shell, in a directory that has the
// files and a copy of the functions beside them.
func TestSetupSteps(t *testing.T) {
	t.Parallel()
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if out, err := exec.Command(exe, "setup", "stages", "--plain", "--root", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	functions := filepath.Join(root, "etc/runit/functions")
	levels := "mkdir default single other current solo.new; ln -s other previous; ln -s single alias\nlevels=$PWD\n"
	choose := func(words string) string {
		return levels + "choose_level default " + words + "\necho level $level\n"
	}
	for _, tt := range []struct{ about, script, want string }{
		{"no word is a level", choose("quiet ro root=/dev/vda1"), "- stage sh: the level is default\nlevel default\n"},
		{"a word is a level", choose("quiet single ro"), "- stage sh: the level is single (it was asked for)\nlevel single\n"},
		{"the last counts", choose("single other quiet"), "- stage sh: the level is other (it was asked for)\nlevel other\n"},
		{"a level that is a link", choose("alias"), "- stage sh: the level is alias (it was asked for)\nlevel alias\n"},
		{"links that runsvchdir keeps are no levels", choose("other current solo.new"), "- stage sh: the level is other (it was asked for)\nlevel other\n"},
		{"previous is the level before", choose("single previous"), "- stage sh: the level is other (it was asked for)\nlevel other\n"},
		{"nothing but a name is a level", choose("../ . .. /etc ''"), "- stage sh: the level is default\nlevel default\n"},
		{"without default the current one", "mkdir one; ln -s one current\nlevels=$PWD\nchoose_level default\necho $level\n", "- stage sh: the level is one\none\n"},
		{"without that the one before", "mkdir one; ln -s gone current; ln -s one previous\nlevels=$PWD\nchoose_level default\necho $level\n", "- stage sh: the level is one\none\n"},
		{"none", "levels=$PWD\nchoose_level default single || echo none\n", "none\n"},
		{"a flag counts by its mode", "mkdir -p run; reboot=$PWD/run/reboot; : >$reboot; for m in 0 100 700 644 4000; do chmod $m $reboot; case $(ls -lL $reboot) in -??[xs]*) echo $m ;; esac; done\n", "100\n700\n"},
		{"a directory that can be written", "mkdir d; writable $PWD/d && echo yes; writable $PWD/none || echo no; ls -A d\n", "yes\nno\n"},
		{"a word of the kernel's line", "kernel_words() { words='ro fastboot x=single'; }\nword fastboot && echo fast; word single || echo no; word x || echo no\n", "fast\nno\nno\n"},
		{"what can be supervised is", "mkdir -p sv/web; supervisable $PWD/sv/web | sed 's,.*/sv,sv,'\n", "sv/web\n"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			for _, shell := range [][]string{{"sh"}, {peer(t, "busybox"), "sh"}, {"bash", "--posix"}} {
				cmd := exec.Command(shell[0], append(shell[1:], "-c", ". "+functions+"\n"+tt.script, "sh")...)
				cmd.Dir = t.TempDir()
				if out, err := cmd.CombinedOutput(); err != nil || string(out) != tt.want {
					t.Errorf("%v: %v\n%s\nwant\n%s", shell, err, out, tt.want)
				}
			}
		})
	}
}

// TestSetupWholeSystem: in a system's own root links on the way may be absolute, and lead
// where they lead; an end of one is no file's.
func TestSetupWholeSystem(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, to chroot")
	}
	exe, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"etc", "usr/etc/runit", "usr/var"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"etc/runit": "/usr/etc/runit", "var": "/usr/var"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyFile(filepath.Join(root, "runitbox"), exe); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"made", "kept"} {
		cmd := exec.Command("/runitbox", "setup", "container")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		want := strings.ReplaceAll("X /usr/etc/runit/functions\nX /usr/etc/runit/1\nX /usr/etc/runit/2\nX /usr/etc/runit/3\nX /usr/etc/runit/runsvdir/solo\nX /usr/etc/runit/runsvdir/current\nX /usr/var/service\n", "X", word)
		if err != nil || string(out) != want {
			t.Errorf("%v: %s\nwant\n%s", err, out, want)
		}
	}
}
