package applets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The transcripts of testdata/oracle are what runit does, one file each:
//
//	# what the transcript shows
//	# needs: root perl
//	# within 2: start=(\d+)
//	# limit: 30
//	mk a; rs a; st a; end
//	----
//	run |  00 75 00 01 | run: ./a: (pid N) 1s
//	rc=0
//	---- runitbox
//	what is printed instead where the programs are ours, and by choice differ
//
// The shell text is run by bash in an empty directory $T. What it prints must
// be the expected block, where "(pid N)" stands for any pid and $T for the
// directory; a number that a "within" line describes may differ by so much,
// and so may the ages that sv tells. Below a header line "# pairs: all" the
// transcript also shows one side of runit's with the other side of ours; below
// "# only: runit" or "# only: runitbox" it is for one of them, since the other
// has nothing that could be compared (such as a process for each service).
//
// A block's label says where it holds: "runitbox" where all is ours,
// "sv=runitbox" and "runsv=runitbox" where that side is, whatever the other.
// Of the blocks that hold the last one counts.
type transcript struct {
	needs  []string
	within []tolerance
	pairs  bool
	only   string // runit or runitbox, where the other has nothing to compare
	limit  time.Duration
	body   string
	blocks []block
}

// tolerance is how far the numbers that pattern describes may be off.
type tolerance struct {
	by      float64
	pattern *regexp.Regexp
}

// block is an expected output and the sides for which it holds: every entry of
// when names the maker of one.
type block struct {
	when map[string]string
	text string
}

// helpers are the words that the transcripts share:
//
//	mk, ml SERVICE [SCRIPT]     make a service, its log service
//	rs SERVICE                  start runsv, as $P, and wait until it supervises or has ended
//	up, down SERVICE...         wait for that state, by supervise/status
//	old SERVICE...              wait until a restart would not have to rest for a second
//	life SERVICE                names the process and when it was started
//	again SERVICE LIFE          wait for a process other than LIFE
//	ct SERVICE COMMANDS [STAT]  write to control, and wait until supervise/stat is STAT
//	is SERVICE STAT             supervise/stat is STAT
//	lines, said FILE NUMBER     there are so many lines, different lines in FILE
//	gone PID, none PROGRAM      there is no such process
//	unserved PATH               no runsv supervises this
//	soon COMMAND...             wait until the command is true
//	pause [SECONDS]             wait, without a process for that
//	st, end                     show the state of a service; stop runsv
const helpers = `umask 022
mk() { mkdir -p $1; printf '#!/bin/sh\n%s\n' "${2:-exec sleep 1000}" >$1/run; chmod 755 $1/run; }
ml() { mkdir -p $1/log; printf '#!/bin/sh\n%s\n' "${2:-exec cat >/dev/null}" >$1/log/run; chmod 755 $1/log/run; }
soon() { local try; for try in {1..900}; do "$@" && return; pause; done; echo "never: $*"; }
pause() { local c; read -rt ${1:-.03} c <>"$QUIET"; }
stamp() { stat -c '%i %z' $1/supervise/status 2>&1; }
renewed() { [ "$(stamp $1)" != "$2" ]; }
supervised() { renewed $1 "$2" && [ -e $1/supervise/ok ] || ! kill -0 $P 2>/dev/null; }
rs() { local was=$(stamp $1); setsid runsv $1 >$1.out 2>&1 </dev/null & P=$!; soon supervised $1 "$was"; }
bytes() { local c n; REPLY=; while IFS= read -rd '' -n1 c; do printf -v n %d "'$c"; printf -v n %02x $((n & 255)); REPLY+=$n; done 2>/dev/null <"$1/supervise/status"; }
state() { bytes "$1"; echo " ${REPLY:38}"; }
showing() { bytes "$1"; [ "${REPLY:38}" = $2 ]; }
up() { local s; for s; do until showing "$s" 01; do pause; done; done; }
down() { local s; for s; do until showing "$s" 00; do pause; done; done; }
life() { bytes "$1"; echo "${REPLY:0:32}"; }
again() { until showing "$1" 01 && [ "${REPLY:0:32}" != "$2" ]; do pause; done; }
aged() { bytes "$1"; [ ${#REPLY} = 40 ] && (( ${EPOCHREALTIME/./}000 - (0x${REPLY:0:16} - 0x400000000000000a) * 1000000000 - 0x${REPLY:16:8} > 1050000000 )); }
old() { local s; for s; do until aged "$s"; do pause .05; done; done; }
is() { local got=; IFS= read -rd '' got 2>/dev/null <"$1/supervise/stat"; [ "$got" = "$2"$'\n' ]; }
ct() { printf "$2" >$1/supervise/control; [ $# -lt 3 ] || soon is $1 "$3"; }
lines() { local n=0; while read -r; do ((++n)); done 2>/dev/null <"$1"; [ $n -ge $2 ]; }
said() { [ $(sort -u $1 2>/dev/null | wc -l) -ge $2 ]; }
gone() { ! kill -0 $1 2>/dev/null; }
unserved() { sv status $1 | grep -q ^fail; }
none() { ! pgrep -x $1 >/dev/null; }
st() { echo "$(cat $1/supervise/stat) | $(od -An -tx1 -j16 $1/supervise/status) | $(sv status ./$1)"; }
end() { kill -TERM $P 2>/dev/null; wait $P; echo "rc=$?"; }
`

