package applets

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/logger/reader"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// whyLines is how many lines of its log are shown with a service.
const whyLines = 5

// youth is the age up to which a service that runs may be one that always ends soon:
// why looks for as long whether it does.
const youth = 2 * time.Second

// newSvWhy explains why a service is in the state that it is in.
func newSvWhy(s *svCall) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sv why [--json] service ...",
		Short: "explain why a service is in its state",
	}
	cmd.RunE = func(_ *cobra.Command, names []string) error {
		if len(names) == 0 {
			return misuse{"", cmd.Use, 100}
		}
		raiseFiles()
		for _, name := range names {
			e := s.explain(name)
			if s.json {
				fmt.Fprintln(s.out, e.json())
			} else {
				e.show(s.out, screenOf(s.stdout))
			}
			if !isWell(e.service) {
				s.failed++
			}
		}
		return s.code()
	}
	cmd.Flags().BoolVar(&s.json, "json", s.json, "an object for each service, a line each")
	return cmd
}

// explanation is what why tells of a service.
type explanation struct {
	service *survey.Service
	causes  []survey.Cause
	flaps   bool // it ended while it was looked at
	log     []string
	now     time.Time
}

// explain looks at a service.
func (s *svCall) explain(name string) *explanation {
	look := survey.Look{Usage: true, Blocked: true}
	path := svPath(name)
	e := &explanation{service: survey.At(name, path, look)}
	e.service.Linked = s.linked(name)
	if rec := e.service.Record; e.service.Err == nil && rec.State == state.Run && rec.Want == state.WantUp && time.Since(rec.Since) < youth {
		if later := awaitEnd(e.service, rec.Since.Add(youth)); later != nil && later.Resting() {
			later.Linked, e.service, e.flaps = e.service.Linked, later, true
		}
	}
	e.now = time.Now()
	e.causes = survey.Why(e.service, svDir(), svCollection(), e.now)
	e.log = lastLines(survey.LogDirs(e.service), whyLines)
	return e
}

// linked says whether a name has an entry in the directory of services.
func (s *svCall) linked(name string) bool {
	dir := svDir()
	if !isBare(name) && filepath.Dir(filepath.Clean(name)) != filepath.Clean(dir) {
		return false
	}
	_, err := os.Lstat(dir + "/" + filepath.Base(name))
	return err == nil
}

