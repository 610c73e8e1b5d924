package manual

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRender(t *testing.T) {
	const page = `.TH X 8 2026-11-28 runitbox
.SH NAME
x, y\-z \- do it
.SH SYNOPSIS
.B x
.RB [ \-w
.IR sec ]
\&...
.br
.B y\-z
.SH DESCRIPTION
It does
.IR it ,
and more than fits into a line of so few columns.
.PP
.nf
as it is    here
.fi
.SS Of x
.TP
.BR \-w ", " \-\-wait " \fIsec\fR"
Wait, and wait for longer than it takes to read
this.
.TP
.B u
Up.
`
	const want = `NAME
       x, y-z - do it

SYNOPSIS
       x [-w sec] ...
       y-z

DESCRIPTION
       It does it, and more than fits
       into a line of so few columns.

       as it is    here

   Of x
       -w, --wait sec
              Wait, and wait for longer
              than it takes to read
              this.

       u      Up.
`
	if diff := cmp.Diff(want, Render(page, 40)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x", "y-z"}, Names(page)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestRendered: nothing of man(7) is left in any page, and no line is too long but one
// that is shown as it is.
func TestRendered(t *testing.T) {
	for _, file := range sources(t) {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := Render(string(page), 78)
		for line := range strings.Lines(text) {
			if strings.Contains(line, `\`) || strings.HasPrefix(strings.TrimSpace(line), ".") && !strings.HasPrefix(strings.TrimSpace(line), "..") {
				t.Errorf("%s: %q is left as it was", file, line)
			}
			if len(line) > 79 {
				t.Errorf("%s: a long line: %q", file, line)
			}
		}
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "FILES", "EXIT STATUS", "EXAMPLES", "DIFFERENCES FROM RUNIT"} {
			if !strings.Contains("\n"+text, "\n"+section+"\n") {
				t.Errorf("%s: no section %s", file, section)
			}
		}
	}
}

// TestLikeMan: what is rendered has the words that groff renders.
func TestLikeMan(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		skip(t, "no groff here")
	}
	for _, file := range sources(t) {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(groff, "-man", "-Tascii", "-P-bcou", "-rHY=0", "-rLL=200n", file)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(text), "\n") // a line with the title is first and last
		body = body[:strings.LastIndex(strings.TrimSpace(body), "\n")]
		if diff := cmp.Diff(strings.Fields(body), strings.Fields(Render(string(page), 78))); diff != "" {
			t.Errorf("%s (-groff +ours):\n%s", file, diff)
		}
	}
}

// TestFaultless: groff, and mandoc where it is, find nothing wrong with any page.
func TestFaultless(t *testing.T) {
	for name, checker := range map[string][]string{
		"groff":  {"groff", "-man", "-Tascii", "-ww", "-z"},
		"mandoc": {filepath.Join(os.Getenv("RUNITBOX_PEERS"), "shells/usr/bin/mandoc"), "-T", "lint", "-W", "style"},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(checker[0])
			if err != nil {
				skip(t, "no "+name+" here")
			}
			cmd := exec.Command(path, append(checker[1:], sources(t)...)...)
			cmd.Env = append(os.Environ(), "LC_ALL=C")
			if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

func TestPage(t *testing.T) {
	if len(pages()) == 0 {
		t.Skip("an executable without manuals")
	}
	if !strings.Contains(Page("poweroff"), "halt, poweroff, reboot") {
		t.Error("poweroff is not in the page of halt")
	}
	if page := Page("nosuch"); page != "" {
		t.Errorf("nosuch has a page: %.40q", page)
	}
}

// sources are those of all pages.
func sources(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("*.8")
	if err != nil || len(all) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	return all
}
