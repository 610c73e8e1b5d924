package applets

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/setup"
	"runitbox/applets/slim/fmt"
)

// newSetup writes what the executable brings for a whole system.
func newSetup() *cobra.Command {
	const what = "setup stages|levels|services|user|container|boot|recipes"
	const line = "runitbox setup services [--list] [--dry-run] [--force] [--supervise-in-run] [--root DIR] [service ...]"
	cmd := &cobra.Command{
		Use:   what,
		Short: "write what a system needs around the programs",
		RunE: func(_ *cobra.Command, args []string) error {
			note := ""
			if len(args) > 0 {
				note = "runitbox: setup: no such thing: " + args[0]
			}
			return misuse{note, "runitbox " + what + " [option ...]", 100}
		},
	}
	var list, dry, force, inRun bool
	var root string
	services := &cobra.Command{
		Use:   "services [--list] [--dry-run] [--force] [--supervise-in-run] [--root DIR] [service ...]",
		Short: "write service directories for well-known daemons to /etc/sv",
		RunE: func(cmd *cobra.Command, args []string) error {
			all := setup.Services()
			chosen := slices.DeleteFunc(slices.Clone(all), func(s setup.Service) bool {
				return len(args) > 0 && !slices.Contains(args, s.Name)
			})
			for _, name := range args {
				if !slices.ContainsFunc(all, func(s setup.Service) bool { return s.Name == name }) {
					return fatal{"runitbox", 111, fmt.Errorf("setup: %s: no such service (--list tells all)", name)}
				}
			}
			out := cmd.OutOrStdout()
			var files []setup.File
			for _, s := range chosen {
				if list {
					fmt.Fprintf(out, "%-15s %s\n", s.Name, s.About)
				}
				files = append(files, s.Files...)
				if inRun {
					files = append(files, s.Links()...)
				}
			}
			if list {
				return nil
			}
			if err := write(out, root, setup.ServiceDir, files, dry, force); err != nil {
				return fatal{"runitbox", 111, fmt.Errorf("setup: %w", err)}
			}
			return nil
		},
	}
	getoptErrors(cmd, "runitbox", "runitbox "+what+" [option ...]", 100)
	getoptErrors(services, "runitbox", line, 100)
	f := services.Flags()
	f.BoolVar(&list, "list", false, "tell what there is and write nothing")
	f.BoolVar(&dry, "dry-run", false, "tell what would be done and do nothing")
	f.BoolVar(&force, "force", false, "replace files that differ")
	f.BoolVar(&inRun, "supervise-in-run", false, "link what runsv writes to "+setup.SuperviseDir+": for an /etc that is read-only")
	f.StringVar(&root, "root", "/", "the `DIR` that is the root of the system")
	cmd.AddCommand(services, newSetupBoot(), newSetupStages(), newSetupLevels(), newSetupUser(), newSetupRecipes(), newSetupContainer())
	return cmd
}

// write makes the files in dir below root and tells of each. Where something is in the
// way nothing is changed.
func write(out io.Writer, root, dir string, files []setup.File, dry, force bool) error {
	target, err := setup.Open(root, dir)
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", root, err)
	}
	defer target.Close()
	steps, err := target.Plan(files)
	if err != nil {
		return err
	}
	return carryOut(out, target, root, steps, dry, force)
}

// carryOut does what has been planned for a target below root and tells of each file.
func carryOut(out io.Writer, target *setup.Target, root string, steps []setup.Step, dry, force bool) error {
	at := strings.TrimSuffix(root, "/") + "/"
	var way []string
	for _, s := range steps {
		switch {
		case s.State == setup.Foreign:
			way = append(way, fmt.Sprintf("%s%s: %v", at, s.Path, s.Cause))
		case s.State == setup.Differs && !force:
			way = append(way, fmt.Sprintf("%s%s: it is there and differs (--force replaces it)", at, s.Path))
		}
	}
	if more := len(way) - 5; more > 0 { // all behind one file or link, most often
		way = append(way[:5], fmt.Sprintf("and %d more", more))
	}
	if len(way) > 0 {
		return errors.New("nothing was changed: " + strings.Join(way, "; "))
	}
	if !dry {
		if err := target.Write(steps); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	words := map[setup.State]string{setup.Absent: "made", setup.Same: "kept", setup.Differs: "replaced", setup.Extended: "extended", setup.Left: "left"}
	if dry {
		words = map[setup.State]string{setup.Absent: "would make", setup.Same: "would keep", setup.Differs: "would replace", setup.Extended: "would extend", setup.Left: "would leave"}
	}
	for _, s := range steps {
		fmt.Fprintf(out, "%s %s%s", words[s.State], at, s.Path)
		if s.Cause != nil {
			fmt.Fprintf(out, ": %v", s.Cause)
		}
		fmt.Fprintln(out)
	}
	return nil
}
