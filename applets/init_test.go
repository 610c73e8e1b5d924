package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runitbox/initstage"
)

// privately runs a script in a namespace of its own, with /run and /var/log
// empty; "p" in it is the program.
func privately(t *testing.T, program, script string) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\nexec " + program + " \"$@\"\n" // an applet goes by its name
	if err := writeFile(filepath.Join(dir, "p"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := contained(t, exec.Command("/bin/sh", "-c", "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log || exit 125\n"+script))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LC_ALL=C",
		"RUNIT_STOPIT=/run/runit.stopit", "RUNIT_REBOOT=/run/runit.reboot") // Debian's places
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState.ExitCode() == 125 {
			skip(t, "nothing can be mounted here: "+out.String())
		}
		out.WriteString(err.Error() + "\n")
	}
	return strings.ReplaceAll(out.String(), program, "PROGRAM")
}

// TestRunitInit asks Debian's runit-init and ours the same.
func TestRunitInit(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	const show = "\nfor f in stopit reboot; do if [ -e /run/runit.$f ]; then stat -c '%n %a %s' /run/runit.$f; fi; done"
	usage := "usage: PROGRAM 0|6\n\n0\n"
	for _, tt := range []struct{ name, script, want string }{
		{"no argument", "p; echo $?", usage},
		{"an empty one", "p ''; echo $?", usage},
		{"another", "p 1; echo $?", usage},
		{"an option", "p -x; echo $?", usage},
		{"halt", "p 0; echo $?", "0\n/run/runit.stopit 100 0\n"},
		{"reboot", "p 6; echo $?", "0\n/run/runit.stopit 100 0\n/run/runit.reboot 100 0\n"},
		{"only the first character counts", "p 6abc; echo $?", "0\n/run/runit.stopit 100 0\n/run/runit.reboot 100 0\n"},
		{"first reboot, then halt", "p 6; p 0; echo $?", "0\n/run/runit.stopit 100 0\n/run/runit.reboot 0 0\n"},
		{"the files are emptied", "echo x >/run/runit.stopit; chmod 644 /run/runit.stopit; p 0; echo $?", "0\n/run/runit.stopit 100 0\n"},
		{"through a link that leads nowhere", "ln -s /run/there /run/runit.stopit; p 0; echo $?; stat -c '%n %a' /run/there; rm /run/runit.stopit",
			"0\n/run/there 100\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, privately(t, peer(t, "runit-init"), tt.script+show)); diff != "" {
				t.Errorf("Debian's runit-init (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, privately(t, filepath.Join(bin, "runit-init"), tt.script+show)); diff != "" {
				t.Errorf("ours (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nowhere to write", func(t *testing.T) {
		t.Parallel()
		got := privately(t, filepath.Join(bin, "runit-init"), "mount -o remount,bind,ro /run; p 6; echo $?; p 0; echo $?")
		want := "init: fatal: unable to create /run/runit.reboot: read-only file system\n111\n" +
			"init: fatal: unable to create /run/runit.stopit: read-only file system\n111\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("the stop flag cannot be set: nothing is armed", func(t *testing.T) {
		t.Parallel()
		got := privately(t, filepath.Join(bin, "runit-init"), "mkdir /run/runit.stopit; chmod 0 /run/runit.stopit; p 6; echo $?; stat -c %a /run/runit.reboot")
		want := "init: fatal: unable to create /run/runit.stopit: is a directory\n111\n0\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestPathsWhenBuilt: the linker can name other places.
func TestPathsWhenBuilt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	flags := "-X runitbox/initstage.stopFlags=" + dir + "/stop -X runitbox/initstage.rebootFlags=" + dir + "/no/no:" + dir + "/again"
	if text, err := exec.Command("make", "-C", "..", "build", "OUT="+dir, "GOLDFLAGS="+flags).CombinedOutput(); err != nil {
		t.Fatalf("make build: %v: %s", err, text)
	}
	cmd := contained(t, exec.Command(filepath.Join(dir, "runitbox"), "runit-init", "6"))
	cmd.Env = []string{}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("runit-init 6: %v: %s", err, text)
	}
	for _, name := range []string{"stop", "again"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o100 {
			t.Errorf("%s: %v, %v, want the mode 0100", name, info, err)
		}
	}
}

// TestNotProcessOne: runit by hand says what it is for.
func TestNotProcessOne(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"", "-x", "--stage 1", "x"} {
		want := "- runit: fatal: must be run as process no 1.\n111\n"
		if diff := cmp.Diff(want, privately(t, peer(t, "runit"), "p "+arg+"; echo $?")); diff != "" && arg == "" {
			t.Errorf("Debian's runit %s (-want +got):\n%s", arg, diff)
		}
		// In a subshell, lest the stage have process 1 for a parent.
		if diff := cmp.Diff(want, privately(t, filepath.Join(bin, "runit"), "(p "+arg+"; echo $?)")); diff != "" {
			t.Errorf("runit %s (-want +got):\n%s", arg, diff)
		}
	}
}

// TestUtmpset runs Debian's utmpset and ours on the same records.
func TestUtmpset(t *testing.T) {
	t.Parallel()
	if initstage.RecordSize != 384 {
		skip(t, "the peers have another layout of records here")
	}
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	user := func(line string, pid int32) initstage.Record {
		return initstage.Record{Type: 7, PID: pid, Line: line, ID: line[3:], User: "joe", Host: "castle", Session: 42, Time: time.Unix(1e9, 0)}
	}
	dead := func(line string, pid int32) initstage.Record {
		return initstage.Record{Type: 8, PID: pid, Line: line, ID: line[3:], Session: 42}
	}
	old := dead("tty4", 4)
	old.Time = time.Unix(1e9, 0)
	before := []initstage.Record{old, user("tty5", 5), user("tty5", 6), user("tty6", 7)}
	none := "utmpset: warning: unable to logout line tty4 in utmp: no such entry\n111\n"
	for _, tt := range []struct {
		name, script, want string
		utmp, wtmp         []initstage.Record
	}{
		{"the first of two", "p tty5; echo $?", "0\n", []initstage.Record{old, dead("tty5", 5), before[2], before[3]}, nil},
		{"the second", "p tty5; p tty5; echo $?", "0\n", []initstage.Record{old, dead("tty5", 5), dead("tty5", 6), before[3]}, nil},
		{"no user is there", "p tty4; echo $?", none, before, nil},
		{"then wtmp stays as it is", ": >/var/log/wtmp; p -w tty4; echo $?", none, before, nil},
		{"wtmp too", ": >/var/log/wtmp; p -w tty6; echo $?", "0\n", []initstage.Record{old, before[1], before[2], dead("tty6", 7)}, []initstage.Record{{Type: 8, Line: "tty6"}}},
		{"what follows is ignored", "p tty6 x y; echo $?", "0\n", []initstage.Record{old, before[1], before[2], dead("tty6", 7)}, nil},
		{"no line", "p; echo $?; p -w; echo $?", "usage: PROGRAM [-w] line\n\n1\nusage: PROGRAM [-w] line\n\n1\n", before, nil},
		{"a wrong option", "p -x tty5; echo $?", "utmpset: illegal option -- x\nusage: PROGRAM [-w] line\n\n1\n", before, nil},
		{"help is none", "p -h; echo $?", "utmpset: illegal option -- h\nusage: PROGRAM [-w] line\n\n1\n", before, nil},
		{"no utmp", "rm /run/utmp; p tty5; echo $?; : >/run/utmp", "utmpset: fatal: unable to open /var/run/utmp: file does not exist\n111\n", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var b bytes.Buffer
			for _, r := range before {
				b.Write(r.Bytes())
			}
			if err := os.WriteFile(dir+"/utmp", b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			for who, program := range map[string]string{"Debian's": peer(t, "utmpset"), "our": filepath.Join(bin, "utmpset")} {
				script := "cp " + dir + "/utmp /run/utmp\n" + tt.script + "\ncp /run/utmp " + dir + "/utmp.after; cp /var/log/wtmp " + dir + "/wtmp.after 2>/dev/null; :"
				os.Remove(dir + "/wtmp.after")
				if diff := cmp.Diff(tt.want, privately(t, program, script)); diff != "" {
					t.Errorf("%s utmpset says (-want +got):\n%s", who, diff)
				}
				if diff := cmp.Diff(tt.utmp, records(t, dir+"/utmp.after")); diff != "" {
					t.Errorf("%s utmpset makes of utmp (-want +got):\n%s", who, diff)
				}
				if diff := cmp.Diff(tt.wtmp, records(t, dir+"/wtmp.after")); diff != "" {
					t.Errorf("%s utmpset makes of wtmp (-want +got):\n%s", who, diff)
				}
			}
		})
	}
	t.Run("a wtmp that is not there is not made", func(t *testing.T) {
		got := privately(t, filepath.Join(bin, "utmpset"), "cp /dev/null /run/utmp; p -w tty1; echo $?; ls /var/log")
		want := "utmpset: warning: unable to logout line tty1 in utmp: no such entry\n111\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// records reads a file of login records. Times of the last minutes are right
// and are left out.
func records(t *testing.T, path string) []initstage.Record {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all []initstage.Record
	for ; len(text) > 0; text = text[initstage.RecordSize:] {
		if len(text) < initstage.RecordSize {
			t.Fatalf("%s: %d bytes too many", path, len(text))
		}
		r, err := initstage.ParseRecord(text[:initstage.RecordSize])
		if err != nil {
			t.Fatal(err)
		}
		if since := time.Since(r.Time); since >= -time.Second && since < 10*time.Minute {
			r.Time = time.Time{}
		}
		all = append(all, r)
	}
	return all
}

// TestHalt: halt, poweroff and reboot set the flags of runit-init and write
// the records of sysvinit; with -w and -B they only write.
func TestHalt(t *testing.T) {
	t.Parallel()
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	const show = "\nfor f in stopit reboot; do if [ -e /run/runit.$f ]; then stat -c '%n %a' /run/runit.$f; fi; done"
	for _, tt := range []struct {
		name, program, script, want string
		types                       []int16 // of the records in wtmp
	}{
		{"halt", "halt", "p", "/run/runit.stopit 100\n", []int16{1}},
		{"poweroff", "poweroff", "p", "/run/runit.stopit 100\n", []int16{1}},
		{"reboot", "reboot", "p -h -i", "/run/runit.stopit 100\n/run/runit.reboot 100\n", []int16{1}},
		{"all options of a halt that asks process 1", "halt", "p -d -i -p -h", "/run/runit.stopit 100\n", nil},
		{"-n is without a record", "halt", "p -n", "/run/runit.stopit 100\n", nil},
		{"by force: Debian's last script", "halt", "$chpst --keep-caps dac_override p -d -f -i -p -h 2>&1 | grep -v warning:; :", "halt: fatal: unable to poweroff: permission denied\n", nil},
		{"by force", "halt", "$chpst --keep-caps dac_override p --force; echo $?", "halt: fatal: unable to halt: permission denied\n1\n", []int16{1}},
		{"poweroff by force", "poweroff", "$chpst --keep-caps dac_override p -f -n; echo $?", "poweroff: fatal: unable to poweroff: permission denied\n1\n", nil},
		{"reboot by force", "reboot", "$chpst --keep-caps dac_override p -f -d -p -h; echo $?", "reboot: fatal: unable to reboot: permission denied\n1\n", nil},
		{"nobody", "halt", "cp $(readlink -f $chpst) /run/halt; $chpst -u :65534:65534 /run/halt; echo $?", "halt: fatal: must be superuser\n1\n", nil},
		{"no record", "reboot", "p -n -d", "/run/runit.stopit 100\n/run/runit.reboot 100\n", nil},
		{"only a record", "halt", "p -w", "", []int16{1}},
		{"the boot's", "halt", "p -B; p -B", "", []int16{2, 2}},
		{"a wrong option", "halt", "p -x; echo $?", "halt: illegal option -- x\nusage: PROGRAM [-n] [-w] [-d] [-f] [-i] [-p] [-h] [-B]\n\n1\n", nil},
		{"shutdown -r", "shutdown", "p -r now; echo $?", "0\n/run/runit.stopit 100\n/run/runit.reboot 100\n", []int16{1}},
		{"shutdown -h", "shutdown", "p -h now bye; echo $?", "0\n/run/runit.stopit 100\n", []int16{1}},
		{"shutdown -k does nothing", "shutdown", "p -k -h now; echo $?", "0\n", nil},
		{"shutdown -H", "shutdown", "p -h -H now; echo $?; stat -c '%n %a' /run/runit.halt", "0\n/run/runit.halt 100\n/run/runit.stopit 100\n", []int16{1}},
		{"another end after it", "shutdown", "p -H now; rm -r /run/runit.stopit; p -hP now; echo $?; stat -c '%n %a' /run/runit.halt", "0\n/run/runit.halt 0\n/run/runit.stopit 100\n", []int16{1, 1}},
		{"shutdown at no time", "shutdown", "p -h soon; echo $?; p -t x -h now; echo $?",
			"shutdown: fatal: time \"soon\" is neither now nor +MINUTES, +HH:MM or HH:MM\n1\nusage: PROGRAM [-akrhPHfFncqQ] [-t sec] time [message]\n\n1\n", nil},
		{"shutdown -a", "shutdown", "mount -t tmpfs tmpfs /etc; p -a -k now; echo $?; echo joe >/etc/shutdown.allow; p -a -k now; echo $?", "0\nshutdown: fatal: no authorized users logged in\n1\n", nil},
		{"no time", "shutdown", "p -h; echo $?", "usage: PROGRAM [-akrhPHfFncqQ] [-t sec] time [message]\n\n1\n", nil},
		{"nothing to cancel", "shutdown", "p -c; echo $?", "shutdown: fatal: unable to cancel: no shutdown is waiting\n1\n", nil},
		{"a file that is left names nobody", "shutdown", "mkdir /run/runit; echo $$ >/run/runit/shutdown.pid; p -c; echo $?",
			"shutdown: fatal: unable to cancel: no shutdown is waiting\n1\n", nil},
		{"cancelled", "shutdown", "p -h +10 & until [ -s /run/runit/shutdown.pid ]; do sleep 0.1; done; p -h +5 2>&1; p -c; echo $?; wait; ls /run/runit",
			"shutdown: fatal: unable to begin: another shutdown is waiting: temporary failure\n0\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && strings.Contains(tt.script, "$chpst -u ") {
				skip(t, "only root becomes another user")
			}
			dir := t.TempDir()
			got := privately(t, filepath.Join(bin, tt.program), "mkdir -p "+dir+"; : >/var/log/wtmp; : >/run/utmp; chpst="+bin+"/chpst; "+tt.script+show+"; cp /var/log/wtmp "+dir)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var types []int16
			for _, r := range records(t, dir+"/wtmp") {
				types = append(types, r.Type)
			}
			if diff := cmp.Diff(tt.types, types); diff != "" {
				t.Errorf("wtmp (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDelayOf: all times that sysvinit's shutdown knows.
func TestDelayOf(t *testing.T) {
	from := time.Date(2026, 11, 28, 13, 30, 20, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"now", 0, true},
		{"+0", 0, true},
		{"+5", 5 * time.Minute, true},
		{"+1:30", 90 * time.Minute, true},
		{"13:31", 40 * time.Second, true},
		{"13:30", 24*time.Hour - 20*time.Second, true},
		{"9:05", 19*time.Hour + 34*time.Minute + 40*time.Second, true},
		{"24:00", 0, false},
		{"12:60", 0, false},
		{"12:5", 0, false},
		{"5", 0, false},
		{"+", 0, false},
		{"-5", 0, false},
		{"+-5", 0, false},
		{"12:", 0, false},
		{"", 0, false},
	} {
		got, err := delayOf(tt.text, from)
		if got != tt.want || err == nil != tt.ok {
			t.Errorf("%q is in %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}
