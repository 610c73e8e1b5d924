package applets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/client"
	"runitbox/supervise/state"
	"runitbox/supervise/survey"
)

// newSvEnable links service directories into the tree.
func newSvEnable(s *svCall) *cobra.Command {
	return s.linkVerb("enable", "link services into the tree, and wait until they are supervised (-w: until they run)", s.enable)
}

// newSvDisable takes them out again.
func newSvDisable(s *svCall) *cobra.Command {
	return s.linkVerb("disable", "remove the links of services, and wait until they have ended", s.disable)
}

func (s *svCall) linkVerb(name, short string, do func(name string) error) *cobra.Command {
	var wait string
	cmd := &cobra.Command{Use: "sv " + name + " [-w sec] service ...", Short: short}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if len(names) == 0 {
			return misuse{"", cmd.Use, 100}
		}
		if cmd.Flags().Changed("wait") {
			s.setWait(wait, true)
		}
		for _, service := range names {
			s.begin = time.Now() // each has its time
			if err := do(service); err != nil {
				s.failed++
				s.say("fail: %s: %s", service, words(err))
			}
		}
		return s.code()
	}
	cmd.Flags().StringVarP(&wait, "wait", "w", "7", "wait that many `seconds`")
	return cmd
}

// linkOf is where the link of a service is or will be, and what it leads to: a bare
// name is one of the collection.
func linkOf(name string) (link, target string, err error) {
	dir := svDir()
	if dir == "" {
		return "", "", errors.New("SVDIR names no directory")
	}
	if isBare(name) && !strings.Contains(name, "/") {
		return dir + "/" + name, svCollection() + "/" + name, nil
	}
	target, err = filepath.Abs(name)
	base := filepath.Base(target)
	if err == nil && (base == "/" || base[0] == '.') {
		err = errors.New("its directory has no name that a runsvdir would see")
	}
	return dir + "/" + base, target, err
}

// enable links one service.
func (s *svCall) enable(name string) error {
	link, target, err := linkOf(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("unable to look at %s: %w", target, errors.Unwrap(err))
	}
	here, errHere := os.Lstat(link)
	switch {
	case err != nil && errHere == nil && here.IsDir(): // it lives in the tree
	case err != nil:
		names, _ := survey.Entries(svCollection())
		if near := survey.Nearest(name, names); near != "" {
			return fmt.Errorf("there is no %s; did you mean %s?", target, near)
		}
		return fmt.Errorf("there is no %s", target)
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", target)
	default:
		if problems := survey.Program(target, "run"); len(problems) > 0 {
			p := problems[0]
			if p.Mend != "" {
				p.Text += ": " + p.Mend
			}
			return errors.New(p.Text)
		}
	}
	already, err := makeLink(link, target)
	if err != nil {
		return err
	}
	return s.awaitSupervised(name, link, already)
}

// makeLink makes the link, unless it is there already. Another entry of its name is not
// touched.
func makeLink(link, target string) (already bool, err error) {
	err = os.Symlink(target, link)
	if err == nil {
		return false, nil
	}
	if !os.IsExist(err) {
		return false, needsRights("unable to link it into "+filepath.Dir(link), err)
	}
	if survey.Same(link, target) {
		return true, nil
	}
	info, err := os.Lstat(link)
	switch {
	case err != nil:
		return false, fmt.Errorf("unable to look at %s: %w", link, errors.Unwrap(err))
	case info.IsDir():
		return true, nil
	}
	to, _ := os.Readlink(link)
	return false, fmt.Errorf("%s is there already and leads to %s", link, to)
}

// needsRights tells an error, and who could do it.
func needsRights(doing string, err error) error {
	cause := errors.Unwrap(err)
	if (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) && os.Geteuid() != 0 {
		return fmt.Errorf("%s: %s (root may)", doing, words(cause))
	}
	return fmt.Errorf("%s: %w", doing, cause)
}

