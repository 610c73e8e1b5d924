// Package cobra stands in for the module of that name in the executable that is as small
// as can be (make build SLIM=1): it has what the applets use of it, and behaves likewise.
// The module itself brings text/template, regexp and net, a tenth of the whole.
package cobra

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
)

// errHelp is a wish for help where there is no such option.
var errHelp = errors.New("help requested")

// PositionalArgs says what is wrong with the operands of a command.
type PositionalArgs func(cmd *Command, args []string) error

// ArbitraryArgs finds nothing wrong.
func ArbitraryArgs(*Command, []string) error { return nil }

// Command is a command with its options and its commands.
type Command struct {
	Use, Short, Long, Version  string
	Args                       PositionalArgs
	Run                        func(cmd *Command, args []string)
	RunE                       func(cmd *Command, args []string) error
	Hidden, DisableFlagParsing bool

	flags     *FlagSet
	parent    *Command
	commands  []*Command
	out       io.Writer
	errorFunc func(*Command, error) error
}

// Name is the first word of the usage.
func (c *Command) Name() string {
	name, _, _ := strings.Cut(c.Use, " ")
	return name
}

// CommandPath is the name behind those of its parents.
func (c *Command) CommandPath() string {
	if c.parent != nil {
		return c.parent.CommandPath() + " " + c.Name()
	}
	return c.Name()
}

// AddCommand adds commands, which are told in order.
func (c *Command) AddCommand(commands ...*Command) {
	for _, cmd := range commands {
		cmd.parent = c
		c.commands = append(c.commands, cmd)
	}
	slices.SortFunc(c.commands, func(a, b *Command) int { return strings.Compare(a.Name(), b.Name()) })
}

// Commands are those that were added.
func (c *Command) Commands() []*Command { return c.commands }

// HasSubCommands says whether there are any.
func (c *Command) HasSubCommands() bool { return len(c.commands) > 0 }

// HasParent says whether it was added to one.
func (c *Command) HasParent() bool { return c.parent != nil }

// Parent is the command that it was added to.
func (c *Command) Parent() *Command { return c.parent }

// Root is the command that was added to none.
func (c *Command) Root() *Command {
	for c.parent != nil {
		c = c.parent
	}
	return c
}

// Flags are the options.
func (c *Command) Flags() *FlagSet {
	if c.flags == nil {
		c.flags = &FlagSet{SortFlags: true, interspersed: true}
	}
	return c.flags
}

// LocalFlags are the options.
func (c *Command) LocalFlags() *FlagSet { return c.Flags() }

// Flag is the option of that name.
func (c *Command) Flag(name string) *Flag { return c.Flags().find(name) }

// InitDefaultHelpFlag adds --help where there is none.
func (c *Command) InitDefaultHelpFlag() { c.initFlag("help", "h", "help for "+c.Name()) }

// InitDefaultVersionFlag adds --version where there is a version.
func (c *Command) InitDefaultVersionFlag() {
	if c.Version != "" {
		c.initFlag("version", "v", "version for "+c.Name())
	}
}

// initFlag adds an option where there is none, with a letter if that is free.
func (c *Command) initFlag(name, letter, usage string) {
	if c.Flag(name) != nil {
		return
	}
	if c.Flags().letter(letter) != nil {
		letter = ""
	}
	c.Flags().BoolP(name, letter, false, usage)
}

// SetOut says where it writes to.
func (c *Command) SetOut(w io.Writer) { c.out = w }

// SetFlagErrorFunc says what becomes of a wrong option.
func (c *Command) SetFlagErrorFunc(f func(*Command, error) error) { c.errorFunc = f }

// OutOrStdout is where it writes to.
func (c *Command) OutOrStdout() io.Writer {
	for ; c != nil; c = c.parent {
		if c.out != nil {
			return c.out
		}
	}
	return os.Stdout
}

// ErrOrStderr is where it tells of errors.
func (c *Command) ErrOrStderr() io.Writer { return os.Stderr }

// Find is the command that the arguments name, and what is left of them.
func (c *Command) Find(args []string) (*Command, []string, error) {
	cmd := c
	for len(args) > 0 {
		at := slices.IndexFunc(cmd.commands, func(sub *Command) bool { return sub.Name() == args[0] })
		if at < 0 {
			break
		}
		cmd, args = cmd.commands[at], args[1:]
	}
	return cmd, args, nil
}

// ParseFlags reads the options.
func (c *Command) ParseFlags(args []string) error {
	if c.DisableFlagParsing {
		return nil
	}
	return c.Flags().parse(args)
}

// ValidateArgs says what is wrong with the operands.
func (c *Command) ValidateArgs(args []string) error {
	if c.Args == nil {
		return nil
	}
	return c.Args(c, args)
}

// FlagErrorFunc says what becomes of a wrong option.
func (c *Command) FlagErrorFunc() func(*Command, error) error {
	for ; c != nil; c = c.parent {
		if c.errorFunc != nil {
			return c.errorFunc
		}
	}
	return func(_ *Command, err error) error { return err }
}
