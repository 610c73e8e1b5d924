package applets

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/supervise/level"
)

// runlevels is where the services directories are that runsvchdir switches
// between, if RUNSVDIR does not name another place.
const runlevels = "/etc/runit/runsvdir"

// runlevelsCopy is where the stages of `runitbox setup` have them if /etc is read-only.
const runlevelsCopy = "/run/runit/runsvdir"

// usualLevels is the directory of the levels that can be switched.
func usualLevels() string {
	if _, err := os.Stat(runlevelsCopy); err == nil && errors.Is(unix.Access(runlevels, unix.W_OK), unix.EROFS) {
		return runlevelsCopy
	}
	return runlevels
}

func newRunsvchdir(argv0 string) *cobra.Command {
	line := argv0 + " dir"
	return &cobra.Command{
		Use:   line,
		Short: "change the services directory of runsvdir (the runlevel)",
		Long: "dir is a directory in " + runlevels + ", or in RUNSVDIR. The link current\n" +
			"there leads to it then, and previous to the one before.",
		DisableFlagParsing: true, // -x is a directory like any other
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse{line: line, status: 1}
			}
			dir, set := os.LookupEnv("RUNSVDIR")
			if !set {
				dir = usualLevels()
			}
			if asksForHelp(args, dir) {
				return showHelp(cmd)
			}
			switched, err := level.Switch(dir, args[0])
			if err != nil {
				return fatal{argv0, 111, err}
			}
			state := "current"
			if switched {
				state = "now current"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "runsvchdir: %s: %s.\n", args[0], state)
			return nil
		},
	}
}
