package applets

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"runitbox/supervise/client"
	"runitbox/supervise/state"
)

// What runit had before sv are faces of sv: they take a directory for what its
// name says, wait for other times and have exit codes of their own.

// oldName begins a call of one of them. What it has to say goes to out.
func oldName(argv0 string, out io.Writer) *svCall {
	os.Setenv("SVDIR", ".") // a bare name is that of a directory here
	return &svCall{name: filepath.Base(argv0), begin: time.Now(), out: bufio.NewWriter(out), err: os.Stderr}
}

// end is the exit status for the failures counted.
func (s *svCall) end() error {
	s.out.Flush()
	if s.failed == 0 {
		return nil
	}
	return exit(min(s.failed, 100))
}

// oldCommand is the command of one of them, which takes services.
func oldCommand(argv0, options, short string, run func(cmd *cobra.Command, services []string) error) (*cobra.Command, misuse) {
	var identify bool
	use := misuse{line: filepath.Base(argv0) + options + " service ...", status: 1}
	cmd := &cobra.Command{
		Use:   use.line,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if identify {
				return misuse{"runitbox " + version, use.line, use.status}
			}
			if len(args) == 0 {
				return use
			}
			return run(cmd, args)
		},
	}
	cmd.Flags().BoolVarP(&identify, "version", "V", false, "show the version")
	cmd.Flags().Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, use.line, use.status)
	return cmd, use
}

// newRunsvctrl sends a command, of which the first letter counts, and waits for
// nothing.
func newRunsvctrl(argv0 string) *cobra.Command {
	var use misuse
	cmd, use := oldCommand(argv0, " command", "send a command to services (sv does)", func(cmd *cobra.Command, args []string) error {
		var act *action
		if args[0] != "" && strings.Contains("udopchaiq12tkxe", args[0][:1]) {
			act = findAction(args[0][:1])
		}
		if act == nil || len(args) < 2 {
			return use
		}
		s := oldName(argv0, os.Stderr)
		s.control(*act, false, args[1:])
		return s.end()
	})
	return cmd
}

// newRunsvstat shows the status of services, and with -l of their log services.
func newRunsvstat(argv0 string) *cobra.Command {
	var log bool
	cmd, _ := oldCommand(argv0, " [-l]", "show the status of services (sv does)", func(cmd *cobra.Command, services []string) error {
		s := oldName(argv0, cmd.OutOrStdout())
		patience := s.begin.Add(svPatience)
		for _, name := range services {
			r, err := client.Reach(svPath(name))
			if err != nil {
				s.fail(name, err)
				continue
			}
			s.showOld(name, r, "", patience)
			if log {
				switch l, err := r.Log(); {
				case err == nil:
					s.showOld(name+"/log", l, "  ", patience)
					l.Close()
				case !errors.Is(err, os.ErrNotExist):
					s.fail(name+"/log", err)
				}
			}
			r.Close()
		}
		return s.end()
	})
	cmd.Flags().BoolVarP(&log, "log", "l", false, "show the log services, too")
	return cmd
}

// showOld shows one status, as a line of its own.
func (s *svCall) showOld(name string, r *client.Remote, indent string, patience time.Time) {
	rec, err := r.ProbeUntil(patience)
	if err != nil {
		s.fail(name, err)
		return
	}
	down, ok := s.hasDown(name, r)
	if !ok {
		s.failed++
		return
	}
	s.say("%s%s", indent, svLine(name, rec, down, time.Now()))
}

// fail counts a service that cannot be asked, and tells why.
func (s *svCall) fail(name string, err error) {
	s.failed++
	s.warn("%s", trouble(name, err))
}

// newSvwaitdown takes services down and waits until they are.
func newSvwaitdown(argv0 string) *cobra.Command {
	var verbose, leave, kill bool
	var limit string
	var use misuse
	cmd, use := oldCommand(argv0, " [-v] [-t sec] [-xk]", "take services down and wait (sv stop does)", func(cmd *cobra.Command, services []string) error {
		seconds, ok := within(limit, 1, 6000)
		if !ok {
			return use
		}
		s := oldName(argv0, os.Stderr)
		act := action{send: "d", until: "d", kill: kill}
		if leave {
			act.send, act.until = "x", "x"
		}
		sender := &client.Client{Patience: s.begin.Add(seconds)}
		names := map[*client.Order]string{}
		var orders []*client.Order
		for _, name := range services {
			order, err := sender.Send(svPath(name), act.send, act.until)
			switch {
			case err == nil:
				orders = append(orders, order)
				names[order] = name
			case !errors.Is(err, client.ErrNotRunning): // else it is as good as down
				s.fail(name, err)
			case verbose:
				s.say("ok: %s: runsv not running", name)
			}
		}
		late := false
		sender.Wait(orders, s.begin.Add(seconds), func(o *client.Order, out client.Outcome) {
			gone := out.Result == client.Failed && errors.Is(out.Err, client.ErrNotRunning)
			late = late || out.Result == client.TimedOut
			if out.Result != client.Done && !gone || verbose {
				if gone {
					out = client.Outcome{Result: client.Done, Status: out.Status, Err: out.Err}
				}
				s.report(act, names[o], o, out)
			}
		})
		if late {
			s.out.Flush()
			return exit(111)
		}
		return s.end()
	})
	f := cmd.Flags()
	f.BoolVarP(&verbose, "verbose", "v", false, "tell of each that is down")
	f.StringVarP(&limit, "timeout", "t", "600", "wait for that many `seconds` at most")
	f.BoolVarP(&leave, "exit", "x", false, "have runsv exit, too")
	f.BoolVarP(&kill, "kill", "k", false, "send KILL to what is not down then")
	return cmd
}

// newSvwaitup waits until services have been up for some seconds.
func newSvwaitup(argv0 string) *cobra.Command {
	var verbose bool
	var least string
	var use misuse
	cmd, use := oldCommand(argv0, " [-v] [-s sec]", "wait until services are up (sv start does)", func(cmd *cobra.Command, services []string) error {
		seconds, ok := within(least, 1, 600)
		if !ok {
			return use
		}
		s := oldName(argv0, os.Stderr)
		for _, name := range services { // one after the other: all have to be up
			rec, err := waitUp(svPath(name), seconds)
			switch {
			case errors.Is(err, errNotWanted):
				s.failed++
				s.warn("fail: %s: %v", name, err)
			case err != nil:
				s.fail(name, err)
			case verbose:
				s.say("ok: %s", s.line(name, name, svPath(name), rec))
			}
		}
		return s.end()
	})
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell of each that is up")
	cmd.Flags().StringVarP(&least, "seconds", "s", "2", "for that many `seconds`")
	return cmd
}

var errNotWanted = errors.New("is down, and nobody wants it up")

// waitUp waits until the service has been up for so long.
func waitUp(path string, least time.Duration) (state.Record, error) {
	const look = 100 * time.Millisecond
	for {
		r, err := client.Reach(path)
		if err != nil {
			return state.Record{}, err
		}
		rec, err := r.ProbeUntil(time.Now().Add(svPatience))
		r.Close()
		if err != nil {
			return rec, err
		}
		wait := look
		switch {
		case rec.PID != 0 && rec.State == state.Run:
			up := time.Since(rec.Since)
			if up >= least {
				return rec, nil
			}
			wait = min(least-up, look)
		case rec.Want == state.WantDown:
			return rec, errNotWanted
		}
		time.Sleep(wait)
	}
}

// within reads a number of seconds between least and most.
func within(text string, least, most int) (time.Duration, bool) {
	n, err := strconv.Atoi(text)
	return time.Duration(n) * time.Second, err == nil && least <= n && n <= most
}
