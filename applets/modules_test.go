package applets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModules(t *testing.T) {
	type dir = map[string]string // files; a text of "->" is a link to what follows
	for _, tt := range []struct {
		name    string
		cmdline string
		dirs    []dir // nil is none
		want    []string
	}{
		{"nothing", "", []dir{nil, nil}, nil},
		{"the command line", "quiet modules-load=loop,fuse root=/dev/sda rd.modules-load=dm_mod\n", nil, []string{"loop", "fuse", "dm_mod"}},
		{"with underscores and quotes", `modules_load="a,b" rd.modules_load=,c,`, nil, []string{"a", "b", "c"}},
		{"other words", "modules-load nomodules-load=x modules-loader=y", nil, nil},
		{"a file", "", []dir{{"a.conf": "# loop\n; fuse\n\n  tun  \nloop"}}, []string{"tun", "loop"}},
		{"several in a line", "", []dir{{"a.conf": "a b\n"}}, []string{"a", "b"}},
		{"files in order", "", []dir{{"b.conf": "b\n"}, {"a.conf": "a\n", "c.conf": "c\n"}}, []string{"a", "b", "c"}},
		{"the first of a name", "", []dir{{"a.conf": "mine\n"}, nil, {"a.conf": "theirs\n", "b.conf": "b\n"}}, []string{"mine", "b"}},
		{"hidden by a link", "", []dir{{"a.conf": "->/dev/null", "c.conf": "->nowhere"}, {"a.conf": "a\n", "b.conf": "b\n", "c.conf": "c\n"}}, []string{"b"}},
		{"no such files", "", []dir{{"README": "read me", "a.conf~": "a"}}, nil},
		{"each once", "modules-load=a", []dir{{"x.conf": "a\nb\na\n"}}, []string{"a", "b"}},
	} {
		top := t.TempDir()
		var dirs []string
		for i, files := range tt.dirs {
			at := filepath.Join(top, string(rune('0'+i)))
			dirs = append(dirs, at)
			if files == nil {
				continue
			}
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range files {
				err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644)
				if len(text) > 2 && text[:2] == "->" {
					os.Remove(filepath.Join(at, name))
					err = os.Symlink(text[2:], filepath.Join(at, name))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := modules(tt.cmdline, dirs)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	if _, err := modules("", []string{"/dev/null/x"}); err == nil {
		t.Error("a directory that cannot be read is none")
	}
}
