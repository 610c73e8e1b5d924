package applets

import (
	"bufio"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/quick"
	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// action is what sv does for a command word.
type action struct {
	word   string // the command, or the letter for any word that begins with it
	meant  string // of a letter: the word it was made for
	send   string // bytes for the service's control
	until  string // conditions of success, a letter each
	wait   bool   // reports without -v
	kill   bool   // sends KILL where it would report a timeout
	status bool   // shows the status and sends nothing
}

// actions are sv's words and letters. A word that only shares its first letter
// with the word that was meant does what the letter says, but with a warning.
var actions = [...]action{
	{word: "start", send: "u", until: "u", wait: true},
	{word: "stop", send: "d", until: "d", wait: true},
	{word: "restart", send: "tcu", until: "tcu", wait: true},
	{word: "reload", send: client.Reload, wait: true},
	{word: "shutdown", send: "x", until: "x", wait: true},
	{word: "try-restart", send: "tc", until: "tc", wait: true},
	{word: "force-stop", send: "d", until: "d", wait: true, kill: true},
	{word: "force-reload", send: "tc", until: "tc", wait: true, kill: true},
	{word: "force-restart", send: "tcu", until: "tcu", wait: true, kill: true},
	{word: "force-shutdown", send: "x", until: "x", wait: true, kill: true},
	{word: "check", until: "C", wait: true},
	{word: "status", status: true},

	{word: "u", meant: "up", send: "u", until: "u"},
	{word: "d", meant: "down", send: "d", until: "d"},
	{word: "o", meant: "once", send: "o", until: "o"},
	{word: "p", meant: "pause", send: "p", until: "p"},
	{word: "c", meant: "cont", send: "c", until: "c"},
	{word: "t", meant: "term", send: "t", until: "t"},
	{word: "k", meant: "kill", send: "k", until: "k"},
	{word: "x", meant: "x", send: "x", until: "x"},
	{word: "e", meant: "exit", send: "x", until: "x"},
	{word: "h", meant: "hup", send: "h"},
	{word: "a", meant: "alarm", send: "a"},
	{word: "i", meant: "interrupt", send: "i"},
	{word: "q", meant: "quit", send: "q"},
	{word: "1", meant: "1", send: "1"},
	{word: "2", meant: "2", send: "2"},
	{word: "s", meant: "status", status: true},
	{word: "D", meant: "D", send: "d", until: "d", wait: true, kill: true},
	{word: "T", meant: "T", send: "tc", until: "tc", wait: true, kill: true},
	{word: "X", meant: "X", send: "x", until: "x", wait: true, kill: true},
	{word: "E", meant: "E", send: "x", until: "x", wait: true, kill: true},
}

// svCommands tells of the commands in sv's help.
const svCommands = `A service is a directory in SVDIR, or a path with a slash. Commands:
  status                        show how it is, and its log service
  up, down, once, exit          have it run, not run, run once, be let go
  start, stop, restart, try-restart, shutdown
                                the same, wait until it is so, and report
  force-stop, force-restart, force-reload, force-shutdown
                                and kill what has not ended in time
  reload                        send HUP and report
  check                         wait until it is as it is meant to be and serves
  term, kill, hup, interrupt, quit, alarm, 1, 2, pause, cont
                                send a signal
The first letter is enough for those that do not wait.`

// findAction is the action of exactly this word or letter, nil if there is none.
func findAction(word string) *action {
	for i := range actions {
		if actions[i].word == word {
			return &actions[i]
		}
	}
	return nil
}

// svPatience is how long sv waits for a runsv that is about to be replaced,
// where it would not wait for anything else.
const svPatience = 2 * time.Second

// svLook is the least time to wait for a service's answer, whatever -w says.
const svLook = 420 * time.Millisecond

func newSv(argv0 string) *cobra.Command {
	s := &svCall{name: filepath.Base(argv0), begin: time.Now()}
	line := "sv [-v] [-w sec] command service ..."
	misused := 100
	if s.name != "sv" {
		s.lsb = true
		line = s.name + " [-w sec] command"
		misused = 2
	}
	var wait string
	var verbose, identify bool
	cmd := &cobra.Command{
		Use:   line,
		Short: "control services and show their state",
		Long:  svCommands + verbsHelp(),
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if identify {
				return misuse{"runitbox " + version, line, misused}
			}
			s.setWait(wait, cmd.Flags().Changed("wait"))
			verbose = verbose || s.reports
			if len(args) > 0 && !s.lsb {
				if verb := findVerb(args[0]); verb != nil {
					return s.runVerb(verb, cmd, args[1:])
				}
			}
			if len(args) == 1 && args[0] == "check" && !s.lsb { // runit's has no answer to it
				args = append(args, wholeTree()...)
			}
			if len(args) == 0 || !s.lsb && len(args) < 2 {
				bare := len(args) == 1 && args[0] == "status" || len(args) == 0 && cmd.Flags().Changed("verbose")
				if s.err = cmd.ErrOrStderr(); bare && s.isTyped() { // runit's has no answer to it
					return s.runVerb(findVerb("list"), cmd, []string{})
				}
				note := ""
				if len(args) == 1 && args[0] != "" && !isCommand(args[0]) && s.isTyped() {
					note = s.name + ": " + noCommand(args[0])
				}
				return misuse{note, line, misused}
			}
			s.out, s.err = bufio.NewWriter(cmd.OutOrStdout()), cmd.ErrOrStderr()
			defer s.out.Flush()
			act, odd := svAction(args[0], s.lsb)
			switch {
			case !isCommand(args[0]) && args[0] != "" && !s.lsb && s.isTyped():
				return misuse{s.name + ": " + noCommand(args[0]), line, misused}
			case act == nil || s.json && !act.status:
				return misuse{line: line, status: misused}
			case odd != "" && isTerminal(s.err): // cron would mail it
				s.warn("%s: warning: %s: not a command, taken as %s", s.name, args[0], odd)
			}
			services := args[1:]
			if !s.lsb && act.steady() {
				if services = s.takeSteady(services); len(services) == 0 {
					return misuse{line: line, status: misused}
				}
			}
			if s.lsb {
				services = []string{s.name}
			}
			if act.status {
				s.more = cmd.Flags().Changed("verbose")
				return s.status(services)
			}
			return s.control(*act, act.wait || verbose, services)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&wait, "wait", "w", "7", "wait `SEC` seconds for the service, and report")
	flags.BoolVarP(&verbose, "verbose", "v", false, "wait for the service and report; with status: tell more")
	flags.BoolVarP(&identify, "version", "V", false, "print the version")
	flags.BoolVar(&s.json, "json", false, "with status: a line of JSON for each service")
	flags.Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, line, misused)
	return cmd
}

