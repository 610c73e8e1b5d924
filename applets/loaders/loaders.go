// Package loaders holds the applets that become another program: chpst and its
// daemontools names. They are on the path of every service start and every log
// start, so they do their work while the packages are still being initialised,
// which Go does in the order of their imports: this one imports so little that
// it comes before cobra, net, regexp and what else the suite is made of, and
// none of that is touched. Where it comes only matters to how fast it is.
package loaders

import (
	"errors"
	"syscall"

	"runitbox/procenv"
)

// Version is what -V prints; the Makefile sets it.
var Version = "devel"

// Loader is an applet that becomes another program.
type Loader struct {
	Name  string
	Short string // what it does
	help  string // what --help says
	run   func(name string, argv []string) error
}

// All are the loaders. A new one is a line here. Each gets its name without
// daemontools' d, and its arguments as they were typed.
var All = [...]Loader{
	{"chpst", "run a program with a changed process state", chpstHelp, chpst},
	{"envdir", "run a program with the environment that a directory holds", envdirHelp, envdir},
	{"envuidgid", "run a program with a user's ids in its environment", envuidgidHelp, envuidgid},
	{"pgrphack", "run a program in a session of its own", pgrphackHelp, pgrphack},
	{"setlock", "run a program that holds a lock", setlockHelp, setlock},
	{"setuidgid", "run a program as a user", setuidgidHelp, setuidgid},
	{"softlimit", "run a program with other resource limits", softlimitHelp, softlimit},
}

// init runs the loader that this process was called as. It does not return
// then; for any other applet it does nothing.
func init() {
	argv := procenv.Args()
	if len(argv) == 0 {
		return
	}
	l := find(base(argv[0]))
	if l == nil && len(argv) > 1 && hasPrefix(base(argv[0]), "runitbox") {
		argv = argv[1:]
		l = find(argv[0])
	}
	switch {
	case l == nil:
		procenv.RestoreLimits()
	case len(argv) == 2 && argv[1] == "--help": // too few arguments for any of them
		syscall.Write(1, []byte(l.help))
		syscall.Exit(0)
	default:
		syscall.Exit(report(l.run(l.Name, argv)))
	}
}

// Known says whether name is a loader's, perhaps with daemontools' d before it.
func Known(name string) bool { return find(name) != nil }

// Plain is a loader's name without daemontools' d.
func Plain(name string) string { return find(name).Name }

// Help is what --help of a loader says, empty where there is none of that name.
func Help(name string) string {
	if l := find(name); l != nil {
		return l.help
	}
	return ""
}

func find(name string) *Loader {
	for i := range All {
		if name == All[i].Name || name == "d"+All[i].Name {
			return &All[i]
		}
	}
	return nil
}

// base is the last element of a path.
func base(path string) string {
	for found := true; found; {
		var rest string
		if _, rest, found = cut(path, '/'); found {
			path = rest
		}
	}
	return path
}

// Package strings would have to wait for package unicode, which comes late.

func hasPrefix(text, prefix string) bool {
	return len(text) >= len(prefix) && text[:len(prefix)] == prefix
}

// cut parts text at the first sep.
func cut(text string, sep byte) (before, after string, found bool) {
	for i := range len(text) {
		if text[i] == sep {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// usage is a call that a loader does not understand.
type usage struct{ note, line string }

func (u *usage) Error() string { return "usage: " + u.line }

// misuse tells of a wrong call: a note, where there is one, and the usage line.
func misuse(note, line string) error { return &usage{note, line} }

// report prints what a loader returned and says the exit status. All of them
// tell of themselves as chpst.
func report(err error) int {
	if err == nil {
		return 0
	}
	if u, ok := errors.AsType[*usage](err); ok {
		if u.note != "" {
			say(u.note + "\n")
		}
		say("usage: " + u.line + "\n\n")
		return 100
	}
	say("chpst: fatal: " + Words(err) + "\n")
	return 111
}

// warn tells what does not keep the program from running.
func warn(err error) { say("chpst: warning: " + Words(err) + "\n") }

func say(text string) { syscall.Write(2, []byte(text)) }
