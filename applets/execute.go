package applets

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// execute finds the command below root that args name, reads its options and runs it. It is
// what cobra's Execute does for a suite without hooks, and leaves out what that brings for
// completion, which the suite has of its own: scripts for four shells and who fills them.
func execute(root *cobra.Command, args []string) error {
	cmd, args := called(root, args)
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := cmd.ParseFlags(args); err != nil {
		return cmd.FlagErrorFunc()(cmd, err)
	}
	if help, _ := cmd.Flags().GetBool("help"); help {
		return showHelp(cmd)
	}
	if cmd.Version != "" {
		if version, _ := cmd.Flags().GetBool("version"); version {
			_, err := io.WriteString(cmd.OutOrStdout(), cmd.Name()+" version "+cmd.Version+"\n")
			return err
		}
	}
	if !cmd.DisableFlagParsing {
		args = cmd.Flags().Args()
	}
	if err := cmd.ValidateArgs(args); err != nil {
		return err
	}
	if cmd.RunE != nil {
		return cmd.RunE(cmd, args)
	}
	if cmd.Run == nil {
		return showHelp(cmd)
	}
	cmd.Run(cmd, args)
	return nil
}

// called is the command that args name, and args without its name. Options may stand before
// the name; what follows one without "=" is taken for its value, as cobra's Find does.
func called(cmd *cobra.Command, args []string) (*cobra.Command, []string) {
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		switch arg := args[i]; {
		case strings.HasPrefix(arg, "--") && !strings.Contains(arg, "="), len(arg) == 2 && arg[0] == '-':
			i++
		case arg == "" || arg[0] == '-':
		default:
			at := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == arg })
			if at < 0 {
				return cmd, args
			}
			return called(cmd.Commands()[at], slices.Delete(slices.Clone(args), i, i+1))
		}
	}
	return cmd, args
}