// awaitEnd waits until the service's process ends, at most until then, and looks anew.
func awaitEnd(one *survey.Service, until time.Time) *survey.Service {
	watch, err := survey.NewWatch()
	if err != nil {
		return nil
	}
	defer watch.Close()
	if _, err := watch.Add(one.Files); err != nil {
		return nil
	}
	for {
		later := survey.At(one.Name, one.Path, survey.Look{Usage: true, Blocked: true})
		left := time.Until(until)
		if later.Err != nil || later.Record.State != state.Run || left <= 0 {
			return later
		}
		unix.Poll([]unix.PollFd{{Fd: int32(watch.FD()), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		watch.Read()
	}
}

// lastLines are the last lines of some logs, as sv log shows them.
func lastLines(dirs []string, n int) (lines []string) {
	if len(dirs) == 0 {
		return nil
	}
	var b bytes.Buffer
	p := linePrinter{out: bufio.NewWriter(&b), max: 1000}
	r := &reader.Reader{Last: n, Unpack: unpackWith, Emit: func(e *reader.Entry) error { return p.print(e, "", "") }}
	defer r.Close()
	for _, dir := range dirs {
		r.Add(dir, time.Time{}) // what cannot be read is not there to be shown
	}
	r.Read()
	p.out.Flush()
	for line := range strings.Lines(b.String()) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// headline is a service's state in a line.
func (e *explanation) headline() string {
	s := e.service
	text := printable(s.Name) + ": " + stateWord(s)
	if s.Err == nil {
		text += fmt.Sprintf(" for %s", shortAge(e.now.Sub(s.Record.Since)))
		if s.Record.PID != 0 {
			text += fmt.Sprintf(", pid %d", s.Record.PID)
		}
		if s.Number > 0 {
			text += ", " + numberWords(s.Number)
		}
		if s.Notice.Status != "" {
			text += ", says: " + printable(s.Notice.Status)
		}
	}
	if end, known := s.Life.Last(); known && s.Life.Flaps > 0 {
		text += ", " + flapWords(s.Life.Flaps, end)
	} else if e.flaps {
		text += ", flapping: it ended while it was looked at, and is started again and again"
	} else if s.Resting() && !s.GivenUp && len(s.Waits) == 0 {
		text += ", to be started again"
	}
	if s.Err == nil && s.Use.Known {
		text += fmt.Sprintf(", %s, %s of CPU", shortBytes(s.Use.Memory), shortCPU(s.Use.CPU))
	}
	return text
}

// show tells it to people.
func (e *explanation) show(out io.Writer, to screen) {
	colour, _ := judge(e.service)
	head := wrap(e.headline(), to.width, "  ")
	name := printable(e.service.Name)
	head[0] = name + ":" + strings.Replace(head[0][len(name)+1:], stateWord(e.service), to.paint(colour, stateWord(e.service)), 1)
	for _, line := range head {
		fmt.Fprintln(out, line)
	}
	if len(e.causes) == 0 && isWell(e.service) {
		fmt.Fprintln(out, "  nothing is wrong")
	}
	for _, c := range e.causes {
		for i, line := range wrap(printable(c.Text), to.width-2, "  ") {
			fmt.Fprintln(out, "  "+[]string{"- ", ""}[min(i, 1)]+line)
		}
		if c.Mend != "" {
			fmt.Fprintln(out, "      "+to.paint(green, printable(c.Mend)))
		}
	}
	for _, end := range e.service.Life.Ends[max(0, len(e.service.Life.Ends)-whyEnds):] {
		if end.Monotonic > 0 { // else all that is known is told
			for i, line := range wrap(pastLife(end, e.now), to.width-2, "  ") {
				fmt.Fprintln(out, "  "+[]string{"* ", ""}[min(i, 1)]+line)
			}
		}
	}
	for _, line := range e.log {
		if to.width > 0 {
			line = cut(line, to.width-4)
		}
		fmt.Fprintln(out, "  | "+line)
	}
}

// whyEnds is how many of the last ends are told to people.
const whyEnds = 3

// pastLife tells of one life that is over.
func pastLife(e survey.End, now time.Time) string {
	text := fmt.Sprintf("ended %s ago after %s: %s", shortAge(now.Sub(e.At)), shortOffset(e.Lived), lifeWords(e))
	if e.Told {
		text += ", as it was told to"
	}
	if e.Ready > 0 {
		text += fmt.Sprintf(", ready after %s", shortOffset(e.Ready))
	}
	if e.Memory > 0 {
		text += fmt.Sprintf(", at most %s, %s of CPU", shortBytes(e.Memory<<10), shortCPU(e.CPU))
	}
	return text
}

// wrap parts text into lines of at most so many columns, all but the first with an
// indent; 0 is no limit.
func wrap(text string, columns int, indent string) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "" || line == indent:
			line += word
		case columns > 0 && width(line)+1+width(word) > columns:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// json tells it to programs.
func (e *explanation) json() string {
	o := newObject()
	jsonOf(o, e.service, e.now)
	o.boolean("linked", e.service.Linked).boolean("flapping", e.flaps || e.service.Life.Flaps > 0)
	causes := make([]string, len(e.causes))
	for i, c := range e.causes {
		cause := (&object{}).text("code", c.Code).text("text", c.Text)
		if c.Mend != "" {
			cause.text("mend", c.Mend)
		}
		causes[i] = cause.String()
	}
	o.raw("causes", list(causes))
	ends := make([]string, len(e.service.Life.Ends))
	for i, end := range e.service.Life.Ends {
		ends[i] = jsonEnd(end)
	}
	o.raw("ends", list(ends))
	lines := make([]string, len(e.log))
	for i, line := range e.log {
		lines[i] = jsonText(line)
	}
	o.raw("lines", list(lines))
	return o.String()
}
