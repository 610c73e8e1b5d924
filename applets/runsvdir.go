package applets

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/procenv"
	"runitbox/supervise/scanner"
)

// newRunsvdir keeps a directory of service directories supervised. Its options
// are runit's: of the first argument only the second character counts.
func newRunsvdir(argv0 string) *cobra.Command {
	return &cobra.Command{
		Use:                "runsvdir [-P] dir",
		Short:              "start and monitor a collection of services",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			keepIgnored()
			procenv.NoHugePages()
			s := scanner.Scanner{Args: os.Args, StopTime: stopTime(os.Getenv("RUNSVDIR_STOP_TIMEOUT"))}
			if len(args) > 0 && strings.HasPrefix(args[0], "-") {
				switch {
				case strings.HasPrefix(args[0], "-P"):
					s.Session = true
					args = args[1:]
				case strings.HasPrefix(args[0], "--"):
					args = args[1:]
				}
			}
			if len(args) == 0 {
				return misuse{line: argv0 + " [-P] dir", status: 1}
			}
			s.Dir = args[0]
			if len(args) > 1 {
				s.Log = len(os.Args) - len(args) + 1
			}
			s.Say = sayOf("runsvdir", s.Dir)
			return exit(s.Run())
		},
	}
}

// stopTime reads how many seconds process 1 gives its services to stop: 8,
// below the 10 after which container engines kill.
func stopTime(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return 8 * time.Second
}
