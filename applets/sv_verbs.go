package applets

import (
	"bufio"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// verb is a command of sv with options of its own.
type verb struct {
	name  string
	build func(s *svCall) *cobra.Command
}

// verbsHelp tells of them in sv's help.
func verbsHelp() string {
	if len(verbs) == 0 {
		return ""
	}
	text := "\nWith options of their own (sv list --help), and only as whole words:\n  "
	for i, v := range verbs {
		if i > 0 {
			text += ", "
		}
		text += v.name
	}
	return text
}

// findVerb builds the command of that name, nil if there is none.
func findVerb(name string) func(s *svCall) *cobra.Command {
	for _, v := range verbs {
		if v.name == name {
			return v.build
		}
	}
	return nil
}

// runVerb runs one; options may stand behind it.
func (s *svCall) runVerb(build func(s *svCall) *cobra.Command, cmd *cobra.Command, args []string) error {
	s.stdout = cmd.OutOrStdout()
	s.out, s.err = bufio.NewWriter(s.stdout), cmd.ErrOrStderr()
	defer func() { s.out.Flush() }()
	verb := build(s)
	verb.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		text := getoptWords(err)
		if long, ok := strings.CutPrefix(err.Error(), "unknown flag: "); ok {
			text = "there is no option " + long
		}
		return misuse{s.name + ": " + text, verb.Use, 100}
	})
	verb.Flags().SortFlags = false
	verb.SetOut(cmd.OutOrStdout())
	return execute(verb, args)
}

// svCollection is the directory of all service directories, linked or not.
func svCollection() string {
	if dir := os.Getenv("SVCOLLECTION"); dir != "" {
		return dir
	}
	return "/etc/sv"
}

// isBare says whether a service's name is looked up in svDir.
func isBare(name string) bool {
	return name != "" && name[0] != '/' && name[0] != '.' && !strings.HasSuffix(name, "/")
}
