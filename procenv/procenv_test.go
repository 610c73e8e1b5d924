package procenv

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestVariable(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		value         string
		set           bool
	}{
		{"an empty file takes the variable away", "", "", false},
		{"a newline is an empty value", "\n", "", true},
		{"blanks are an empty value", " \t \nx", "", true},
		{"the first line counts", "v1\nsecond\n", "v1", true},
		{"the line need not end", "v1", "v1", true},
		{"blanks go at the end only", " lead trail \t \nx", " lead trail", true},
		{"a carriage return is no blank", "cr \r\n", "cr \r", true},
		{"a zero byte is a newline", "a\x00b\x00\n", "a\nb\n", true},
		{"a zero byte ends no blanks", "a \x00 \n", "a \n", true},
		{"a zero byte alone", "\x00", "\n", true},
		{"any bytes", "\xff=\x80\n", "\xff=\x80", true},
	} {
		value, set := variable([]byte(tt.content))
		if value != tt.value || set != tt.set {
			t.Errorf("%s: variable(%q) = %q, %v, want %q, %v", tt.name, tt.content, value, set, tt.value, tt.set)
		}
	}
}

// FuzzVariable holds variable against the same rule, told byte by byte.
func FuzzVariable(f *testing.F) {
	for _, seed := range []string{"", "\n", "v", " a\tb \t\nc", "a\x00\x00\n", "\x00 \x00", "\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		end := 0
		for end < len(content) && content[end] != '\n' {
			end++
		}
		for end > 0 && (content[end-1] == ' ' || content[end-1] == '\t') {
			end--
		}
		var want []byte
		for _, b := range content[:end] {
			if b == 0 {
				b = '\n'
			}
			want = append(want, b)
		}
		value, set := variable(content)
		if value != string(want) || set != (len(content) > 0) {
			t.Errorf("variable(%q) = %q, %v, want %q", content, value, set, want)
		}
		if strings.ContainsRune(value, 0) {
			t.Errorf("variable(%q) = %q, which no environment can hold", content, value)
		}
	})
}

func TestEnvironment(t *testing.T) {
	env := Environment{"A=1", "AB=2", "NOTHING", "B=", "C=3"}
	env.Set("A", "one")
	env.Set("B", "=")
	env.Set("D", "")
	env.Set("NOTHING", "x")
	env.Unset("C")
	env.Unset("nosuch")
	want := Environment{"A=one", "AB=2", "NOTHING", "B==", "D=", "NOTHING=x"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestParseIDs(t *testing.T) {
	for _, tt := range []struct {
		text string
		want ids
		ok   bool
	}{
		{"1:2", ids{1, 2, []uint32{2}}, true},
		{"0:0", ids{0, 0, []uint32{0}}, true},
		{"1:2:3:2", ids{1, 2, []uint32{2, 3, 2}}, true},
		{"4294967294:007", ids{4294967294, 7, []uint32{7}}, true},
		{"1" + strings.Repeat(":1", 100), ids{1, 1, slices.Repeat([]uint32{1}, 100)}, true},
		{"", ids{}, false},
		{"1", ids{}, false},
		{":", ids{}, false},
		{"1:", ids{}, false},
		{":1", ids{}, false},
		{"1:2:", ids{}, false},
		{"1::2", ids{}, false},
		{"-1:1", ids{}, false},
		{"+1:1", ids{}, false},
		{"1:1 ", ids{}, false},
		{"0x1:1", ids{}, false},
		{"1_0:1", ids{}, false},
		{"1:x", ids{}, false},
		{"4294967295:1", ids{}, false}, // (uid_t)-1
		{"1:4294967295", ids{}, false},
		{"4294967296:1", ids{}, false},
		{"18446744073709551616:1", ids{}, false},
	} {
		got, err := parseIDs(tt.text)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(ids{})); diff != "" || (err == nil) != tt.ok {
			t.Errorf("parseIDs(%q): %v (-want +got):\n%s", tt.text, err, diff)
		}
		if want := "invalid uid/gids: " + tt.text; err != nil && err.Error() != want {
			t.Errorf("parseIDs(%q) says %q, want %q", tt.text, err, want)
		}
	}
}

// FuzzParseIDs: what is accepted is nothing but the numbers that it gives.
func FuzzParseIDs(f *testing.F) {
	for _, seed := range []string{"1:2", "1:2:3", "1:", ":1", "4294967296:1", "-1:1", "00:0", "1:4294967295"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		user, err := parseIDs(text)
		if err != nil {
			if diff := cmp.Diff(ids{}, user, cmp.AllowUnexported(ids{})); diff != "" {
				t.Errorf("parseIDs(%q) fails and gives numbers: %s", text, diff)
			}
			return
		}
		fields := strings.Split(text, ":")
		for i, n := range append([]uint32{user.uid}, user.groups...) {
			want, ok := new(big.Int).SetString(fields[i], 10)
			if !ok || want.Cmp(big.NewInt(int64(n))) != 0 || strings.Trim(fields[i], "0123456789") != "" || n == 1<<32-1 {
				t.Errorf("parseIDs(%q): number %d is %d", text, i, n)
			}
		}
		if len(fields) != 1+len(user.groups) || user.gid != user.groups[0] {
			t.Errorf("parseIDs(%q) = %+v", text, user)
		}
	})
}

