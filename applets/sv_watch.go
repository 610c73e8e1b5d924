package applets

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/survey"
)

// newSvWatch tells what happens to services when it happens.
func newSvWatch(s *svCall) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sv watch [--json] [service ...]",
		Short: "tell each change of services as it happens",
		RunE: func(_ *cobra.Command, names []string) error {
			return s.watchTree(names, survey.Look{}, false, s.tellChanges)
		},
	}
	cmd.Flags().BoolVar(&s.json, "json", s.json, "an object for each change, a line each")
	return cmd
}

// tellChanges tells each service that has come to another state.
func (s *svCall) tellChanges(w *treeWatch) error {
	for _, one := range w.changed {
		s.tellChange(one, time.Now())
	}
	return s.out.Flush()
}

// tellChange tells the state that a service has come to.
func (s *svCall) tellChange(one *survey.Service, now time.Time) {
	if s.json {
		o := newObject().time("time", now)
		jsonOf(o, one, now)
		fmt.Fprintln(s.out, o.boolean("linked", one.Linked).String())
		return
	}
	p := linePrinter{}
	text := string(p.appendStamp(nil, now.UnixNano())) + printable(one.Name) + ": " + shownState(one)
	if one.Err == nil && one.Record.PID != 0 {
		text += fmt.Sprintf(" (pid %d)", one.Record.PID)
	}
	for _, note := range notes(one) {
		text += ", " + printable(note)
	}
	fmt.Fprintln(s.out, text)
}

// treeWatch looks at services whenever something has happened to them.
type treeWatch struct {
	s       *svCall
	names   []string
	look    survey.Look
	watch   *survey.Watch
	all     []*survey.Service
	changed []*survey.Service // since it was looked before
	told    map[string]string // by path: the state that was told
}

