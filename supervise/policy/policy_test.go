package policy

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/supervise/machine"
)

// dir makes a directory of these files, and opens it.
func dir(t *testing.T, files map[string]string) int {
	t.Helper()
	path := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(path+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestRead(t *testing.T) {
	type files = map[string]string
	usual := machine.Rules{Deaths: DeathsDefault}
	for _, tt := range []struct {
		name     string
		files    files
		want     *Policy
		warnings []string
	}{
		{"nothing beyond runit", files{"run": "#!/bin/sh\n", "finish": "", "down": ""}, nil, nil},
		{"a signal by its name", files{"down-signal": "SIGINT\n"}, &Policy{Rules: usual, DownSignal: unix.SIGINT}, nil},
		{"without SIG, in small letters", files{"down-signal": "quit"}, &Policy{Rules: usual, DownSignal: unix.SIGQUIT}, nil},
		{"by its number", files{"reload-signal": "10\n"}, &Policy{Rules: usual, ReloadSignal: unix.SIGUSR1}, nil},
		{"one of those for anybody", files{"down-signal": "SIGRTMIN+3"}, &Policy{Rules: usual, DownSignal: 37}, nil},
		{"no signal", files{"down-signal": "NONE\n"}, &Policy{Rules: usual}, []string{`./down-signal: "NONE" is not understood: it should be the name or number of a signal.`}},
		{"number 0", files{"down-signal": "0"}, &Policy{Rules: usual}, []string{`./down-signal: "0" is not understood: it should be the name or number of a signal.`}},
		{"flags", files{"flag-timeout-killpg": "", "flag-kill-strays": ""}, &Policy{Rules: usual, KillGroup: true, KillStrays: true}, nil},
		{"a pid namespace", files{"flag-newpidns": ""}, &Policy{Rules: usual, NewPID: true}, nil},
		{"back-off", files{"backoff": "100 30000\n"}, &Policy{Rules: machine.Rules{Deaths: 20, BackoffMin: 100 * time.Millisecond, BackoffMax: 30 * time.Second}}, nil},
		{"back-off the wrong way round", files{"backoff": "500 100"}, &Policy{Rules: usual}, []string{`./backoff: "500 100" is not understood: it should be two times in milliseconds, the least pause and the longest.`}},
		{"when to give up", files{"give-up": "3 10000", "max-death-tally": "50"}, &Policy{Rules: machine.Rules{Deaths: 50, GiveUpAfter: 3, GiveUpWithin: 10 * time.Second}}, nil},
		{"a socket", files{"notify-socket": "", "watchdog": "1500\n"}, &Policy{Rules: usual, NotifySocket: true, Watchdog: 1500 * time.Millisecond}, nil},
		{"a watchdog of no time", files{"notify-socket": "", "watchdog": "0"}, &Policy{Rules: usual, NotifySocket: true}, []string{`./watchdog: "0" is not understood: it should be a time in milliseconds.`}},
		{"a watchdog without a socket", files{"watchdog": "5"}, &Policy{Rules: usual}, []string{"./watchdog is for who has ./notify-socket: it counts as absent."}},
		{"who may use it", files{"user/access": "root\n\n # nobody\n@root # a group\n17\n@18\n"}, &Policy{Rules: usual, Access: []Grant{{0, false}, {0, true}, {17, false}, {18, true}}}, nil},
		{"who is not known", files{"user/access": "no such\n@nor:this\n-1\n@\nroot"}, &Policy{Rules: usual, Access: []Grant{{0, false}}}, []string{
			`./user/access: "no such" is not understood: it should be the name of a user, or @ and that of a group.`,
			`./user/access: "@nor:this" is not understood: it should be the name of a user, or @ and that of a group.`,
			`./user/access: "-1" is not understood: it should be the name of a user, or @ and that of a group.`,
			`./user/access: "@" is not understood: it should be the name of a user, or @ and that of a group.`}},
		{"a file user", files{"user": "root"}, nil, nil},
		{"nobody", files{"user/access": "\n"}, &Policy{Rules: usual}, nil},
		{"essential", files{"essential": ""}, &Policy{Rules: usual, Essential: EndsTree}, nil},
		{"essential when it fails", files{"essential": "failure\n"}, &Policy{Rules: usual, Essential: EndsWithFailure}, nil},
		{"essential in another way", files{"essential": "yes"}, &Policy{Rules: usual}, []string{`./essential: "yes" is not understood: it should be empty, success or failure.`}},
		{"too many to remember", files{"max-death-tally": "5000"}, &Policy{Rules: usual}, []string{`./max-death-tally: "5000" is not understood: it should be a number from 1 to 4096.`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := dir(t, tt.files)
			has := List(at, ".")
			got, warnings := Read(at, "", has)
			has.files = 0
			has.User = false // what is there is seen
			if want := (Names{Known: true, Down: tt.files["run"] != ""}); has != want {
				t.Errorf("it has %+v, want %+v", has, want)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			var texts []string
			for _, err := range warnings {
				texts = append(texts, err.Error())
			}
			if d := cmp.Diff(tt.warnings, texts); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		err  string
	}{
		{"1500\n", 1500 * time.Millisecond, ""},
		{"0", 0, ""},
		{"-1", 0, `./timeout-kill: "-1" is not understood: it should be a time in milliseconds.`},
		{"99999999999999", 0, `./timeout-kill: "99999999999999" is not understood: it should be a time in milliseconds.`},
		{"5 s", 0, `./timeout-kill: "5 s" is not understood: it should be a time in milliseconds.`},
	} {
		got, err := Timeout(dir(t, map[string]string{TimeoutKill: tt.text}), TimeoutKill)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("%q: %v, %q; want %v, %q", tt.text, got, text, tt.want, tt.err)
		}
	}
	if got, err := Timeout(dir(t, nil), TimeoutFinish); got != 0 || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}

func FuzzParseSignal(f *testing.F) {
	f.Add("TERM")
	f.Add("rtmin+3")
	f.Fuzz(func(t *testing.T, text string) {
		if sig, err := parseSignal(text); err == nil && (sig < 1 || sig > 64) {
			t.Errorf("%q is signal %d", text, sig)
		}
	})
}

// What is in a directory is seen at once, however late it comes; that nothing has changed
// is believed when it cannot be otherwise.
func TestNamesNow(t *testing.T) {
	t.Parallel()
	at := dir(t, map[string]string{"run": ""})
	add := func(name string) {
		t.Helper()
		fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	n := List(at, ".").Now(at)
	if n.changed != 0 {
		t.Error("a change of the last moment is taken for the last one")
	}
	add("down")
	if n = n.Now(at); !n.Down {
		t.Error("a name that has just come is not seen")
	}
	if !keepsTime(at) {
		if n.changed != 0 {
			t.Error("the time of a change is believed whatever the file system")
		}
		return
	}
	for begin := time.Now(); n.changed == 0; n = n.Now(at) {
		if time.Sleep(20 * time.Millisecond); time.Since(begin) > time.Minute {
			t.Fatal("the directory never comes to rest")
		}
	}
	n.Log = true // which it has not
	if n = n.Now(at); !n.Log {
		t.Error("a directory that has not changed is listed again")
	}
	add("down-signal")
	if n = n.Now(at); n.Log || !n.Down || n.files != 1 {
		t.Errorf("a name that has come late: %+v", n)
	}
}

// A directory of more names than are read at once is listed whole, and nothing is allocated
// for that: each service is listed when it is opened.
func TestList(t *testing.T) {
	files := map[string]string{"down": "", "give-up": "", "log/run": ""}
	for i := range 200 {
		files["a-file-of-another-program-"+strconv.Itoa(i)] = ""
	}
	at := dir(t, files)
	has := List(at, ".")
	if !has.Known || !has.Down || !has.Log || !has.LogDir || has.Supervise || has.files == 0 {
		t.Errorf("%+v", has)
	}
	if n := testing.AllocsPerRun(10, func() { List(at, ".") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
