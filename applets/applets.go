// Package applets holds the commands of the suite: their flags, the words they
// put on the screen and their exit status. What they do is in the rooms beside
// it: supervise, logger, procenv and initstage.
package applets

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/loaders"
	"runitbox/applets/slim/fmt"
	_ "runitbox/applets/turns"
)

// version is what -V prints.
var version = loaders.Version

// commands and loaders.All are the suite. A new command is a new file and a
// line here. Each gets argv[0] as it was typed, since runit shows that in its
// usage. The loaders have run before Main, if one was called.
var commands = [...]struct {
	name  string
	build func(argv0 string) *cobra.Command
}{
	{"runsv", newRunsv},
	{"runsvdir", newRunsvdir},
	{"runsvchdir", newRunsvchdir},
	{"sv", newSv},
	{"runsvctrl", newRunsvctrl},
	{"runsvstat", newRunsvstat},
	{"svwaitdown", newSvwaitdown},
	{"svwaitup", newSvwaitup},
	{"svlogd", newSvlogd},
	{"rsvlog", newRsvlog},
	{"nsvlog", newRsvlog},
	{"vlogger", newVlogger},
	{"pause", newPause},
	{"init", newRunitInit},
	{"runit", newRunit},
	{"runit-init", newRunitInit},
	{"modules-load", newModulesLoad},
	{"seedrng", newSeedrng},
	{"utmpset", newUtmpset},
	{"halt", newHalt},
	{"poweroff", newHalt},
	{"reboot", newHalt},
	{"shutdown", newShutdown},
}

// runs are the applets that may be a service's run: links of that name lead
// through one of theirs.
var runs = [...]string{"rsvlog", "nsvlog", "vlogger", "pause"}

// Main runs the applet that argv[0] names and returns its exit status.
func Main(argv []string) int {
	if len(argv) == 0 {
		argv = []string{"runitbox"}
	}
	err := dispatch(argv)
	return report(os.Stderr, err)
}

// dispatch finds the applet: by argv[0]'s base name, as the first argument of
// runitbox itself, or as sv where argv[0] is a link that leads through one
// called sv (/etc/init.d/web -> /sbin/sv -> runitbox). An init script is called
// by its path, so there a service may also have the name of an applet. In the
// same way a service's run is one of runs (log/run -> /sbin/rsvlog -> runitbox).
func dispatch(argv []string) error {
	name := filepath.Base(argv[0])
	switch {
	case name != "sv" && strings.Contains(argv[0], "/") && leadsThrough(argv[0], "sv"):
		return call("sv", argv)
	case known(name):
		return call(name, argv)
	case isBox(name):
		return box(argv)
	case leadsThrough(argv[0], "sv"):
		return call("sv", argv)
	}
	for _, name := range runs {
		if leadsThrough(argv[0], name) {
			return call(name, argv)
		}
	}
	return fatal{"runitbox", 127, fmt.Errorf("%s: applet not found", name)}
}

// isBox says whether a program of that base name is runitbox itself, whose first argument is
// the applet.
func isBox(name string) bool { return strings.HasPrefix(name, "runitbox") }

// known says whether name is an applet of the suite.
func known(name string) bool { return find(name) != nil || loaders.Known(name) }

// find is what builds the command of that name, nil if there is none.
func find(name string) func(argv0 string) *cobra.Command {
	for _, c := range commands {
		if c.name == name {
			return c.build
		}
	}
	return nil
}

// call runs one applet. Only the command that was called is built.
func call(name string, argv []string) error {
	setComm(name)
	if os.Getpid() == 1 && (name == "runit" || name == "runit-init" || name == "init") {
		argv = argv[:1] // leftovers of the kernel's command line, none of which may mean anything
	}
	cmd := find(name)(argv[0])
	cmd.Flags().SetInterspersed(false)
	cmd.SetOut(os.Stdout)
	return execute(cmd, argv[1:])
}

// fatal is an error that ends a command: "who: fatal: cause", then status.
type fatal struct {
	who    string
	status int
	cause  error
}

func (f fatal) Error() string { return f.cause.Error() }
func (f fatal) Unwrap() error { return f.cause }

// misuse is a call with the wrong arguments: an optional note, the usage line
// and an empty line, then status.
type misuse struct {
	note   string
	line   string
	status int
}

func (m misuse) Error() string { return "usage: " + m.line }

// exit is a status without a word: what there was to say has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report prints what an applet returned and says the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if status, ok := errors.AsType[exit](err); ok {
		return int(status)
	}
	if m, ok := errors.AsType[misuse](err); ok {
		if m.note != "" {
			fmt.Fprintln(w, m.note)
		}
		fmt.Fprintf(w, "usage: %s\n\n", m.line)
		return m.status
	}
	if f, ok := errors.AsType[fatal](err); ok {
		fmt.Fprintf(w, "%s: fatal: %s\n", f.who, words(f.cause))
		return f.status
	}
	fmt.Fprintf(w, "runitbox: fatal: %s\n", words(err))
	return 111
}

// getoptErrors makes cmd answer a wrong option as getopt does, before its
// usage line: "sv: illegal option -- x".
func getoptErrors(cmd *cobra.Command, argv0, line string, status int) {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return misuse{filepath.Base(argv0) + ": " + getoptWords(err), line, status}
	})
}

// getoptWords tells what the flag parser found in getopt's words.
func getoptWords(err error) string {
	flag, ok := errors.AsType[interface {
		error
		GetSpecifiedName() string
	}](err)
	text, _, _ := strings.Cut(err.Error(), " flag: ") // what follows is Go's own
	if !ok && strings.HasPrefix(text, "invalid argument") {
		return text
	}
	if !ok {
		return "illegal option -- h" // the flag parser calls it a wish for help
	}
	if strings.Contains(flag.Error(), "needs an argument") {
		return "option requires an argument -- " + flag.GetSpecifiedName()
	}
	if strings.Contains(flag.Error(), "unknown flag: --") {
		return "illegal option -- -" // getopt knows no long ones
	}
	return "illegal option -- " + flag.GetSpecifiedName()
}

// leadsThrough follows path link by link and says whether one on the way is
// called name. A path without a slash was found in PATH.
func leadsThrough(path, name string) bool {
	if !strings.Contains(path, "/") {
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			at := filepath.Join(dir, path)
			if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				path = at
				break
			}
		}
	}
	for range 40 { // the kernel follows no more links either
		target, err := os.Readlink(path)
		if err != nil {
			return false
		}
		if !filepath.IsAbs(target) {
			// Not joined: that would take "dir/.." away, and dir may be a link.
			target = path[:strings.LastIndexByte(path, '/')+1] + target
		}
		if path = target; filepath.Base(path) == name {
			return true
		}
	}
	return false
}