// watchTree calls show at each change, until nobody reads what is told or a signal ends
// it; with first also at once, as if all had changed. Where look asks for the use of memory
// it is called once a second, too.
func (s *svCall) watchTree(names []string, look survey.Look, first bool, show func(*treeWatch) error) error {
	raiseFiles()
	watch, err := survey.NewWatch()
	if err != nil {
		return fatal{s.name, 111, err}
	}
	defer watch.Close()
	w := &treeWatch{s: s, names: names, look: look, watch: watch, told: map[string]string{}}
	if err := w.renew(); err != nil {
		return err
	}
	for _, one := range w.all {
		_, away := errors.AsType[client.Unreachable](one.Err)
		switch {
		case away && len(names) > 0:
			s.say("%s", trouble(one.Name, one.Err))
			s.failed++
		case one.Err != nil && !one.Unsupervised(): // nothing will be seen of it
			s.warn("%s", trouble(printable(one.Name), one.Err))
		}
	}
	if s.failed > 0 {
		return s.code()
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	woken, poke, err := os.Pipe()
	if err != nil {
		return fatal{s.name, 111, err}
	}
	go func() {
		<-ends
		poke.Close()
	}()
	if first {
		if err := show(w); err != nil {
			return nil
		}
	}
	tries := 0
	for {
		timeout := -1
		switch {
		case look.Usage:
			timeout = 1000
		case tries < len(lookAgain) && w.unsettled():
			timeout = int(lookAgain[tries] / time.Millisecond)
		}
		fds := []unix.PollFd{{Fd: int32(watch.FD()), Events: unix.POLLIN}, {Fd: int32(woken.Fd()), Events: unix.POLLIN}, {Fd: -1}}
		if f, ok := s.stdout.(*os.File); ok { // POLLERR: its reader is gone
			fds[2].Fd = int32(f.Fd())
		}
		n, err := unix.Poll(fds, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fatal{s.name, 111, err}
		}
		if fds[1].Revents != 0 || fds[2].Revents&(unix.POLLERR|unix.POLLNVAL) != 0 {
			return nil
		}
		if n == 0 {
			tries++
		}
		if changed := watch.Read(); len(changed) > 0 {
			tries = 0
		} else if n > 0 {
			continue
		}
		if err := w.renew(); err != nil {
			return err
		}
		if len(w.changed) > 0 || look.Usage {
			if err := show(w); err != nil {
				return nil
			}
		}
	}
}

// unsettled says whether some service is about to be supervised, which no event tells.
func (w *treeWatch) unsettled() bool {
	return slices.ContainsFunc(w.all, func(one *survey.Service) bool { return one.Unsupervised() || one.Log != nil && one.Log.Unsupervised() })
}

// renew looks at all services, and watches those that are new.
func (w *treeWatch) renew() error {
	if len(w.names) == 0 {
		w.watch.Add(svDir())
	}
	all, err := w.s.survey(w.names, w.look)
	if err != nil {
		return err
	}
	if w.attend(all) { // what happened before there was a watch
		if all, err = w.s.survey(w.names, w.look); err != nil {
			return err
		}
	}
	w.changed = nil
	seen := map[string]bool{}
	visit := func(one *survey.Service) {
		seen[one.Path] = true
		said := one.Notice
		state := fmt.Sprint(one.Err, one.Record.PID, one.Record.State, one.Record.Want, one.Record.Paused, one.Record.Termed, one.Linked, one.Ready,
			said.Status, said.Reloading, said.Stopping, said.Watchdog, said.Extended, said.Hung, one.GivenUp, needNames(one))
		if w.told[one.Path] != state {
			w.told[one.Path] = state
			w.changed = append(w.changed, one)
		}
	}
	for _, one := range all {
		visit(one)
		if one.Log != nil {
			one.Log.Linked = one.Linked
			visit(one.Log)
		}
	}
	for _, old := range w.all {
		if !seen[old.Path] {
			gone := *old
			gone.Linked, gone.Err, gone.Log = false, errRemoved, nil
			w.changed = append(w.changed, &gone)
			delete(w.told, old.Path)
		}
	}
	w.all = all
	return nil
}

// attend watches the directories of services, and says whether one is new.
func (w *treeWatch) attend(all []*survey.Service) (fresh bool) {
	for _, one := range all {
		for ; one != nil; one = one.Log {
			for _, dir := range []string{one.Path, one.Files} {
				added, _ := w.watch.Add(dir)
				fresh = fresh || added
			}
		}
	}
	return fresh
}

// errRemoved is the state of a service whose entry is removed.
var errRemoved = errors.New("removed")

// listFollow shows the list anew at each change and each second: in place on a terminal
// that can, else as lines that tell first all and then the changes.
func (s *svCall) listFollow(names []string) error {
	to := screenOf(s.stdout)
	if !to.moves || s.json {
		return s.watchTree(names, survey.Look{}, true, s.tellChanges)
	}
	io.WriteString(s.stdout, "\x1b[?1049h\x1b[?25l")
	defer io.WriteString(s.stdout, "\x1b[?25h\x1b[?1049l")
	var before map[string]time.Duration // processor time, by path
	var lastShares map[string]string
	at := s.begin
	return s.watchTree(names, survey.Look{Usage: true, Blocked: true}, true, func(w *treeWatch) error {
		now := time.Now()
		var b strings.Builder
		all := append([]*survey.Service(nil), w.all...)
		rows := terminalRows(s.stdout) - 1
		if len(all) >= rows { // what is not well must be seen
			sort.SliceStable(all, func(i, j int) bool { return rank(all[i]) < rank(all[j]) })
			all = all[:max(0, rows-1)]
		}
		shares, used := map[string]string{}, map[string]time.Duration{}
		for _, one := range w.all {
			used[one.Path] = one.Use.CPU
			if was, known := before[one.Path]; known && one.Use.Known && now.After(at) {
				shares[one.Path] = fmt.Sprintf("%.1f%%", 100*max(0, float64(one.Use.CPU-was))/float64(now.Sub(at)))
			}
		}
		if now.Sub(at) >= 900*time.Millisecond || before == nil {
			before, at, lastShares = used, now, shares
		}
		listTable(&b, screenOf(s.stdout), all, now, lastShares)
		if missing := len(w.all) - len(all); missing > 0 {
			fmt.Fprintf(&b, "and %d more\n", missing)
		}
		text := strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")
		_, err := io.WriteString(s.stdout, "\x1b[H"+text+"\x1b[J")
		return err
	})
}

// rank puts services that are not well first.
func rank(s *survey.Service) int {
	if isWell(s) {
		return 1
	}
	return 0
}

// terminalRows is how many lines a terminal has.
func terminalRows(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 2 {
			return int(size.Row)
		}
	}
	return 24
}
