package applets

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/procenv"
)

// newPause is a service that is only up or down: what its run does before, or
// its finish, is all there is to it.
func newPause(argv0 string) *cobra.Command {
	line := filepath.Base(argv0)
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "wait for TERM or INT: the service without a process",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse{line: line, status: 1}
			}
			debug.SetGCPercent(-1) // which would wake it up, by the clock
			procenv.NoHugePages()
			ends := make(chan os.Signal, 1)
			signal.Notify(ends, unix.SIGTERM, unix.SIGINT)
			signal.Ignore(unix.SIGHUP)
			<-ends
			return nil
		},
	}
	cmd.Flags().Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, line, 1)
	return cmd
}
