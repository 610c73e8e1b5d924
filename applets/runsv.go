package applets

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/procenv"
	"runitbox/supervise/core"
	"runitbox/supervise/diag"
	"runitbox/supervise/loghost"
	"runitbox/supervise/scanner"
	"runitbox/supervise/statedir"
)

// newRunsv supervises one service directory. With --tree it is the core of a
// runsvdir, which starts it so: the descriptors 3 and, with -l, 4 are its own.
func newRunsv(argv0 string) *cobra.Command {
	return &cobra.Command{
		Use:   "runsv dir",
		Short: "start and monitor a service and optionally its log service",
		Long: "dir is a service directory. In it are run, which stays in the foreground and is\n" +
			"started again when it ends; finish, check, down, control and log as wanted.\n" +
			"TERM: bring it down and exit.",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asksForHelp(args, ".") {
				return showHelp(cmd)
			}
			keepIgnored()
			procenv.NoHugePages()
			switch {
			case len(args) > 1 && args[0] == "--tree":
				return runCore(args[1:])
			}
			if len(args) != 1 {
				return misuse{line: argv0 + " dir", status: 1}
			}
			setStateDir(statedir.Root())
			if err := core.RunDir(args[0], sayOf("runsv", "")); err != nil {
				return fatal{"runsv " + args[0], 111, err}
			}
			return nil
		},
	}
}

// keepIgnored ignores what was ignored when the process began, so that the
// services, too, are as whoever started it wants them: nohup, or a shell that
// keeps the terminal's INT from what it starts in the background. The Go
// runtime knows of HUP and INT only. CHLD is how a supervisor lives.
func keepIgnored() {
	for _, sig := range procenv.Ignored() {
		if sig != syscall.SIGCHLD {
			signal.Ignore(sig)
		}
	}
}

// runCore is the core of the tree that args end with.
func runCore(args []string) error {
	t := core.Tree{Link: 3, Log: -1, Share: true}
	if loghost.Built {
		t.Settle = settleLog
	}
	for ; len(args) > 0 && args[0] != "--"; args = args[1:] {
		switch args[0] {
		case "-P":
			t.Session = true
		case scanner.NoShareLogs:
			t.Share = false
		case "-p":
			t.Prefix = true
		case "-l":
			t.Log = 4
		}
	}
	dir := ""
	if len(args) > 1 {
		dir = args[1]
	}
	t.Dir, t.Say = dir, sayOn("runsv", dir)
	if err := t.Run(); err != nil {
		return fatal{"runsv " + dir, 111, err}
	}
	return nil
}

// sayOf is sayOn for standard error.
func sayOf(program, dir string) func(diag.Level, string, error) {
	say := sayOn(program, dir)
	return func(level diag.Level, service string, err error) { say(2, level, service, err) }
}

// sayOn prints on a descriptor what a supervisor has to say, in runit's words and one
// write a line. What concerns no service concerns dir.
func sayOn(program, dir string) func(fd int, level diag.Level, service string, err error) {
	return func(fd int, level diag.Level, service string, err error) {
		weight := "warning"
		if level == diag.Fatal {
			weight = "fatal"
		}
		if service == "" {
			service = dir
		}
		line := fmt.Sprintf("%s %s: %s: %s\n", program, service, weight, words(err))
		if fd == 2 {
			os.Stderr.WriteString(line)
			return
		}
		syscall.Write(fd, []byte(line))
	}
}
