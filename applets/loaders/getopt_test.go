package loaders

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testFlags has every kind of option.
var testFlags = []option{{'a', "all", false}, {'b', "", false}, {'v', "value", true}, {0, "long", false}, {0, "with", true}}

// walk reads all options and tells what came: "name=value ...", the operands
// after a bar, and what was wrong.
func walk(args ...string) string {
	g := getopt{flags: testFlags, args: args}
	var b strings.Builder
	for g.next() {
		b.WriteString(g.name + "=" + g.value + " ")
	}
	return b.String() + "| " + strings.Join(g.args, " ") + g.wrong
}

func TestGetopt(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "| "},
		{"operands alone", []string{"x", "-a"}, "| x -a"},
		{"letters", []string{"-a", "-b", "x"}, "a= b= | x"},
		{"a cluster", []string{"-ab", "x"}, "a= b= | x"},
		{"an attached value", []string{"-vx", "y"}, "v=x | y"},
		{"a separate value", []string{"-v", "x", "y"}, "v=x | y"},
		{"a value that looks like an option", []string{"-v", "-a", "y"}, "v=-a | y"},
		{"a value of two dashes", []string{"-v", "--", "-a"}, "v=-- a= | "},
		{"an empty value", []string{"-v", "", "y"}, "v= | y"},
		{"a value at the end of a cluster", []string{"-abvx", "y"}, "a= b= v=x | y"},
		{"a cluster and a separate value", []string{"-abv", "x", "-b"}, "a= b= v=x b= | "},
		{"two dashes", []string{"-a", "--", "-b"}, "a= | -b"},
		{"a dash", []string{"-", "-a"}, "| - -a"},
		{"an empty argument", []string{"", "-a"}, "|  -a"},
		{"no value", []string{"-av"}, "a= | option requires an argument -- v"},
		{"an unknown letter", []string{"-axb"}, "a= | illegal option -- x"},
		{"a dash in a cluster", []string{"-a-b"}, "a= | illegal option -- -"},
		{"a letter of no ASCII", []string{"-\xc3\xa9"}, "| illegal option -- \xc3"},
		{"a long name", []string{"--long", "x"}, "long= | x"},
		{"a long name of a letter", []string{"--all", "--value", "1", "--value=2=3"}, "a= v=1 v=2=3 | "},
		{"a long option's value", []string{"--with", "-a", "--with=", "x"}, "with=-a with= | x"},
		{"a long option without its value", []string{"--with"}, "| option requires an argument -- with"},
		{"a value that is not taken", []string{"--long=1"}, "| illegal option -- long=1"},
		{"an unknown long option", []string{"--nosuch"}, "| illegal option -- nosuch"},
		{"a long option has no name", []string{"--=x"}, "| illegal option -- =x"},
		{"long options are not cut short", []string{"--lon"}, "| illegal option -- lon"},
	} {
		if diff := cmp.Diff(tt.want, walk(tt.args...)); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", tt.name, tt.args, diff)
		}
	}
}

// FuzzGetopt: whatever the arguments, reading ends, and the operands are the
// last of the arguments.
func FuzzGetopt(f *testing.F) {
	for _, seed := range []string{"", "-a", "-abvx\x00y", "-v", "--\x00-a", "--with=\x00--all", "-\xff", "--=", "-v-v\x00--value\x00--"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		g := getopt{flags: testFlags, args: args}
		for n := 0; g.next(); n++ {
			if n > len(joined) {
				t.Fatalf("%q: more options than there are letters", args)
			}
			if !strings.Contains("a b v long with", g.name) {
				t.Fatalf("%q: option %q", args, g.name)
			}
		}
		if len(g.args) > 0 && &g.args[len(g.args)-1] != &args[len(args)-1] {
			t.Errorf("%q: the operands are %q", args, g.args)
		}
		if g.wrong == "" && g.cluster != "" {
			t.Errorf("%q: %q is lost", args, g.cluster)
		}
	})
}

// FuzzNice: an increment is a sign and digits, and its effect is at most 40.
func FuzzNice(f *testing.F) {
	for _, seed := range []string{"", "-", "+", "5", "-5", "+-5", "99999999999999999999", "5x", " 5", "20000000000000000000A"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parseNice(text)
		rest := strings.TrimPrefix(text, "-")
		if rest == text {
			rest = strings.TrimPrefix(text, "+")
		}
		if digits := strings.Trim(rest, "0123456789") == ""; digits != (err == nil) {
			t.Errorf("parseNice(%q): %v", text, err)
		}
		if n < -40 || n > 40 || n > 0 && text[0] == '-' || n < 0 && text[0] != '-' {
			t.Errorf("parseNice(%q) = %d", text, n)
		}
	})
}

// TestChpstHelp: --help explains every option, on a screen.
func TestChpstHelp(t *testing.T) {
	for _, f := range chpstFlags {
		if f.letter != 0 && f.long != "help" && !strings.Contains(chpstHelp, "-"+string(rune(f.letter))+",") && !strings.Contains(chpstHelp, ", -"+string(rune(f.letter))) {
			t.Errorf("--help does not tell of -%c", f.letter)
		}
		if !strings.Contains(chpstHelp, "--"+f.long) && !strings.HasPrefix(f.long, "close-") && f.long != "help" {
			t.Errorf("--help does not tell of --%s", f.long)
		}
	}
	lines := strings.Split(chpstHelp, "\n")
	if len(lines) > 32 {
		t.Errorf("--help has %d lines", len(lines))
	}
	for _, line := range lines {
		if len(line) > 79 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
