package initstage

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFlag follows runit-init in a directory: fresh, with flags elsewhere, and
// with links that lead nowhere yet.
func TestFlag(t *testing.T) {
	for _, tt := range []struct {
		name  string
		setup func(t *testing.T, dir string)
		want  map[string]fs.FileMode // after Raise
		err   string
	}{
		{"fresh", func(*testing.T, string) {}, map[string]fs.FileMode{"etc/stopit": 0o100}, ""},
		{"it is in the other place", func(t *testing.T, dir string) { write(t, dir+"/run/stopit", "x", 0) },
			map[string]fs.FileMode{"run/stopit": 0o100}, ""},
		{"a link to nothing", func(t *testing.T, dir string) {
			symlink(t, dir+"/run/there", dir+"/etc/stopit")
			os.Mkdir(dir+"/run", 0o755)
		}, map[string]fs.FileMode{"etc/stopit": fs.ModeSymlink, "run/there": 0o100}, ""},
		{"a link to a directory that is not there: the other place", func(t *testing.T, dir string) { symlink(t, dir+"/no/there", dir+"/etc/stopit") },
			map[string]fs.FileMode{"etc/stopit": fs.ModeSymlink, "run/stopit": 0o100}, ""},
		{"all places are directories", func(t *testing.T, dir string) {
			os.MkdirAll(dir+"/etc/stopit", 0o755)
			os.MkdirAll(dir+"/run/stopit", 0o755)
		}, map[string]fs.FileMode{"etc/stopit": fs.ModeDir, "run/stopit": fs.ModeDir}, "create DIR/etc/stopit: is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Geteuid() != 0 && tt.err == "" {
				t.Skip("only root writes a file that nobody may write")
			}
			dir := t.TempDir()
			os.Mkdir(dir+"/etc", 0o755)
			tt.setup(t, dir)
			flag := Flag{dir + "/etc/stopit", dir + "/run/stopit"}
			text := ""
			if err := flag.Raise(); err != nil {
				text = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if text != tt.err {
				t.Errorf("error %q, want %q", text, tt.err)
			}
			if set := flag.Set(); !set {
				t.Error("it is not set")
			}
			if tt.err == "" {
				if err := flag.Clear(); err != nil || flag.Set() {
					t.Errorf("it cannot be cleared: %v", err)
				}
				flag.Raise()
			}
			got := map[string]fs.FileMode{}
			for _, name := range []string{"etc/stopit", "run/stopit", "run/there"} {
				if info, err := os.Lstat(filepath.Join(dir, name)); err == nil {
					if got[name] = info.Mode().Type(); info.Mode().IsRegular() {
						got[name] = info.Mode().Perm()
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	os.MkdirAll(filepath.Dir(path), 0o755)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// TestRecord holds the layout of struct utmp to bytes that a C library wrote,
// field by field.
func TestRecord(t *testing.T) {
	if RecordSize != 384 {
		t.Skip("the golden bytes are of the other layout")
	}
	r := Record{Type: 7, PID: 0x01020304, Line: "tty5", ID: "t5", User: "joe", Host: "castle", Exit: [4]byte{1, 2, 3, 4},
		Session: 99, Time: time.Unix(0x11223344, 5000), Address: [16]byte{127, 0, 0, 1}}
	b := r.Bytes()
	for at, want := range map[int]string{
		0: "\x07\x00", 4: "\x04\x03\x02\x01", 8: "tty5\x00", 40: "t5\x00\x00", 44: "joe\x00", 76: "castle\x00", 332: "\x01\x02\x03\x04",
		336: "c\x00\x00\x00", 340: "\x44\x33\x22\x11", 344: "\x05\x00\x00\x00", 348: "\x7f\x00\x00\x01",
	} {
		if got := string(b[at : at+len(want)]); got != want {
			t.Errorf("at %d: %q, want %q", at, got, want)
		}
	}
	back, err := ParseRecord(b)
	if diff := cmp.Diff(r, back); diff != "" || err != nil {
		t.Errorf("it comes back different, %v:\n%s", err, diff)
	}
	if _, err := ParseRecord(b[1:]); err == nil {
		t.Error("a short record is taken")
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(Record{Type: 8, Line: "tty1"}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		again, err := ParseRecord(r.Bytes())
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Errorf("%v:\n%s", err, diff)
		}
	})
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]struct {
		state string
		flags uint64
	}{
		"2 (kthreadd) S 0 0 0 0 -1 2129984 0":        {"S", 2129984},
		"7 (a) Z) (b)) Z 1 7 7 0 -1 4194560 446 0 0": {"Z", 4194560},
		"": {"", 0},
	} {
		if state, flags := parseStat(text); state != want.state || flags != want.flags {
			t.Errorf("%q: %s %d", text, state, flags)
		}
	}
}

func TestMountPoints(t *testing.T) {
	text := "22 1 0:21 / / rw - ext4 /dev/sda rw\n23 22 0:22 / /a\\040b\\134c rw - tmpfs x rw\nshort\n"
	if diff := cmp.Diff([]string{"/", "/a b\\c"}, mountPoints(text)); diff != "" {
		t.Error(diff)
	}
}
