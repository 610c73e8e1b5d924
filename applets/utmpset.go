package applets

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"runitbox/fmt"
	"runitbox/initstage"
)

// newUtmpset ends a session in the login records, as the finish script of a
// getty does.
func newUtmpset(argv0 string) *cobra.Command {
	var wtmp, identify bool
	use := misuse{line: argv0 + " [-w] line", status: 1}
	cmd := &cobra.Command{
		Use:   "utmpset [-w] line",
		Short: "log a terminal line out of utmp",
		Long:  "line is the name of a terminal below /dev.",
		RunE: func(_ *cobra.Command, args []string) error {
			if identify {
				use.note = "runitbox " + version
				return use
			}
			if len(args) == 0 {
				return use
			}
			return logout(args[0], wtmp)
		},
	}
	cmd.Flags().BoolVarP(&wtmp, "wtmp", "w", false, "write a record to wtmp too")
	cmd.Flags().BoolVarP(&identify, "version", "V", false, "show the version")
	cmd.Flags().Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, use.line, 1)
	return cmd
}

// logout ends the session on line in utmp and perhaps in wtmp.
func logout(line string, wtmp bool) error {
	now := time.Now()
	warn := func(file string, err error) error {
		fmt.Fprintf(os.Stderr, "utmpset: warning: unable to logout line %s in %s: %s\n", line, file, words(err))
		return exit(111)
	}
	err := initstage.Logout(initstage.Utmp, line, now)
	switch {
	case errors.Is(err, initstage.ErrNoEntry):
		return warn("utmp", err)
	case err != nil:
		return fatal{"utmpset", 111, fmt.Errorf("unable to %w", err)}
	}
	if wtmp {
		if err := initstage.AppendRecord(initstage.Wtmp, initstage.LogoutRecord(line, now)); err != nil {
			return warn("wtmp", err)
		}
	}
	return nil
}
