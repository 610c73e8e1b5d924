package applets

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"runitbox/fmt"
	"runitbox/initstage"
)

// newHalt is halt, poweroff and reboot, by the name it is called with. The
// options are those of sysvinit's programs, as distributions have them for runit.
func newHalt(argv0 string) *cobra.Command {
	const line = " [-n] [-w] [-d] [-f] [-i] [-p] [-h] [-B]"
	name := filepath.Base(argv0)
	end := initstage.End{What: name, Complain: func(err error) { complain(name, err) }}
	var powerOff, onlyRecord, bootRecord bool
	cmd := &cobra.Command{
		Use:   name + line,
		Short: "end the system",
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return misuse{line: argv0 + line, status: 1}
			case os.Geteuid() != 0:
				return fatal{name, 1, errNotRoot}
			case bootRecord:
				record := initstage.BootRecord(time.Now())
				complain(name, initstage.PutBoot(initstage.Utmp, record))
				complain(name, initstage.AppendRecord(initstage.Wtmp, record))
				return nil
			case onlyRecord:
				complain(name, initstage.AppendRecord(initstage.Wtmp, initstage.ShutdownRecord(time.Now())))
				return nil
			}
			if name == "halt" && (powerOff || !end.Force) { // what process 1 does ends with the power
				end.What = "poweroff"
			}
			end.NoRecord = end.NoRecord || end.NoSync
			return unable(name, end.Run())
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&end.Force, "force", "f", false, "end it now, without stage 3")
	f.BoolVarP(&end.NoSync, "no-sync", "n", false, "do not write the disks' buffers before, nor a record to wtmp")
	f.BoolVarP(&end.NoRecord, "no-wtmp", "d", false, "do not write a record to wtmp")
	f.BoolVarP(&onlyRecord, "wtmp-only", "w", false, "only write the record")
	f.BoolVarP(&bootRecord, "boot", "B", false, "only write the record of a boot")
	f.BoolVarP(&end.Interfaces, "interfaces", "i", false, "with -f: take the network's interfaces down before")
	f.BoolVarP(&end.Disks, "hard-disks", "h", false, "with -f: have the hard disks in stand-by before")
	f.BoolVarP(&powerOff, "poweroff", "p", false, "with -f: turn the power off too (halt does so in any case without -f)")
	f.Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, argv0+line, 1)
	return cmd
}

// errNotRoot is what who may not end the system is told.
var errNotRoot = errors.New("must be superuser")

// unable is what ends halt, shutdown and the like where err is not nil.
func unable(name string, err error) error {
	if err == nil {
		return nil
	}
	return fatal{name, 1, fmt.Errorf("unable to %w", err)}
}

// complain says what did not work and ends nothing.
func complain(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: warning: unable to %s\n", name, words(err))
	}
}
