//go:build slim

package applets

import "github.com/spf13/cobra"

// The slim executable has the commands of runit's sv alone.

func newSvList(*svCall) *cobra.Command { return nil }

// isTyped is for who refuses words, or explains failures, at a terminal.
func (s *svCall) isTyped() bool { return false }

func noCommand(word string) string { return word }

func (s *svCall) hint(string) {}
