package applets

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/loaders"
	"runitbox/applets/manual"
	"runitbox/applets/slim/fmt"
)

// showHelp is --help of all applets in one form: the usage, a sentence, what the
// operands are, and a line for each option.
func showHelp(cmd *cobra.Command) error {
	text := appletHelp
	if cmd.HasSubCommands() && !cmd.HasParent() {
		text = boxHelp
	}
	_, err := io.WriteString(cmd.OutOrStdout(), text(cmd))
	return err
}

func appletHelp(cmd *cobra.Command) string {
	line := cmd.Use
	if cmd.HasParent() {
		line = cmd.Parent().CommandPath() + " " + line
	}
	text := "usage: " + line + "\n" + strings.ToUpper(cmd.Short[:1]) + cmd.Short[1:] + ".\n"
	if cmd.Long != "" {
		text += cmd.Long + "\n"
	}
	text += listed(cmd.Commands())
	if !cmd.DisableFlagParsing {
		text += options(cmd)
	}
	return text
}

// options is a line for each option of cmd.
func options(cmd *cobra.Command) string {
	cmd.InitDefaultHelpFlag() // with words of its own where cmd has none
	cmd.Flag("help").Usage = "print this help"
	return cmd.LocalFlags().FlagUsages()
}

// boxHelp is the help of runitbox itself: what it can be called as.
func boxHelp(cmd *cobra.Command) string {
	text := "usage: " + cmd.Use + "\nAll of runit in one executable. It does what the name it is called with says: link\n" +
		"it under these names, or give one as the first argument.\n"
	return text + listed(cmd.Commands()) + options(cmd) + "What each takes: --help after its name, or its page in the manual.\n"
}

// listed is a line for each command that is shown.
func listed(commands []*cobra.Command) (text string) {
	for _, c := range commands {
		if !c.Hidden {
			text += fmt.Sprintf("  %-12s %s\n", c.Name(), c.Short)
		}
	}
	return text
}

// asksForHelp says whether --help is all there is, for an applet that takes directories
// of any name: one in dir may be called so.
func asksForHelp(args []string, dir string) bool {
	if len(args) != 1 || args[0] != "--help" {
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, args[0]))
	return os.IsNotExist(err)
}

// newHelp prints pages of the manual, for machines without man.
func newHelp() *cobra.Command {
	const line = "runitbox help [applet]"
	cmd := &cobra.Command{
		Use:   "help [applet]",
		Short: "print the manual page of an applet",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return misuse{"", line, 100}
			}
			name := "runitbox"
			if len(args) > 0 {
				name = args[0]
			}
			switch {
			case loaders.Known(name):
				name = loaders.Plain(name)
			case slices.ContainsFunc(cmd.Root().Commands(), func(c *cobra.Command) bool { return c.Name() == name && !known(name) }):
				name = "runitbox" // whose page tells of its commands
			}
			page := manual.Page(name)
			switch {
			case page != "":
				fmt.Fprint(cmd.OutOrStdout(), manual.Render(page, 78))
				return nil
			case known(name): // an executable without manuals
				return helpOf(cmd, name)
			case name == "runitbox":
				cmd.Root().InitDefaultVersionFlag()
				return showHelp(cmd.Root())
			}
			return fatal{"runitbox", 127, fmt.Errorf("%s: applet not found", name)}
		},
	}
	getoptErrors(cmd, "runitbox", line, 100)
	return cmd
}

// helpOf prints what name --help does.
func helpOf(cmd *cobra.Command, name string) error {
	text := helpText(name)
	if text == "" {
		return fs.ErrNotExist
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}

// helpText is what --help of an applet prints.
func helpText(name string) string {
	if help := loaders.Help(name); help != "" {
		return help
	}
	build := find(name)
	if build == nil {
		return ""
	}
	return appletHelp(build(name))
}