// ages are the numbers of seconds in sv's answers.
var ages = tolerance{2, regexp.MustCompile(`(?:\)|:) (\d+)s\b`)}

// parseTranscript reads one file of testdata/oracle.
func parseTranscript(text string) (transcript, error) {
	tr := transcript{within: []tolerance{ages}, limit: time.Minute}
	header := true
	for line := range strings.Lines(text) {
		note, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "# ")
		if header = header && ok; header {
			if err := tr.header(note); err != nil {
				return tr, err
			}
			continue
		}
		label, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "----")
		switch {
		case ok && (label == "" || label[0] == ' '):
			b := block{when: map[string]string{}}
			for _, cond := range strings.Fields(label) {
				if cond == "runitbox" {
					b.when["sv"], b.when["runsv"] = "runitbox", "runitbox"
				} else if side, maker, ok := strings.Cut(cond, "="); ok && (side == "sv" || side == "runsv") {
					b.when[side] = maker
				} else {
					return tr, fmt.Errorf("bad label %q", cond)
				}
			}
			tr.blocks = append(tr.blocks, b)
		case len(tr.blocks) == 0:
			tr.body += line
		default:
			tr.blocks[len(tr.blocks)-1].text += line
		}
	}
	if len(tr.blocks) == 0 || len(tr.blocks[0].when) > 0 {
		return tr, errors.New("no expected block for runit")
	}
	return tr, nil
}

// header takes one line from the top of a transcript; what has no keyword is
// prose for the reader.
func (tr *transcript) header(note string) error {
	key, value, _ := strings.Cut(note, ": ")
	word, arg, _ := strings.Cut(key, " ")
	switch {
	case key == "needs":
		tr.needs = strings.Fields(value)
	case key == "pairs":
		tr.pairs = value == "all"
	case key == "only":
		tr.only = value
	case key == "limit":
		n, err := strconv.Atoi(value)
		tr.limit = time.Duration(n) * time.Second
		return err
	case word == "within" && arg != "":
		by, err := strconv.ParseFloat(arg, 64)
		if err != nil {
			return err
		}
		pattern, err := regexp.Compile(value)
		if err == nil && pattern.NumSubexp() == 0 {
			err = fmt.Errorf("%q has no group", value)
		}
		tr.within = append(tr.within, tolerance{by, pattern})
		return err
	}
	return nil
}

// expected is the block that holds where client is who made sv, and supervisor
// who made runsv and runsvdir.
func (tr *transcript) expected(client, supervisor string) string {
	made := map[string]string{"sv": client, "runsv": supervisor}
	text := ""
next:
	for _, b := range tr.blocks {
		for side, maker := range b.when {
			if made[side] != maker {
				continue next
			}
		}
		text = b.text
	}
	return text
}

// sides tells which program of a transcript belongs to which side. A program
// that is in neither is runit's own if there is one.
var sides = map[string]string{
	"sv": "sv", "runsvchdir": "sv",
	"runsv": "runsv", "runsvdir": "runsv",
}

// wordsOf are the helpers and programs that a transcript may call, and the
// programs that these need.
var wordsOf = map[string]string{
	"sv": "sv", "runsvchdir": "runsvchdir", "runsv": "runsv", "runsvdir": "runsvdir",
	"st": "sv", "rs": "runsv", "busybox": "busybox",
}