// steady says whether the option -w may stand behind the command.
func (a *action) steady() bool { return a.wait && strings.ContainsAny(a.until, "uC") }

// takeSteady takes the option -w behind a command that waits until a service runs: it
// counts as running when it is ready, or has lived for a second.
func (s *svCall) takeSteady(args []string) (services []string) {
	if len(args) < 2 || args[0] != "-w" {
		return args
	}
	s.setWait(args[1], true)
	s.steady = true
	return args[2:]
}

// setWait takes the value of -w, if there was one, or that of SVWAIT.
func (s *svCall) setWait(option string, given bool) {
	seconds := "7"
	if set, ok := os.LookupEnv("SVWAIT"); ok {
		seconds = set
	}
	if given {
		seconds, s.reports = option, true
	}
	s.wait = max(leadingSeconds(seconds), svLook)
}

// svAction finds what a command word means, nil for nothing, and the word it
// was taken for where that may surprise.
func svAction(word string, lsb bool) (act *action, odd string) {
	if word == "" {
		return nil, ""
	}
	if act := findAction(word); act != nil && (len(word) > 1 || !lsb || word != "s") {
		return act, ""
	}
	letter := word[:1]
	if lsb && letter == "s" {
		return nil, ""
	}
	if act = findAction(letter); act == nil {
		return nil, ""
	}
	if !strings.HasPrefix(act.meant, word) && (len(act.meant) == 1 || !strings.HasPrefix(word, act.meant)) {
		odd = act.meant
	}
	return act, odd
}

// isCommand says whether a word is one of runit's commands, and not only begins as one.
func isCommand(word string) bool {
	act, odd := svAction(word, false)
	return act != nil && odd == ""
}

// isTerminal says whether w leads to a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// leadingSeconds reads the number a text begins with; without one it is 0.
func leadingSeconds(text string) time.Duration {
	n := time.Duration(0)
	for i := 0; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
		if n = 10*n + time.Duration(text[i]-'0'); n > math.MaxInt32 {
			return math.MaxInt32 * time.Second
		}
	}
	return n * time.Second
}

// svPath is the service directory that a name stands for. A bare name is
// looked up in SVDIR; one that is empty is nowhere.
func svPath(name string) string {
	if name == "" || name[0] == '/' || name[0] == '.' || name[len(name)-1] == '/' {
		return name
	}
	dir := svDir()
	if dir == "" {
		return ""
	}
	return dir + "/" + name
}

