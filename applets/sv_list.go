package applets

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// newSvList is the list of services with what can be seen of each.
func newSvList(s *svCall) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "sv list [-f] [--json] [service ...]",
		Short: "show every service of the tree, or those named",
		RunE: func(_ *cobra.Command, names []string) error {
			if follow {
				return s.listFollow(names)
			}
			all, err := s.survey(names, survey.Look{Usage: true, Blocked: true})
			if err != nil {
				return err
			}
			if s.json {
				for _, one := range all {
					fmt.Fprintln(s.out, jsonService(one, s.begin))
				}
			} else {
				listTable(s.out, screenOf(s.stdout), all, s.begin, nil)
			}
			return s.count(all)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on: at each change, and each second")
	cmd.Flags().BoolVar(&s.json, "json", s.json, "an object for each service, a line each")
	return cmd
}

// survey looks at the services of these names, or at the whole tree.
func (s *svCall) survey(names []string, look survey.Look) ([]*survey.Service, error) {
	if len(names) == 0 {
		dir := svDir()
		all, err := survey.Tree(dir, svCollection(), look)
		if err != nil {
			return nil, fatal{s.name, 100, fmt.Errorf("unable to open the directory of services: %w", err)}
		}
		return all, nil
	}
	var all []*survey.Service
	for _, name := range names {
		one := survey.At(name, svPath(name), look)
		one.Linked = s.linked(name)
		all = append(all, one)
		if isMissing(one) && !s.missed[name] { // who goes on to look is told once
			if s.missed == nil {
				s.missed = map[string]bool{}
			}
			s.missed[name] = true
			s.explainTo(one)
		}
	}
	return all, nil
}

// isMissing says whether there is no directory of a service.
func isMissing(s *survey.Service) bool {
	_, away := errors.AsType[client.Unreachable](s.Err)
	return away && errors.Is(s.Err, unix.ENOENT)
}

// count is the exit status of what looks at services: how many are not well.
func (s *svCall) count(all []*survey.Service) error {
	for _, one := range all {
		if !isWell(one) {
			s.failed++
		}
	}
	return s.code()
}

// judge is the colour of a service's state, and whether that is as it should be. A
// service that is about to be down as wanted is.
func judge(s *survey.Service) (colour string, well bool) {
	r := s.Record
	switch {
	case s.Err != nil, s.Blocked, s.GivenUp, s.Life.Flaps > 0:
		return red, false
	case s.Ready == state.NotReady:
		return yellow, r.Want == state.WantDown
	case r.PID != 0 && r.Paused, s.Resting():
		return yellow, false
	case r.State == state.Down:
		return faint, true
	case r.State == state.Run && r.Want == state.WantUp && !r.Termed:
		return green, true
	case r.State == state.Run:
		return yellow, true
	}
	return yellow, r.Want == state.WantDown // in ./finish
}

// isWell says whether a service and its log service are as they should be.
func isWell(s *survey.Service) bool {
	_, well := judge(s)
	if s.Log != nil {
		_, logs := judge(s.Log)
		return well && logs
	}
	return well
}

// stateWord is a service's state in one word.
func stateWord(s *survey.Service) string {
	switch {
	case s.Unsupervised():
		return "unsupervised"
	case s.Err == errRemoved:
		return "removed"
	case s.Err != nil:
		return "unknown"
	case s.Record.Paused && s.Record.PID != 0:
		return "paused"
	case s.GivenUp:
		return "failed"
	case len(s.Waits) > 0:
		return "waiting"
	case s.Resting():
		return "resting"
	}
	return s.Record.State.String()
}

// shownState is what people read of a state: of a service that is started again and
// again, that it is.
func shownState(s *survey.Service) string {
	word := stateWord(s)
	if s.Life.Flaps > 0 && s.Err == nil && !s.GivenUp {
		word = "flapping"
	}
	return word
}

// notes are what else there is to say of a service, the most important first.
func notes(s *survey.Service) (all []string) {
	add := func(holds bool, text string) {
		if holds {
			all = append(all, text)
		}
	}
	if s.Err != nil {
		add(!s.Unsupervised() && s.Err != errRemoved, words(s.Err))
		return all
	}
	rec := s.Record
	add(s.Blocked, "blocked on its log")
	add(s.GivenUp, "given up")
	add(s.Ready == state.NotReady, "not ready")
	add(!s.Notice.Hung.IsZero(), "hangs")
	add(s.Notice.Reloading, "reloading")
	add(s.Notice.Stopping, "stopping")
	add(len(s.Waits) > 0, "waits for "+strings.Join(needNames(s), ", "))
	add(!s.Linked, "not linked")
	add(rec.PID != 0 && rec.Want == state.WantDown, "want down")
	add(rec.PID != 0 && rec.Termed, "got TERM")
	if end, known := s.Life.Last(); known {
		add(s.Life.Flaps > 0, strconv.Itoa(s.Life.Flaps)+" ends")
		add(true, "last "+lifeWords(end))
	}
	add(s.Number > 0, numberWords(s.Number))
	add(s.Notice.Status != "", "says: "+s.Notice.Status)
	add(rec.PID != 0 && s.HasDown, "normally down")
	add(rec.PID == 0 && rec.Want == state.WantDown && !s.HasDown && s.DownErr == nil, "normally up")
	return all
}

// numberWords are about a log service that shares its process.
func numberWords(number int) string {
	return "number " + strconv.Itoa(number) + " in a shared process"
}