const passwd = `root:x:0:0:root:/root:/bin/bash
# daemon:x:9:9
+daemon:x:8:8
daemon:x:1:1
broken:x:one:1::/:
broken:x:-5:1::/:
broken:x:5:6::/:
short:x:7
twice:x:10:11::/:
twice:x:12:13::/:
huge:x:4294967296:4294967296::/:
last:x:20:21:gecos with spaces:/:/bin/sh`

const group = `root:x:0:
daemon:x:1:
+nis:x:99:daemon
#out:x:98:daemon
adm:x:4:daemon,syslog
tty:x:5:syslog, daemon
empty:x:6:
bad:x:six:daemon
alone:x:7
short:x
audio:x:29:pulse,daemonic,daemon`

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name string
		want ids
		ok   bool
	}{
		{"root", ids{uid: 0, gid: 0}, true},
		{"daemon", ids{uid: 1, gid: 1}, true},
		{"broken", ids{uid: 5, gid: 6}, true},
		{"twice", ids{uid: 10, gid: 11}, true},
		{"last", ids{uid: 20, gid: 21}, true},
		{"huge", ids{}, false},
		{"short", ids{}, false},
		{"+daemon", ids{}, false},
		{"# daemon", ids{}, false},
		{"", ids{}, false},
		{"nosuch", ids{}, false},
		{"roo", ids{}, false},
		{"root:x", ids{}, false},
	} {
		got, ok := findUser([]byte(passwd), tt.name)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(ids{})); diff != "" || ok != tt.ok {
			t.Errorf("findUser(%q): %v (-want +got):\n%s", tt.name, ok, diff)
		}
	}
	for name, want := range map[string]int{"root": 0, "adm": 4, "alone": 7, "audio": 29, "bad": -1, "short": -1, "+nis": -1, "#out": -1, "": -1, "ad": -1} {
		gid, ok := findGroup([]byte(group), name)
		if ok != (want >= 0) || ok && int(gid) != want {
			t.Errorf("findGroup(%q) = %d, %v, want %d", name, gid, ok, want)
		}
	}
	if diff := cmp.Diff([]uint32{4, 5, 29}, memberships([]byte(group), "daemon")); diff != "" {
		t.Errorf("memberships (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{3, 1, 2}, unique([]uint32{3, 1, 3, 2, 1})); diff != "" {
		t.Errorf("unique (-want +got):\n%s", diff)
	}
}