// wholeTree are the names of all services in the directory where bare names are looked up.
func wholeTree() (names []string) {
	names, _ = survey.Entries(svDir())
	return slices.DeleteFunc(names, func(name string) bool { return name[0] == '.' }) // which would be a path
}

// svDir is the directory in which bare names are looked up: SVDIR, or the first of
// the list that exists. The empty text is nowhere.
func svDir() string {
	dir, set := os.LookupEnv("SVDIR")
	if set {
		return dir
	}
	list := filepath.SplitList(quick.Dirs)
	for _, d := range list {
		if unix.Access(d, unix.F_OK) == nil {
			return d
		}
	}
	return list[0]
}

// svCall is one call of sv.
type svCall struct {
	name    string
	lsb     bool // called by a service's name, as an init script is
	json    bool // the status is for a program
	more    bool // the status tells more than runit's
	steady  bool // what is to run must last
	begin   time.Time
	wait    time.Duration
	reports bool      // -w was given
	stdout  io.Writer // what out leads to
	out     *bufio.Writer
	err     io.Writer
	failed  int
	missed  map[string]bool // services that are not there, and were told so
}

// say writes an answer, at once: somebody may wait for it.
func (s *svCall) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
	s.out.Flush()
}

// warn writes to standard error, in order with the answers.
func (s *svCall) warn(format string, args ...any) {
	s.out.Flush()
	fmt.Fprintf(s.err, format+"\n", args...)
}

// code is the exit status for the failures counted.
func (s *svCall) code() error {
	switch {
	case s.failed == 0:
		return nil
	case s.lsb:
		return exit(1)
	}
	return exit(min(s.failed, 99))
}

// trouble says why a service cannot be asked.
func trouble(name string, err error) string {
	_, far := errors.AsType[client.Unreachable](err)
	if far || errors.Is(err, client.ErrNotRunning) {
		return "fail: " + name + ": " + words(err)
	}
	return "warning: " + name + ": " + words(err)
}

// control sends a command to every service, and then waits for them all.
func (s *svCall) control(act action, wait bool, services []string) error {
	sender := &client.Client{Patience: s.begin.Add(svPatience)}
	if wait {
		sender.Patience = s.begin.Add(s.wait)
	}
	var orders []*client.Order
	names := map[*client.Order]string{}
	asked := map[string]bool{}
	for _, name := range services {
		if act.wait && strings.Contains(act.send, "u") { // up and once are orders to this one alone
			s.startNeeds(sender, name, svPath(name), asked)
		}
		send := sender.Send
		if wait {
			send = sender.Order
		}
		order, err := send(svPath(name), act.send, act.until)
		switch {
		case err == nil:
			if act.kill {
				// Its supervisor kills it then: it is given a second to be gone.
				if own := client.StopTime(order.Path); own > 0 {
					order.Last = s.begin.Add(own + time.Second)
				}
			}
			order.Steady = s.steady
			orders = append(orders, order)
			names[order] = name
		case act.send == "x" && errors.Is(err, client.ErrNotRunning):
			s.say("ok: %s: runsv not running", name)
		default:
			s.failed++
			s.say("%s", trouble(name, err))
			s.hint(name)
		}
	}
	if !wait {
		sender.Deliver(250 * time.Millisecond)
		return s.code()
	}
	sender.Wait(orders, s.begin.Add(s.wait), func(o *client.Order, out client.Outcome) {
		s.report(act, names[o], o, out)
	})
	return s.code()
}

// startNeeds starts what a service that is about to be started needs, and says so.
func (s *svCall) startNeeds(sender *client.Client, name, path string, asked map[string]bool) {
	for _, need := range client.Needs(path) {
		if asked[need.Path] || need.Ready {
			continue
		}
		asked[need.Path] = true
		s.startNeeds(sender, need.Name, need.Path, asked)
		if !need.Asks {
			continue
		}
		if _, err := sender.Send(need.Path, "u", ""); err != nil {
			s.warn("%s", trouble(need.Name, err))
			continue
		}
		s.say("start: %s: %s needs it", need.Name, name)
	}
}