// programs says which programs a transcript calls.
func (tr *transcript) programs() map[string]bool {
	called := map[string]bool{}
	for word, program := range wordsOf {
		if regexp.MustCompile(`(?m)(^|[^\w/.$'"-])` + word + `([^\w=]|$)`).MatchString(tr.body) {
			called[program] = true
		}
	}
	return called
}

// toolbox makes a directory of the programs for one transcript. They are
// copies, since a transcript may run them as another user, who may not be able
// to reach the place where they lie. It skips if what is called is not there.
func toolbox(t *testing.T, tr transcript, client, supervisor string) string {
	t.Helper()
	dir := publicDir(t)
	ours, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(filepath.Join(dir, "runitbox"), ours); err != nil {
		t.Fatal(err)
	}
	called := tr.programs()
	for _, name := range []string{"sv", "runsv", "runsvdir", "runsvchdir", "chpst", "svlogd"} {
		maker := map[string]string{"sv": client, "runsv": supervisor}[sides[name]]
		if maker == "" && client == "runitbox" && supervisor == "runitbox" && known(name) {
			maker = "runitbox"
		}
		to := filepath.Join(dir, name)
		switch {
		case maker == "runitbox" && known(name):
			err = os.Symlink("runitbox", to)
		case maker == "runitbox" && called[name]:
			skip(t, "there is no applet "+name+" yet")
		case maker == "runitbox":
		default:
			err = copyFile(to, peer(t, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if called["busybox"] {
		if err := copyFile(filepath.Join(dir, "busybox"), peer(t, "busybox")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// publicDir is an empty directory that other users can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runitbox-oracle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// quietFIFO is a FIFO to which nobody writes: bash waits there for a time without a process
// for it.
var quietFIFO = sync.OnceValues(func() (string, error) {
	path := filepath.Join(suiteDir, "quiet")
	return path, unix.Mkfifo(path, 0o600)
})

// copyFile makes an executable copy.
func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, text, 0o755)
}

// play runs the transcript once and returns what it printed.
func (tr *transcript) play(t *testing.T, bin string) string {
	t.Helper()
	needTools(t, tr.body)
	dir := publicDir(t)
	quiet, err := quietFIFO()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), tr.limit)
	defer cancel()
	cmd := contained(t, exec.CommandContext(ctx, "bash", "-c", "QUIET="+quiet+"\n"+helpers+tr.body))
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "T=" + dir, "HOME=/", "TZ=UTC", "LC_ALL=C"}
	if os.Getenv("RUNITBOX_RACE") != "" {
		cmd.Env = append(cmd.Env, gorace(t))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); ctx.Err() != nil {
		fmt.Fprintf(&out, "(killed after %v)\n", tr.limit)
	} else if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err) // how the script itself exits is no matter
	}
	text := strings.ReplaceAll(out.String(), dir, "$T")
	text = regexp.MustCompile(`(?m)^(?:environment|\S*bash): line \d+: +\d+ .*\n`).ReplaceAllString(text, "")            // the shell tells which jobs were killed
	text = regexp.MustCompile(`\brunitbox (v?\d[\w.-]*|[0-9a-f]{7,}(-dirty)?)`).ReplaceAllString(text, "runitbox devel") // whatever version was built
	return regexp.MustCompile(`\(pid \d+\)`).ReplaceAllString(text, "(pid N)")
}

// settle puts the wanted numbers into got where they are near enough.
func (tr *transcript) settle(want, got string) string {
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(wants), len(gots)) {
		for _, tol := range tr.within {
			gots[i] = tol.settle(wants[i], gots[i])
		}
	}
	return strings.Join(gots, "\n")
}

func (tol tolerance) settle(want, got string) string {
	ws := tol.pattern.FindAllStringSubmatchIndex(want, -1)
	gs := tol.pattern.FindAllStringSubmatchIndex(got, -1)
	if len(ws) != len(gs) {
		return got
	}
	for i := len(gs) - 1; i >= 0; i-- { // from the end, so that the indexes stay true
		w, g := want[ws[i][2]:ws[i][3]], got[gs[i][2]:gs[i][3]]
		a, err1 := strconv.ParseFloat(strings.TrimSpace(w), 64)
		b, err2 := strconv.ParseFloat(strings.TrimSpace(g), 64)
		if err1 == nil && err2 == nil && max(a-b, b-a) <= tol.by+1e-9 {
			got = got[:gs[i][2]] + w + got[gs[i][3]:]
		}
	}
	return got
}

