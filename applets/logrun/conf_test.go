package logrun

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssignments(t *testing.T) {
	type values = map[string]string
	for _, tt := range []struct {
		name, script string
		want         values // nil: it is not plain
	}{
		{"nothing", "", values{}},
		{"comments and empty lines", "# A=1\n\n\t# B\n", values{}},
		{"a line", "USERGROUP=log:adm\n", values{"USERGROUP": "log:adm"}},
		{"no newline at the end", "A=1", values{"A": "1"}},
		{"the last one counts", "A=1\nA=2\n", values{"A": "2"}},
		{"nothing as a value", "A=\nB=''\n", values{"A": "", "B": ""}},
		{"quotes", "A='x y'\nB=\"-tt -b 4096\"\nC=a'b'\"c\"d\n", values{"A": "x y", "B": "-tt -b 4096", "C": "abcd"}},
		{"a quoted newline", "A='x\ny'\n", values{"A": "x\ny"}},
		{"several in a line", "A=1 B=2; C=3;D=4\n", values{"A": "1", "B": "2", "C": "3", "D": "4"}},
		{"exported", "export A=1\n export  B=2\n", values{"A": "1", "B": "2"}},
		{"a comment behind", "A=1 # one\nB=2\n", values{"A": "1", "B": "2"}},
		{"a hash in a word", "A=x#y\n", values{"A": "x#y"}},
		{"what is special elsewhere", "A=*?[x]{}!=%\n", values{"A": "*?[x]{}!=%"}},
		{"blanks before", "  A=1\n", values{"A": "1"}},

		{"a command", "A=1\necho hello\n", nil},
		{"a command behind a value", "A=1 echo\n", nil},
		{"a variable", "A=$B\n", nil},
		{"a quoted variable", "A=\"$B\"\n", nil},
		{"a quoted quote", `A="\""` + "\n", nil},
		{"a backslash", "A=a\\ b\n", nil},
		{"a command's output", "A=`date`\n", nil},
		{"somebody's home", "A=~joe\n", nil},
		{"an open quote", "A='x\n", nil},
		{"a condition", "[ -r x ] && A=1\n", nil},
		{"a default", `: "${A:=1}"` + "\n", nil},
		{"no name", "=1\n", nil},
		{"a name of digits", "1=1\n", nil},
		{"exported without a value", "export A\n", nil},
		{"a pipe", "A=1|B=2\n", nil},
	} {
		got, plain := Assignments(tt.script)
		if plain != (tt.want != nil) {
			t.Errorf("%s: plain is %t", tt.name, plain)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// FuzzAssignments: whatever the script, reading ends.
func FuzzAssignments(f *testing.F) {
	for _, seed := range []string{"", "A=1\n", "A='", "export export A=1", "A=1;;", "#", "A=\"$\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script string) {
		values, plain := Assignments(script)
		for name := range values {
			if !plain || !isVariable(name) {
				t.Errorf("%q: %q", script, name)
			}
		}
	})
}
