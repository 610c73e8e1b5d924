package applets

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"runitbox/applets/slim/fmt"
	"runitbox/initstage"
	"runitbox/procenv"
	"runitbox/supervise/threads"
)

// newRunit is process 1. It has no options and ignores arguments: the kernel
// passes on what is left over of the boot line.
func newRunit(string) *cobra.Command {
	var stage int
	var state string
	cmd := &cobra.Command{
		Use:                "runit",
		Short:              "be process 1: boot, run and end the system",
		Long:               "It runs /etc/runit/1, 2 and 3, and does itself what is missing of them.",
		DisableFlagParsing: os.Getpid() == 1,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case os.Getpid() == 1:
				procenv.NoHugePages()
				threads.Await(threads.Runtime+threads.Signals+runtime.GOMAXPROCS(0)+initstage.Threads, func(err error) { fmt.Fprintln(os.Stderr, "- runit: warning:", err) })
				status := initstage.Run(initstage.Config{Version: "runitbox " + version, Words: words, Paths: initstage.DefaultPaths()})
				return exit(status)
			case state != "" && os.Getppid() == 1:
				answer, ok := initstage.TakesOver(state)
				if !ok {
					return exit(111)
				}
				fmt.Fprint(cmd.OutOrStdout(), answer)
				return nil
			case stage > 0 && os.Getppid() == 1:
				s := initstage.Stage{Paths: initstage.DefaultPaths(), Words: words, Out: cmd.OutOrStdout()}
				return exit(s.Run(stage))
			}
			return fatal{"- runit", 111, errors.New("must be run as process no 1.")}
		},
	}
	cmd.Flags().IntVar(&stage, "stage", 0, "run a built-in stage (for process 1 only)")
	cmd.Flags().StringVar(&state, "takes-over", "", "tell process 1 whether this can take its place")
	cmd.Flags().MarkHidden("stage")
	cmd.Flags().MarkHidden("takes-over")
	cmd.SetFlagErrorFunc(func(*cobra.Command, error) error {
		return fatal{"- runit", 111, errors.New("must be run as process no 1.")}
	})
	return cmd
}

// newRunitInit asks process 1 for the end of the system or, as process 1,
// becomes runit.
func newRunitInit(argv0 string) *cobra.Command {
	cmd := &cobra.Command{
		Use:                filepath.Base(argv0) + " 0|6",
		Short:              "halt or reboot the system; as process 1, become runit",
		Long:               "0 turns the power off, 6 reboots.",
		DisableFlagParsing: true, // any option but -V is as good as none
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Getpid() == 1 {
				return fatal{"init", 111, initstage.Become(initstage.DefaultPaths().Runit)}
			}
			if len(args) == 1 && args[0] == "--help" {
				return showHelp(cmd)
			}
			use := misuse{line: argv0 + " 0|6"}
			if len(args) == 0 || args[0] == "" {
				return use
			}
			if what := map[byte]string{'0': "poweroff", '6': "reboot"}[args[0][0]]; what != "" { // no more of it counts
				if err := initstage.Ask(initstage.DefaultPaths(), what); err != nil {
					return fatal{"init", 111, fmt.Errorf("unable to %w", err)}
				}
				return nil
			}
			if args[0] == "-V" {
				use.note = "runitbox " + version + "\n"
			}
			return use
		},
	}
	return cmd
}
