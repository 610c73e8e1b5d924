package applets

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/procenv"
	"runitbox/supervise/scanner"
	"runitbox/supervise/statedir"
)

// newRunsvdir keeps a directory of service directories supervised. Its options
// are runit's: of the first argument only the second character counts.
func newRunsvdir(argv0 string) *cobra.Command {
	return &cobra.Command{
		Use:   "runsvdir [-P] dir [log] [-- command ...]",
		Short: "start and monitor a collection of services",
		Long: "dir holds service directories, or links to them. log, of 7 characters and more, shows\n" +
			"in ps what they write to standard error.\n" +
			"      --stop-on-term         TERM and HUP stop all services, and then it exits\n" +
			"      --no-share-logs        each log service has a process of its own\n" +
			"      --stop-timeout=SEC     and kill what has not ended in SEC seconds\n" +
			"      --env-dir=DIR          write the environment into DIR, for chpst -e\n" +
			"      --prefix               services without a log write to standard output, each\n" +
			"                             line behind NAME:\n" +
			"      --state-dir=DIR        supervise/ of services that cannot be written is in DIR\n" +
			"  -P                         start each process in a session of its own\n" +
			"TERM: exit, services go on. HUP: have them exit too. ALRM: look at dir now.\n" +
			"Behind dir [log] may be: -- command arg ..., the main command: it runs beside the\n" +
			"services, and when it ends they are stopped, and runsvdir exits as it has.\n" +
			"USR2: become the executable that has taken this one's place.",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "--help" {
				return showHelp(cmd)
			}
			keepIgnored()
			procenv.NoHugePages()
			s := scanner.Scanner{Args: os.Args, StopTime: stopTime(os.Getenv("RUNSVDIR_STOP_TIMEOUT"))}
			setStateDir(statedir.Root())
			args, err := longOptions(&s, args)
			if err != nil {
				return misuse{note: argv0 + ": " + err.Error(), line: argv0 + " [-P] dir", status: 1}
			}
			if len(args) > 0 && strings.HasPrefix(args[0], "-") {
				switch {
				case strings.HasPrefix(args[0], "-P"):
					s.Session = true
					if args, err = longOptions(&s, args[1:]); err != nil {
						return misuse{note: argv0 + ": " + err.Error(), line: argv0 + " [-P] dir", status: 1}
					}
				case strings.HasPrefix(args[0], "--"):
					args = args[1:]
				}
			}
			if len(args) == 0 {
				return misuse{line: argv0 + " [-P] dir", status: 1}
			}
			s.Dir = args[0]
			at := len(os.Args) - len(args)
			if i := slices.Index(args[:min(len(args), 3)], "--"); i > 0 {
				if s.Command = args[i+1:]; len(s.Command) == 0 {
					return misuse{line: argv0 + " [-P] dir -- command", status: 1}
				}
				args = args[:i]
			}
			if len(args) > 1 {
				s.Log = at + 1
			}
			s.Say = sayOf("runsvdir", s.Dir)
			return exit(s.Run())
		},
	}
}

// longOptions takes the options that runit does not have, and gives the arguments behind
// them. Any other word that begins with two dashes ends the options, as with runit.
func longOptions(s *scanner.Scanner, args []string) ([]string, error) {
	for len(args) > 0 {
		text, isTimeout := strings.CutPrefix(args[0], "--stop-timeout=")
		switch {
		case isTimeout:
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > 1<<20 {
				return nil, fmt.Errorf("--stop-timeout: %q is no number of seconds", text)
			}
			s.StopTime = time.Duration(n) * time.Second
		case args[0] == scanner.NoShareLogs:
			s.NoShareLogs = true
		case args[0] == "--prefix" && !scanner.KnowsPrefix:
			return nil, errors.New("--prefix: not in this executable, which was built with SLIM=1")
		case args[0] == "--prefix":
			s.Prefix = true
		case args[0] == "--stop-on-term":
			s.StopOnTerm = true
		case args[0] == "--state-dir" && len(args) > 1:
			args = args[1:]
			setStateDir(args[0])
		case strings.HasPrefix(args[0], "--state-dir="):
			setStateDir(args[0][len("--state-dir="):])
		case strings.HasPrefix(args[0], "--env-dir="):
			if err := writeEnv(args[0][len("--env-dir="):]); err != nil {
				return nil, fmt.Errorf("--env-dir: %s", words(err))
			}
		default:
			return args, nil
		}
		args = args[1:]
	}
	return args, nil
}

// setStateDir names the directory for supervise directories that cannot be elsewhere, to
// the core and to the services, which may call sv.
func setStateDir(dir string) {
	if abs, err := filepath.Abs(dir); err == nil && dir != "" {
		os.Setenv(statedir.Var, abs)
	}
}

// writeEnv writes the environment into a directory, for chpst -e: a file for each
// variable, which only the own user may read, since there are passwords among them. A
// line's end in a value is a NUL there.
func writeEnv(dir string) error {
	if os.Getenv(scanner.StateVar) != "" { // an upgrade: it was written
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if name == "" || name[0] == '.' || strings.Contains(name, "/") { // no name of a file that chpst reads
			continue
		}
		path := filepath.Join(dir, name)
		err := os.WriteFile(path+".new", []byte(strings.ReplaceAll(value, "\n", "\x00")+"\n"), 0o600)
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stopTime reads how many seconds process 1 gives its services to stop: 8,
// below the 10 after which container engines kill.
func stopTime(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return 8 * time.Second
}
