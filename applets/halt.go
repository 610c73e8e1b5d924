package applets

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"runitbox/initstage"
)

// newHalt is halt, poweroff and reboot, by the name it is called with. The
// options are those of sysvinit's programs, as Void has them for runit.
func newHalt(argv0 string) *cobra.Command {
	var force, nosync, norecord, onlyRecord, bootRecord, ignored bool
	name := filepath.Base(argv0)
	cmd := &cobra.Command{
		Use:   "halt|poweroff|reboot [-n] [-f] [-d] [-w] [-B]",
		Short: "end the system",
		RunE: func(_ *cobra.Command, args []string) error {
			now := time.Now()
			switch {
			case len(args) > 0:
				return misuse{line: argv0 + " [-n] [-f] [-d] [-w] [-B]", status: 1}
			case bootRecord:
				record := initstage.BootRecord(now)
				complain(name, initstage.PutBoot(initstage.Utmp, record))
				complain(name, initstage.AppendRecord(initstage.Wtmp, record))
				return nil
			case !norecord:
				complain(name, initstage.AppendRecord(initstage.Wtmp, initstage.ShutdownRecord(now)))
			}
			switch {
			case onlyRecord:
				return nil
			case !nosync:
				initstage.Sync()
			}
			if force {
				return fatal{name, 1, fmt.Errorf("unable to %w", initstage.Force(name))}
			}
			if err := initstage.Ask(initstage.DefaultPaths(), name == "reboot"); err != nil {
				return fatal{name, 1, fmt.Errorf("unable to %w", err)}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "end it now, without stage 3")
	f.BoolVarP(&nosync, "no-sync", "n", false, "do not write the disks' buffers before")
	f.BoolVarP(&norecord, "no-wtmp", "d", false, "do not write a record to wtmp")
	f.BoolVarP(&onlyRecord, "wtmp-only", "w", false, "only write the record")
	f.BoolVarP(&bootRecord, "boot", "B", false, "only write the record of a boot")
	f.BoolVarP(&ignored, "hard-disks", "h", false, "ignored")
	f.BoolVarP(&ignored, "interfaces", "i", false, "ignored")
	f.BoolVarP(&ignored, "poweroff", "p", false, "ignored")
	f.Bool("help", false, "print this help")
	for _, name := range []string{"hard-disks", "interfaces", "poweroff"} {
		f.MarkHidden(name)
	}
	getoptErrors(cmd, argv0, argv0+" [-n] [-f] [-d] [-w] [-B]", 1)
	return cmd
}

// complain says what did not work and ends nothing.
func complain(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: warning: unable to %s\n", name, words(err))
	}
}
