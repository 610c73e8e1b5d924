package applets

import (
	"io"

	"github.com/spf13/cobra"
)

// execute finds the command below root that args name, reads its options and runs it. It is
// what cobra's Execute does for a suite without hooks, and leaves out what that brings for
// completion, which the suite has of its own: scripts for four shells and who fills them.
func execute(root *cobra.Command, args []string) error {
	cmd, args, err := root.Find(args)
	if err != nil {
		return err
	}
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