// needNames are the names of what a service waits for.
func needNames(s *survey.Service) (names []string) {
	for _, need := range s.Waits {
		names = append(names, need.Name)
	}
	return names
}

// logWord is the state of a service's log service in one word.
func logWord(s *survey.Service) (word, colour string) {
	if s.Log == nil {
		return "", plain
	}
	colour, _ = judge(s.Log)
	return stateWord(s.Log), colour
}

// The columns of a list.
var listColumns = []column{
	{head: "SERVICE", keep: maxKeep, least: 12},
	{head: "STATE", keep: maxKeep},
	{head: "PID", keep: 60, right: true},
	{head: "AGE", keep: 80, right: true},
	{head: "LOG", keep: 50},
	{head: "MEMORY", keep: 40, right: true},
	{head: "CPU", keep: 30, right: true},
	{head: "NOTES", keep: 70, least: 22},
}

// listTable shows services to people.
// Shares, by path, stand where the processor time would, if there are any.
func listTable(out io.Writer, to screen, all []*survey.Service, now time.Time, shares map[string]string) {
	rows := make([][]cell, len(all))
	for i, one := range all {
		colour, _ := judge(one)
		row := []cell{{text: printable(one.Name)}, {shownState(one), colour}, {}, {}, {}, {}, {}, {text: printable(strings.Join(notes(one), ", "))}}
		if one.Err == nil {
			row[3].text = shortAge(now.Sub(one.Record.Since))
			if one.Record.PID != 0 {
				row[2].text = fmt.Sprint(one.Record.PID)
			}
		}
		row[4].text, row[4].colour = logWord(one)
		if one.Use.Known {
			row[5].text, row[6].text = shortBytes(one.Use.Memory), shortCPU(one.Use.CPU)
			if shares != nil {
				row[6].text = shares[one.Path]
			}
		}
		rows[i] = row
	}
	to.table(out, listColumns, rows)
}

// jsonService is a service for programs. What the plain status tells has the names
// that it has there.
func jsonService(s *survey.Service, now time.Time) string {
	o := newObject()
	jsonOf(o, s, now)
	o.boolean("linked", s.Linked)
	if s.Target != "" {
		o.text("target", s.Target)
	}
	if s.Log != nil {
		l := &object{}
		jsonOf(l, s.Log, now)
		o.raw("log", l.String())
	} else {
		o.null("log")
	}
	return o.String()
}

func jsonOf(o *object, s *survey.Service, now time.Time) {
	o.text("service", s.Name).text("path", s.Path)
	o.text("state", stateWord(s))
	o.boolean("well", isWell(s))
	if s.Err != nil {
		o.text("error", words(s.Err))
		return
	}
	rec := s.Record
	o.number("pid", int64(rec.PID))
	if s.Number > 0 {
		o.number("number", int64(s.Number))
	}
	o.number("seconds", max(0, now.Unix()-rec.Since.Unix())).time("since", rec.Since)
	o.raw("want", jsonWant(rec.Want)).boolean("paused", rec.Paused).boolean("term", rec.Termed)
	if s.DownErr == nil {
		o.raw("normally", upDown(!s.HasDown))
	}
	if s.Ready == state.NotSaid {
		o.null("ready")
	} else {
		o.boolean("ready", s.Ready == state.IsReady)
		if n := s.Notice; n.Status != "" {
			o.text("status", n.Status)
		} else {
			o.null("status")
		}
		o.boolean("reloading", s.Notice.Reloading).boolean("stopping", s.Notice.Stopping).boolean("hung", !s.Notice.Hung.IsZero())
	}
	o.boolean("givenUp", s.GivenUp)
	if names := needNames(s); len(names) > 0 {
		o.raw("waits", jsonTexts(names))
	}
	if s.Use.Known {
		o.number("processes", int64(s.Use.Processes)).number("memory", s.Use.Memory).raw("cpu", fmt.Sprintf("%.2f", s.Use.CPU.Seconds()))
	}
	o.boolean("blocked", s.Blocked)
	if s.Life.Restarts >= 0 {
		o.number("restarts", int64(s.Life.Restarts)).number("flaps", int64(s.Life.Flaps))
	}
	if s.Life.Ready > 0 {
		o.raw("readyAfter", jsonSeconds(s.Life.Ready))
	}
	if end, known := s.Life.Last(); known {
		o.raw("last", jsonEnd(end))
	}
}

// jsonEnd is the end of one life: its time and its code or signal, and what else is known.
func jsonEnd(e survey.End) string {
	o := (&object{}).time("time", e.At)
	switch {
	case e.Status == state.StatusUnknown:
		o.null("code").null("signal")
	case e.Status.Signaled():
		o.null("code").text("signal", signalName(e.Status.Signal()))
	default:
		o.number("code", int64(e.Status.ExitStatus())).null("signal")
	}
	o.boolean("core", e.Status.Signaled() && e.Status.CoreDump()).boolean("outOfMemory", e.OOM)
	if e.Monotonic > 0 {
		o.raw("monotonic", jsonSeconds(e.Monotonic)).raw("lived", jsonSeconds(e.Lived)).boolean("told", e.Told)
	}
	if e.Ready > 0 {
		o.raw("readyAfter", jsonSeconds(e.Ready))
	}
	if e.Memory > 0 {
		o.number("memory", e.Memory<<10).raw("cpu", jsonSeconds(e.CPU))
	}
	return o.String()
}

// jsonSeconds is a time in seconds.
func jsonSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