// FuzzFindUser: who is found has a line with his name and these numbers.
func FuzzFindUser(f *testing.F) {
	for _, name := range []string{"root", "daemon", "broken", "", "#", "a:b"} {
		f.Add([]byte(passwd), name)
	}
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		user, ok := findUser(text, name)
		if !ok {
			return
		}
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			fields := strings.Split(string(line), ":")
			if len(fields) < 4 || fields[0] != name {
				continue
			}
			uid, err1 := strconv.ParseUint(fields[2], 10, 32)
			gid, err2 := strconv.ParseUint(fields[3], 10, 32)
			if err1 == nil && err2 == nil && uint32(uid) == user.uid && uint32(gid) == user.gid {
				return
			}
		}
		t.Errorf("findUser(%q, %q) = %+v, which is nowhere", text, name, user)
	})
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "0": 0, "007": 7, "18446744073709551615": Hard, "9223372036854775808": 1 << 63} {
		if n, err := ParseLimit(text); err != nil || n != want {
			t.Errorf("ParseLimit(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"=", "5M", "-5", "+5", " 5", "5 ", "0x5", "1_000", "18446744073709551616", "١"} {
		if n, err := ParseLimit(text); err == nil {
			t.Errorf("ParseLimit(%q) = %d, want an error", text, n)
		}
	}
}

// FuzzParseLimit: a limit is a decimal number of 64 bits, or nothing.
func FuzzParseLimit(f *testing.F) {
	for _, seed := range []string{"", "0", "5M", "18446744073709551615", "18446744073709551616", "-1", "1_0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseLimit(text)
		want, ok := new(big.Int).SetString("0"+text, 10)
		ok = ok && strings.Trim(text, "0123456789") == "" && want.IsUint64()
		if ok != (err == nil) || ok && n != want.Uint64() {
			t.Errorf("ParseLimit(%q) = %d, %v", text, n, err)
		}
	})
}

