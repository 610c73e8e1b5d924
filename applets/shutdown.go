package applets

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/initstage"
)

// newShutdown ends the system at a time, and tells its users before.
func newShutdown(argv0 string) *cobra.Command {
	const line = " [-fF] [-kchPr] time [message]"
	var s initstage.Shutdown
	var halt, powerOff, reboot, warnOnly, cancel, fast, force, never bool
	var seconds string
	use := misuse{line: argv0 + line, status: 1}
	cmd := &cobra.Command{
		Use:   "shutdown" + line,
		Short: "end the system at a time and tell its users",
		RunE: func(_ *cobra.Command, args []string) error {
			failed := func(err error) error { return fatal{"shutdown", 1, err} }
			if never {
				return use
			}
			if cancel {
				if err := initstage.Cancel(); err != nil {
					return failed(fmt.Errorf("unable to %w", err))
				}
				if len(args) > 0 {
					initstage.Wall(strings.Join(args, " "))
				}
				return nil
			}
			if len(args) == 0 {
				return use
			}
			delay, err := delayOf(args[0])
			if err != nil {
				return failed(err)
			}
			s.Delay, s.Message, s.WarnOnly = delay, strings.Join(args[1:], " "), warnOnly
			switch {
			case reboot:
				s.What = "reboot"
			case halt || powerOff:
				s.What = "halt"
			default:
				s.What = "single"
			}
			if fast {
				s.Files = append(s.Files, "/fastboot")
			}
			if force {
				s.Files = append(s.Files, "/forcefsck")
			}
			s.Complain = func(err error) { complain("shutdown", err) }
			if err := s.Run(); err != nil {
				return failed(fmt.Errorf("unable to %w", err))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&reboot, "reboot", "r", false, "reboot")
	f.BoolVarP(&halt, "halt", "h", false, "halt, and turn the power off")
	f.BoolVarP(&powerOff, "poweroff", "P", false, "turn the power off")
	f.BoolVarP(&warnOnly, "warn", "k", false, "only tell the users")
	f.BoolVarP(&cancel, "cancel", "c", false, "cancel the shutdown that is waiting")
	f.BoolVarP(&fast, "fastboot", "f", false, "make /fastboot: no fsck at the next boot")
	f.BoolVarP(&force, "forcefsck", "F", false, "make /forcefsck: fsck at the next boot")
	f.StringVarP(&seconds, "delay", "t", "", "ignored")
	f.BoolVarP(&never, "access", "a", false, "")
	f.BoolVarP(&never, "no-init", "n", false, "")
	f.BoolVarP(&never, "old-halt", "H", false, "")
	f.Bool("help", false, "print this help")
	for _, name := range []string{"delay", "access", "no-init", "old-halt"} {
		f.MarkHidden(name)
	}
	getoptErrors(cmd, argv0, argv0+line, 1)
	return cmd
}

// delayOf reads the time of a shutdown: now, or +MINUTES.
func delayOf(text string) (time.Duration, error) {
	if text == "now" {
		return 0, nil
	}
	if minutes, ok := strings.CutPrefix(text, "+"); ok {
		if n, err := strconv.ParseUint(minutes, 10, 16); err == nil {
			return time.Duration(n) * time.Minute, nil
		}
	}
	if strings.Contains(text, ":") {
		return 0, errors.New("absolute times are not supported: say now or +MINUTES")
	}
	return 0, fmt.Errorf("time %q is neither now nor +MINUTES", text)
}
