//go:build slim

package applets

import (
	"errors"

	"github.com/spf13/cobra"

	"runitbox/supervise/survey"
)

// newSetupCommand says that there is no setup in this executable.
func newSetupCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "setup",
		Short:              "(not in this executable, which was built with SLIM=1)",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return fatal{"runitbox", 111, errors.New("setup: not in this executable, which was built with SLIM=1")}
		},
	}
}

// collection is empty.
func collection() []candidate { return nil }

// verbs of sv beside runit's are none.
var verbs [0]verb

// isTyped is for who refuses words at a terminal, or explains failures there.
func (s *svCall) isTyped() bool { return false }

func noCommand(word string) string { return word }

func (s *svCall) hint(string) {}

func (s *svCall) explainTo(*survey.Service) {}