func TestSettings(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		value uint64
		want  uint64
		none  bool
	}{
		{"zero", 0, 0, false},
		{"as asked", min(before.Max, 4096), min(before.Max, 4096), false},
		{"no more than the hard limit", 1<<63 - 1, min(before.Max, 1<<63-1), false},
		{"the hard limit", Hard, before.Max, false},
		{"negative is nothing", Hard - 1, 0, true},
		{"most negative is nothing", 1 << 63, 0, true},
	} {
		var l Limits
		l.Set(tt.value, Core)
		got, err := l.settings()
		if err != nil {
			t.Fatal(err)
		}
		var want []setting
		if !tt.none {
			want = []setting{{Core, before, syscall.Rlimit{Cur: tt.want, Max: before.Max}}}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(setting{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	var l Limits
	l.Set(1, CPU, RSS, Core, FSize, NProc, NoFile, AS, MemLock, Stack, Data)
	all, err := l.settings()
	if err != nil {
		t.Fatal(err)
	}
	var got []Resource
	for _, s := range all {
		got = append(got, s.resource)
	}
	if diff := cmp.Diff(order[:], got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestParseCaps(t *testing.T) {
	for list, want := range map[string]Caps{
		"":                             0,
		"chown":                        1,
		"CAP_KILL":                     1 << 5,
		"net_raw,cap_Net_Bind_Service": 1<<13 | 1<<10,
		"checkpoint_restore":           1 << 40,
	} {
		if got, err := ParseCaps(list); err != nil || got != want {
			t.Errorf("ParseCaps(%q) = %x, %v, want %x", list, got, err, want)
		}
	}
	for _, list := range []string{",", "kill,", "cap_", "nosuch", " kill", "5"} {
		if got, err := ParseCaps(list); err == nil {
			t.Errorf("ParseCaps(%q) = %x, want an error", list, got)
		}
	}
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		skip(t, err.Error())
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(last))); err != nil || n >= len(capNames) {
		t.Errorf("the kernel has capability %s, which has no name here", last)
	}
}

func TestCandidates(t *testing.T) {
	for _, tt := range []struct {
		prog, path string
		want       []string
	}{
		{"sh", "/a:/b", []string{"/a/sh", "/b/sh"}},
		{"sh", "", []string{"./sh"}},
		{"sh", ":/b:", []string{"./sh", "/b/sh", "./sh"}},
		{"./sh", "/a", []string{"./sh"}},
		{"a/b", "/a", []string{"a/b"}},
		{"", "/a", []string{"/a/"}},
	} {
		t.Setenv("PATH", tt.path)
		paths, err := candidates(tt.prog)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range paths {
			got = append(got, unix.BytePtrToString(p))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q in %q (-want +got):\n%s", tt.prog, tt.path, diff)
		}
	}
	os.Unsetenv("PATH")
	if paths, _ := candidates("sh"); len(paths) != 2 || unix.BytePtrToString(paths[0]) != "/bin/sh" || unix.BytePtrToString(paths[1]) != "/usr/bin/sh" {
		t.Errorf("without PATH: %d places", len(paths))
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 1023, 1024, 1025, 5000, 1 << 20} {
		path := filepath.Join(dir, strconv.Itoa(size))
		want := bytes.Repeat([]byte("x"), size)
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := read(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read of %d bytes gives %d, %v", size, len(got), err)
		}
	}
	if _, err := read(dir); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("read of a directory: %v", err)
	}
	if _, err := read(filepath.Join(dir, "nosuch")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("read of nothing: %v", err)
	}
}

// FuzzLookUp: whoever is found is who was asked for, in the groups asked for.
func FuzzLookUp(f *testing.F) {
	for _, who := range []string{"root", "daemon:adm:tty", "daemon:", ":1:2", ":", "", "last:nosuch", "nosuch", "0", "daemon::adm", "twice:alone"} {
		f.Add(who, false)
		f.Add(who, true)
	}
	uids := map[string]uint32{"root": 0, "daemon": 1, "broken": 5, "twice": 10, "last": 20}
	primary := map[string]uint32{"root": 0, "daemon": 1, "broken": 6, "twice": 11, "last": 21}
	gids := map[string]uint32{"root": 0, "daemon": 1, "adm": 4, "tty": 5, "empty": 6, "alone": 7, "audio": 29}
	files := func(path string) ([]byte, error) {
		if path == groupFile {
			return []byte(group), nil
		}
		return []byte(passwd), nil
	}
	f.Fuzz(func(t *testing.T, who string, all bool) {
		user, err := lookUp(who, all, files)
		if err != nil {
			if diff := cmp.Diff(ids{}, user, cmp.AllowUnexported(ids{})); diff != "" {
				t.Errorf("%q fails and gives numbers: %s", who, diff)
			}
			return
		}
		want := ids{}
		name, list, named := strings.Cut(who, ":")
		if name == "" {
			if want, err = parseIDs(list); err != nil {
				t.Fatalf("%q is found: %+v", who, user)
			}
		} else {
			uid, ok := uids[name]
			if !ok {
				t.Fatalf("%q is found: %+v", who, user)
			}
			want.uid, want.gid = uid, primary[name]
			want.groups = []uint32{want.gid}
			if named {
				want.groups = nil
				for g := range strings.SplitSeq(list, ":") {
					gid, ok := gids[g]
					if !ok {
						t.Fatalf("%q is found: %+v", who, user)
					}
					want.groups = append(want.groups, gid)
				}
				want.gid = want.groups[0]
			}
			if all {
				want.groups = append(want.groups, primary[name])
				if name == "daemon" {
					want.groups = append(want.groups, 4, 5, 29)
				}
				want.groups = unique(want.groups)
			}
		}
		if diff := cmp.Diff(want, user, cmp.AllowUnexported(ids{})); diff != "" {
			t.Errorf("%q, all %v (-want +got):\n%s", who, all, diff)
		}
	})
}

// TestResources: the numbers are the kernel's on the machine that this is.
func TestResources(t *testing.T) {
	for r, want := range map[Resource]int{
		AS: unix.RLIMIT_AS, Core: unix.RLIMIT_CORE, CPU: unix.RLIMIT_CPU, Data: unix.RLIMIT_DATA, FSize: unix.RLIMIT_FSIZE,
		MemLock: unix.RLIMIT_MEMLOCK, NoFile: unix.RLIMIT_NOFILE, NProc: unix.RLIMIT_NPROC, RSS: unix.RLIMIT_RSS, Stack: unix.RLIMIT_STACK,
	} {
		if int(r) != want {
			t.Errorf("resource %d, want %d", r, want)
		}
	}
}
