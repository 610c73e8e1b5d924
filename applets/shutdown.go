package applets

import (
	"cmp"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/fmt"
	"runitbox/initstage"
)

// allowed is the file of those who may end the system with shutdown -a.
const allowed = "/etc/shutdown.allow"

// newShutdown ends the system at a time, and tells its users before. The options
// are sysvinit's.
func newShutdown(argv0 string) *cobra.Command {
	const line = " [-akrhPHfFncqQ] [-t sec] time [message]"
	s := initstage.Shutdown{End: initstage.End{Complain: func(err error) { complain("shutdown", err) }}}
	var console, halt, powerOff, leavePower, reboot, cancel, fast, force, self, quieter bool
	var seconds string
	use := misuse{line: argv0 + line, status: 1}
	failed := func(err error) error { return fatal{"shutdown", 1, err} }
	cmd := &cobra.Command{
		Use:   "shutdown" + line,
		Short: "end the system at a time and tell its users",
		Long:  "time is now, +MINUTES, +HH:MM or HH:MM. Without -r, -h, -P and -H it is no end, but\nthe runlevel single.",
		RunE: func(_ *cobra.Command, args []string) error {
			wait, err := strconv.ParseUint(cmp.Or(seconds, "0"), 10, 16)
			switch {
			case err != nil, len(args) == 0 && !cancel:
				return use
			case os.Geteuid() != 0:
				return failed(errNotRoot)
			case console && !initstage.Allowed(allowed, initstage.Utmp):
				return failed(errors.New("no authorized users logged in"))
			case cancel:
				if err := initstage.Cancel(); err != nil {
					return unable("shutdown", err)
				}
				if len(args) > 0 {
					initstage.Wall(strings.Join(args, " "))
				}
				return nil
			}
			if s.Delay, err = delayOf(args[0], time.Now()); err != nil {
				return failed(err)
			}
			s.Message = strings.Join(args[1:], " ")
			switch {
			case reboot:
				s.What = "reboot"
			case leavePower && !powerOff:
				s.What = "halt"
			case halt || powerOff:
				s.What = "poweroff"
			default:
				s.What = "single"
			}
			if fast {
				s.Files = append(s.Files, "/fastboot")
			}
			if force {
				s.Files = append(s.Files, "/forcefsck")
			}
			if self && s.What != "single" {
				s.Self = &initstage.Stage{Paths: initstage.DefaultPaths(), Words: words, Out: os.Stderr, Wait: time.Duration(wait) * time.Second}
			}
			return unable("shutdown", s.Run())
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&reboot, "reboot", "r", false, "reboot")
	f.BoolVarP(&halt, "halt", "h", false, "halt, and turn the power off")
	f.BoolVarP(&powerOff, "poweroff", "P", false, "turn the power off")
	f.BoolVarP(&leavePower, "leave-power", "H", false, "halt, and leave the power on")
	f.BoolVarP(&s.WarnOnly, "warn", "k", false, "only tell the users")
	f.BoolVarP(&cancel, "cancel", "c", false, "cancel the shutdown that is waiting")
	f.BoolVarP(&fast, "fastboot", "f", false, "make /fastboot: no fsck at the next boot")
	f.BoolVarP(&force, "forcefsck", "F", false, "make /forcefsck: fsck at the next boot")
	f.BoolVarP(&console, "access", "a", false, "only if root or one in "+allowed+" is logged in")
	f.BoolVarP(&self, "no-init", "n", false, "end everything without process 1 and its stage 3")
	f.BoolVarP(&quieter, "quiet", "q", false, "tell the users less often (it is not often)")
	f.BoolVarP(&s.Quiet, "silent", "Q", false, "tell the users only when it is time")
	f.StringVarP(&seconds, "delay", "t", "", "with -n: `SEC` seconds between TERM and KILL")
	f.Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, argv0+line, 1)
	return cmd
}

// delayOf reads the time of a shutdown: now, +MINUTES, +HOURS:MINUTES, or the
// HOUR:MINUTE that comes next after from.
func delayOf(text string, from time.Time) (time.Duration, error) {
	if text == "now" {
		return 0, nil
	}
	digits, relative := strings.CutPrefix(text, "+")
	hours, minutes, clock := strings.Cut(digits, ":")
	if !clock {
		hours, minutes = "0", digits
	}
	h, errHours := strconv.ParseUint(hours, 10, 16)
	m, errMinutes := strconv.ParseUint(minutes, 10, 16)
	switch {
	case errHours != nil, errMinutes != nil, !relative && !clock, clock && (len(minutes) != 2 || m > 59), clock && !relative && h > 23:
		return 0, fmt.Errorf("time %q is neither now nor +MINUTES, +HH:MM or HH:MM", text)
	case relative:
		return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, nil
	}
	at := time.Date(from.Year(), from.Month(), from.Day(), int(h), int(m), 0, 0, from.Location())
	if at.Before(from) {
		at = at.AddDate(0, 0, 1)
	}
	return at.Sub(from), nil
}
