package applets

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/setup"
	"runitbox/fmt"
)

// setupOptions are those of every kind of setup.
type setupOptions struct {
	list, dry, force bool
	root             string
}

// setupKind makes the command for a kind of setup.
func setupKind(use, short string, run func(cmd *cobra.Command, o *setupOptions, args []string) error) *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := run(cmd, &o, args)
			if _, ok := errors.AsType[misuse](err); err == nil || ok {
				return err
			}
			return fatal{"runitbox", 111, fmt.Errorf("setup: %w", err)}
		},
	}
	getoptErrors(cmd, "runitbox", "runitbox setup "+use, 100)
	f := cmd.Flags()
	f.BoolVar(&o.list, "list", false, "tell what there is and write nothing")
	f.BoolVar(&o.dry, "dry-run", false, "tell what would be done and do nothing")
	f.BoolVar(&o.force, "force", false, "replace files that differ")
	f.StringVar(&o.root, "root", "/", "the `DIR` that is the root of the system")
	return cmd
}

// newSetupBoot writes what has another init start a tree.
func newSetupBoot() *cobra.Command {
	const use = "boot [--list] [--dry-run] [--force] [--root DIR] [--services DIR] [way]"
	var services string
	cmd := setupKind(use, "have another init start a tree: systemd, sysvinit, busybox, openrc, cron",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			if services == "" {
				services = servicesIn(o.root)
			}
			if !filepath.IsAbs(services) || strings.ContainsAny(services, " \t\n'\"\\$%@#:;&|<>*?") {
				return fmt.Errorf("%s: no path that every init takes as it stands", services)
			}
			runitbox, err := executableIn(o.root)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = initIn(o.root)
			}
			out := cmd.OutOrStdout()
			var chosen *setup.Way
			for _, w := range setup.Ways(services, runitbox) {
				if o.list {
					fmt.Fprintf(out, "%-15s %s\n", w.Name, w.About)
				}
				if len(args) == 1 && w.Name == args[0] {
					chosen = &w
				}
			}
			switch {
			case o.list:
				return nil
			case len(args) != 1:
				return misuse{"", "runitbox setup " + use, 100}
			case chosen == nil:
				return fmt.Errorf("%s: no such way (--list tells all)", args[0])
			}
			target, err := setup.Open(o.root, "")
			if err != nil {
				return fmt.Errorf("unable to open %s: %w", o.root, err)
			}
			defer target.Close()
			steps, err := chosen.Plan(target)
			if err != nil {
				return err
			}
			if err := carryOut(out, target, o.root, steps, o.dry, o.force); err != nil {
				return err
			}
			if o.root == "/" && !o.dry {
				fmt.Fprintf(out, "then: %s\n", chosen.Then)
			}
			return nil
		})
	cmd.Flags().StringVar(&services, "services", "", "the `DIR` of services (else where sv looks)")
	return cmd
}

// initIn is the way for what the system below root boots with, or that cron is for it;
// nothing if neither is known.
func initIn(root string) []string {
	there := func(path string) bool { return fileExists(filepath.Join(root, path)) }
	target, _ := os.Readlink(filepath.Join(root, "sbin/init"))
	switch name := filepath.Base(target); {
	case name == "systemd":
		return []string{"systemd"}
	case there("sbin/openrc-run"): // started by an init that is another's
		return []string{"openrc"}
	case name == "busybox":
		return []string{"busybox"}
	case target == "" && there("sbin/init") && there("etc/inittab"):
		return []string{"sysvinit"}
	case there("etc/cron.d"):
		return []string{"cron"}
	}
	return nil
}

// newSetupRecipes writes arrangements of several services.
func newSetupRecipes() *cobra.Command {
	const use = "recipes [--list] [--dry-run] [--force] [--root DIR] recipe ..."
	return setupKind(use, "write arrangements of several services",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			all := setup.Recipes()
			if o.list {
				for _, r := range all {
					fmt.Fprintf(cmd.OutOrStdout(), "%-19s %s\n", r.Name, r.About)
				}
				return nil
			}
			if len(args) == 0 {
				return misuse{"", "runitbox setup " + use, 100}
			}
			var files []setup.File
			for _, name := range args {
				i := slices.Index(recipeNames(), name)
				if i < 0 {
					return fmt.Errorf("%s: no such recipe (--list tells all)", name)
				}
				files = append(files, all[i].Files...)
			}
			return write(cmd.OutOrStdout(), o.root, "", files, o.dry, o.force)
		})
}

// recipeNames are the names in the order of the recipes.
func recipeNames() (names []string) {
	for _, r := range setup.Recipes() {
		names = append(names, r.Name)
	}
	return names
}

// servicesIn is the directory of services of the system below root: the first of those
// in which sv looks that is there, else the first.
func servicesIn(root string) string {
	all := filepath.SplitList(serviceDirs)
	for _, dir := range all {
		if info, err := os.Stat(filepath.Join(root, dir)); err == nil && info.IsDir() {
			return dir
		}
	}
	return all[0]
}

// executableIn is where the system below root has this executable, or shall have it.
func executableIn(root string) (string, error) {
	self, err := self()
	if err != nil {
		return "", fmt.Errorf("unable to find the executable: %w", err)
	}
	if root, err := filepath.Abs(root); err == nil {
		if at, ok := strings.CutPrefix(self, strings.TrimSuffix(root, "/")+"/"); ok {
			return "/" + at, nil
		}
	}
	const usual = "/usr/sbin/runitbox"
	for _, at := range []string{usual, "/usr/bin/runitbox", "/usr/local/sbin/runitbox", "/sbin/runitbox"} {
		if _, err := os.Stat(filepath.Join(root, at)); err == nil {
			return at, nil
		}
	}
	return usual, nil
}