// awaitSupervised waits until the service that was linked is supervised, and with -w
// until it is up.
func (s *svCall) awaitSupervised(name, link string, already bool) error {
	limit := s.begin.Add(s.wait)
	var one *survey.Service
	there := survey.Await(link, limit, func() bool {
		one = survey.At(name, link, survey.Look{})
		return one.Err == nil || !one.Unsupervised()
	})
	switch {
	case one.Err != nil && !one.Unsupervised():
		if errors.Is(one.Err, unix.EACCES) || errors.Is(one.Err, unix.EPERM) {
			s.say("ok: %s: linked; whether it is supervised you may not see", name)
			return nil
		}
		return one.Err
	case !there && !client.Scanned(filepath.Dir(link)):
		return fmt.Errorf("linked, but no runsvdir looks at %s", filepath.Dir(link))
	case !there:
		return fmt.Errorf("linked, but not supervised after %s", s.wait)
	}
	if s.reports && one.Record.Want != state.WantDown {
		return s.awaitUp(name, link, limit)
	}
	if already {
		s.say("ok: %s: enabled already", name)
	} else {
		s.say("ok: %s: enabled", name)
	}
	return nil
}

// awaitUp waits until a supervised service is up and ./check agrees.
func (s *svCall) awaitUp(name, link string, limit time.Time) (err error) {
	sender := &client.Client{Patience: limit}
	order, err := sender.Send(link, "", "u")
	if err != nil {
		return err
	}
	sender.Wait([]*client.Order{order}, limit, func(o *client.Order, out client.Outcome) {
		switch out.Result {
		case client.Done:
			s.say("ok: %s", s.line(name, name, o.Path, out.Status))
		case client.TimedOut:
			err = fmt.Errorf("enabled, but not up after %s: %s", s.wait, s.line(name, name, o.Path, out.Status))
		case client.Failed:
			err = out.Err
		}
	})
	return err
}

// settle is how long a link must have been there for its removal to be seen as one: of
// a younger one a supervisor may still be about to begin.
const settle = 2 * time.Second

// disable removes the link of one service.
func (s *svCall) disable(name string) error {
	link, target, err := linkOf(name)
	if err != nil {
		return err
	}
	info, err := os.Lstat(link)
	switch {
	case os.IsNotExist(err):
		if _, err := os.Stat(target); err == nil {
			s.say("ok: %s: not enabled", name)
			return nil
		}
		names, _ := survey.Entries(svDir())
		if near := survey.Nearest(name, names); near != "" {
			return fmt.Errorf("there is no such service; did you mean %s?", near)
		}
		return errors.New("there is no such service")
	case err != nil:
		return needsRights("unable to look at "+link, err)
	case info.Mode()&os.ModeSymlink == 0:
		return fmt.Errorf("%s is no link but the service itself: move it away, or put a file down there", link)
	}
	place, err := filepath.EvalSymlinks(link) // to be seen when the link is gone
	if err := os.Remove(link); err != nil {
		return needsRights("unable to remove "+link, err)
	}
	if err != nil { // it led nowhere
		s.say("ok: %s: disabled", name)
		return nil
	}
	return s.awaitGone(name, link, place, time.Since(info.ModTime()) < settle)
}

// awaitGone waits until nobody supervises the directory any more. Of a young service a
// supervisor may only be about to begin.
func (s *svCall) awaitGone(name, link, place string, young bool) error {
	if young {
		survey.Await(place, time.Now().Add(100*time.Millisecond), func() bool { return survey.At(name, place, survey.Look{}).Err == nil })
	}
	again := false // by somebody else, meanwhile
	survey.Await(place, s.begin.Add(s.wait), func() bool {
		again = survey.Same(link, place)
		return again || survey.Gone(place)
	})
	if again {
		return errors.New("its link was removed, but somebody has enabled it again")
	}
	if survey.Gone(place) {
		s.say("ok: %s: disabled", name)
		return nil
	}
	one := survey.At(name, place, survey.Look{})
	switch {
	case one.Err == nil && !client.Scanned(svDir()):
		return fmt.Errorf("its link is removed, but no runsvdir looks at %s, and it goes on: sv exit %s", svDir(), place)
	case one.Err == nil:
		return fmt.Errorf("its link is removed, but it has not ended after %s: %s", s.wait, s.line(name, name, place, one.Record))
	}
	s.say("ok: %s: disabled", name)
	return nil
}