// check compares a run with the expectation. Some transcripts look after fixed
// times, as an operator would, and a busy machine may be too late for that: one
// that differs must then be right twice in a row, in five runs at most.
func (tr *transcript) check(t *testing.T, client, supervisor string) {
	t.Helper()
	bin := toolbox(t, *tr, client, supervisor)
	want := tr.expected(client, supervisor)
	for try, right := 1, 0; ; try++ {
		got := tr.play(t, bin)
		diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(tr.settle(want, got), "\n"))
		if right++; diff != "" {
			right = 0
			t.Logf("run %d differs (-want +got):\n%s", try, diff)
		}
		switch {
		case right == try || right == 2:
			return
		case try == 5 || try == 4 && right == 0:
			t.Errorf("run %d; all of the last:\n%s", try, got)
			return
		}
	}
}

// TestOracle runs every transcript with runit's programs, so that what we
// expect is what runit does, and with ours, which must do the same.
func TestOracle(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "looks after fixed times, which a busy machine is too late for")
	}
	paths, err := filepath.Glob("../testdata/oracle/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no transcripts:", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := parseTranscript(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			pairs := []struct{ name, client, supervisor string }{
				{"runit", "runit", "runit"},
				{"runitbox", "runitbox", "runitbox"},
				{"sv of runit, runsv of runitbox", "runit", "runitbox"},
				{"sv of runitbox, runsv of runit", "runitbox", "runit"},
			}
			switch {
			case tr.only == "runit":
				pairs = pairs[:1]
			case tr.only == "runitbox":
				pairs = pairs[1:2]
			case !tr.pairs && os.Getenv("ALLPAIRS") == "":
				pairs = pairs[:2]
			}
			for _, pair := range pairs {
				t.Run(pair.name, func(t *testing.T) {
					t.Parallel()
					for _, need := range append(tr.needs, "bash", "setsid") {
						if need == "root" {
							if os.Geteuid() != 0 {
								skip(t, "needs root")
							}
						} else if _, err := exec.LookPath(need); err != nil {
							skip(t, "needs "+need)
						}
					}
					tr.check(t, pair.client, pair.supervisor)
				})
			}
		})
	}
}

// TestTranscript checks the harness itself: it must see a difference.
func TestTranscript(t *testing.T) {
	tr, err := parseTranscript("# shows\n# needs: perl\n# within 0.3: \\+([\\d.]+)\n# limit: 9\necho a\n----\nrun: x: (pid N) 3s +1.0 7\n---- runsv=runitbox\nthis\n---- runitbox\nthat\n")
	if err != nil {
		t.Fatal(err)
	}
	if tr.body != "echo a\n" || tr.limit != 9*time.Second || len(tr.needs) != 1 {
		t.Errorf("parsed as %+v", tr)
	}
	for _, tt := range []struct{ client, supervisor, want string }{
		{"runit", "runit", tr.blocks[0].text},
		{"runitbox", "runit", tr.blocks[0].text},
		{"runit", "runitbox", "this\n"},
		{"runitbox", "runitbox", "that\n"},
	} {
		if diff := cmp.Diff(tt.want, tr.expected(tt.client, tt.supervisor)); diff != "" {
			t.Errorf("%s with %s (-want +got):\n%s", tt.client, tt.supervisor, diff)
		}
	}
	want := tr.blocks[0].text
	for _, tt := range []struct {
		got  string
		same bool
	}{
		{"run: x: (pid N) 5s +1.3 7\n", true},
		{"run: x: (pid N) 6s +1.0 7\n", false},
		{"run: x: (pid N) 3s +1.4 7\n", false},
		{"run: x: (pid N) 3s +1.0 8\n", false},
		{"run: x: (pid N) 3s +1.0 7\nmore\n", false},
		{"", false},
	} {
		if same := tr.settle(want, tt.got) == want; same != tt.same {
			t.Errorf("%q: same is %v", tt.got, same)
		}
	}
}