// report tells what has become of an order.
func (s *svCall) report(act action, name string, o *client.Order, out client.Outcome) {
	switch out.Result {
	case client.Notice:
		if check, ok := errors.AsType[client.CheckError](out.Err); ok {
			s.warn("warning: %s %s/check: %s", check.Doing, name, words(check.Err))
		}
	case client.Done:
		if out.Err != nil {
			s.say("ok: %s: %s", name, words(out.Err))
			return
		}
		flaps := s.flaps(o)
		if flaps != "" && s.steady && act.word == "check" {
			s.failed++
			s.say("fail: %s: %s", name, flaps)
			return
		}
		s.say("ok: %s", s.line(name, name, o.Path, out.Status))
		if flaps != "" {
			s.hint(name)
		}
	case client.Failed:
		s.failed++
		s.say("%s", trouble(name, out.Err))
		s.hint(name)
	case client.TimedOut:
		s.failed++
		what := "timeout"
		if act.kill {
			what = "kill"
		}
		line := s.line(name, name, o.Path, out.Status)
		if flaps := s.flaps(o); flaps != "" && s.steady {
			line += ", " + flaps
		}
		s.say("%s: %s", what, line)
		s.hint(name)
		if act.kill {
			if err := o.Kill(); err != nil {
				s.say("%s", trouble(name, err))
			}
		}
	}
}

// flaps tells of the loop of short lives that a service is in, "" if it is in none. Who
// does not ask for it is spared the look, unless he sits at a terminal.
func (s *svCall) flaps(o *client.Order) string {
	if !s.steady && !isTerminal(s.err) {
		return ""
	}
	r, err := client.Reach(o.Path)
	if err != nil {
		return ""
	}
	defer r.Close()
	rec, err := r.Probe()
	if err != nil {
		return ""
	}
	n, last := r.Flaps(rec)
	if n == 0 {
		return ""
	}
	return flapWords(n, last)
}

// line is the status line of the service at path.
func (s *svCall) line(shown, name, path string, rec state.Record) string {
	r, err := client.Reach(path)
	if err != nil {
		return svLine(shown, rec, false, time.Now())
	}
	defer r.Close()
	down, ok := s.hasDown(name, r)
	if !ok {
		return ""
	}
	return svLine(shown, rec, down, time.Now()) + givenUp(rec, r) + waitsFor(lacks(rec, r, path))
}

// hasDown looks for the service's down file.
func (s *svCall) hasDown(name string, r *client.Remote) (down, ok bool) {
	down, err := r.HasDown()
	if err != nil {
		s.warn("warning: unable to stat %s/down: %s", name, words(err))
	}
	return down, err == nil
}

// givenUp is what the line of a service says that its supervisor has given up. Only one
// that is down although it is wanted up can have been.
func givenUp(rec state.Record, r *client.Remote) string {
	if rec.State == state.Down && rec.Want == state.WantUp && r.GivenUp() {
		return ", given up"
	}
	return ""
}

// lacks are the names of what a service that waits needs and is not ready.
func lacks(rec state.Record, r *client.Remote, path string) (names []string) {
	if rec.State != state.Down || rec.Want != state.WantUp || !r.Waits() {
		return nil
	}
	for _, need := range client.Needs(path) {
		if !need.Ready {
			names = append(names, need.Name)
		}
	}
	return names
}

// waitsFor is what the line of a service says of them.
func waitsFor(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", waits for " + strings.Join(names, ", ")
}

// svLine tells a status in words.
func svLine(name string, rec state.Record, down bool, now time.Time) string {
	s := quick.Status{Since: rec.Since.Unix(), PID: uint32(rec.PID), Paused: rec.Paused, WantUp: rec.Want == state.WantUp,
		WantDown: rec.Want == state.WantDown, Termed: rec.Termed, State: byte(rec.State)}
	return string(quick.AppendLine(nil, name, s, down, now.Unix()))
}

// The exit statuses of an init script's status, as the LSB has them.
const (
	lsbRunning = 0
	lsbDown    = 3
	lsbUnknown = 4
)

// status shows the services' status and that of their log services.
func (s *svCall) status(services []string) error {
	patience := s.begin.Add(svPatience)
	code := lsbRunning
	for _, name := range services {
		r, err := client.Reach(svPath(name))
		if err == nil {
			code, err = s.show(name, r, patience)
			r.Close()
		}
		if err != nil {
			s.failed++
			if s.json {
				fmt.Fprintf(s.out, "{%s}\n", jsonTrouble(name, err))
			} else {
				s.say("%s", trouble(name, err))
				s.hint(name)
			}
			code = lsbUnknown
			if strings.HasPrefix(trouble(name, err), "fail: ") {
				code = 1
			}
		}
	}
	if s.lsb {
		return exit(code)
	}
	return s.code()
}

// show shows one service and its log, and says what an init script returns.
func (s *svCall) show(name string, r *client.Remote, patience time.Time) (code int, err error) {
	rec, err := r.ProbeUntil(patience)
	if err != nil {
		return 0, err
	}
	code = lsbRunning
	if rec.PID == 0 {
		code = lsbDown
	}
	line := ""
	down, ok := s.hasDown(name, r)
	if ok {
		line = svLine(name, rec, down, time.Now()) + givenUp(rec, r) + waitsFor(lacks(rec, r, svPath(name)))
	} else {
		code = lsbUnknown
	}
	log := s.logPart(name+"/log", r, patience)
	if (s.json || s.more) && log != "" && rec.PID != 0 {
		blocked, known := client.OutputBlocked(rec.PID)
		switch {
		case s.json && known:
			log = fmt.Sprintf(`,"blocked":%t`, blocked) + log
		case blocked && line != "":
			line += ", blocked on its log"
		}
	}
	if line != "" && !s.json {
		line += s.shared(rec, r)
	}
	if s.json {
		log = s.shared(rec, r) + log
		if givenUp(rec, r) != "" {
			log = `,"givenUp":true` + log
		}
		if names := lacks(rec, r, svPath(name)); len(names) > 0 {
			log = `,"waits":` + jsonTexts(names) + log
		}
		fmt.Fprintf(s.out, "{%s%s}\n", jsonStatus(name, rec, down, ok, time.Now()), log)
	} else {
		fmt.Fprintf(s.out, "%s%s\n", line, log)
	}
	return code, nil
}

// logPart is what the status has of the log service: a part of the line, or the
// member of the object.
func (s *svCall) logPart(name string, r *client.Remote, patience time.Time) string {
	l, err := r.Log()
	if errors.Is(err, unix.ENOENT) {
		return ""
	}
	opened := err == nil
	var rec state.Record
	if opened {
		defer l.Close()
		rec, err = l.ProbeUntil(patience)
	}
	if err != nil {
		s.failed++
		switch {
		case s.json:
			return fmt.Sprintf(`,"log":{%s}`, jsonTrouble(name, err))
		case !opened:
			return fmt.Sprintf("; warning: %s: unable to change directory: %s", name, words(errors.Unwrap(err)))
		}
		return "; " + trouble(name, err)
	}
	down, ok := s.hasDown(name, l)
	switch {
	case s.json:
		return fmt.Sprintf(`,"log":{%s%s}`, jsonStatus(name, rec, down, ok, time.Now()), s.shared(rec, l))
	case !ok:
		return "; "
	}
	return "; " + svLine("log", rec, down, time.Now()) + s.shared(rec, l)
}

// shared tells, where more is asked for than runit tells, of a log service that shares its
// process.
func (s *svCall) shared(rec state.Record, r *client.Remote) string {
	if !s.json && !s.more || rec.PID == 0 {
		return ""
	}
	told := r.Told()
	switch n := told.Number(); {
	case n == 0 || told.PID != rec.PID:
		return ""
	case s.json:
		return fmt.Sprintf(`,"number":%d`, n)
	default:
		return ", " + numberWords(n)
	}
}

// jsonStatus is a status as members of a JSON object: what svLine tells, each
// thing always there. Whether a down file exists may be unknown.
func jsonStatus(name string, rec state.Record, down, known bool, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, `"service":%s,"state":%s,"pid":%d,"seconds":%d,"since":%s,"want":%s,"paused":%t,"term":%t`,
		jsonText(name), jsonText(rec.State.String()), rec.PID, max(0, now.Unix()-rec.Since.Unix()),
		jsonText(rec.Since.UTC().Format(time.RFC3339Nano)), jsonWant(rec.Want), rec.Paused, rec.Termed)
	if known {
		fmt.Fprintf(&b, `,"normally":%s`, upDown(!down))
	}
	return b.String()
}

// jsonTrouble says in JSON why a service cannot be asked.
func jsonTrouble(name string, err error) string {
	return fmt.Sprintf(`"service":%s,"error":%s`, jsonText(name), jsonText(words(err)))
}

// jsonWant is null where the status tells neither up nor down.
func jsonWant(want state.Want) string {
	if want == state.WantUnknown {
		return "null"
	}
	return upDown(want == state.WantUp)
}

func upDown(up bool) string {
	if up {
		return `"up"`
	}
	return `"down"`
}

// jsonTexts is an array of texts.
func jsonTexts(all []string) string {
	b := []byte{'['}
	for i, text := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, jsonText(text)...)
	}
	return string(append(b, ']'))
}

// jsonText is a JSON string. Bytes that are no UTF-8 become U+FFFD.
func jsonText(text string) string {
	b := []byte{'"'}
	for _, r := range text {
		switch {
		case r == '"', r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ', r == 0x7f:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(append(b, '"'))
}
