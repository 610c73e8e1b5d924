package applets

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"runitbox/applets/setup"
	"runitbox/fmt"
)

// newSetupStages writes what process 1 runs.
func newSetupStages() *cobra.Command {
	const use = "stages [--plain|--debian|--container] [--list] [--dry-run] [--force] [--root DIR]"
	asked := make([]bool, len(setup.StageSets))
	cmd := setupKind(use, "write /etc/runit/1, 2, 3 and what belongs to them",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			var names []string
			for i, s := range setup.StageSets {
				if asked[i] {
					names = append(names, s.Name)
				}
			}
			if len(args) > 0 || len(names) > 1 {
				return misuse{"", "runitbox setup " + use, 100}
			}
			if o.list {
				for _, s := range setup.StageSets {
					fmt.Fprintf(cmd.OutOrStdout(), "%-15s %s\n", s.Name, s.About)
				}
				return nil
			}
			if len(names) == 0 {
				names = append(names, fittingStages(o.root))
			}
			return o.write(cmd, setup.StagesDir, stageFiles(names[0]))
		})
	for i, s := range setup.StageSets {
		cmd.Flags().BoolVar(&asked[i], s.Name, false, "stages: "+s.About)
	}
	return cmd
}

// stageFiles are the files of a set of stages.
func stageFiles(set string) []setup.File {
	i := slices.IndexFunc(setup.StageSets, func(s setup.StageSet) bool { return s.Name == set })
	return setup.StageSets[i].Files()
}

// fittingStages is the set of stages for the system below root.
func fittingStages(root string) string {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	switch {
	case root == "/" && (os.Getenv("container") != "" || has("/.dockerenv") || has("/run/.containerenv")):
		return "container"
	case has("etc/debian_version"):
		return "debian"
	}
	return "plain"
}

// newSetupLevels writes the directories that runsvchdir switches between.
func newSetupLevels() *cobra.Command {
	const use = "levels [--list] [--dry-run] [--force] [--root DIR] [level ...]"
	return setupKind(use, "write the levels in /etc/runit/runsvdir: default, single, solo",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			if o.list {
				for _, l := range setup.Levels {
					fmt.Fprintf(cmd.OutOrStdout(), "%-15s %s\n", l.Name, l.About)
				}
				return nil
			}
			levels, err := chooseLevels(args)
			if err != nil {
				return err
			}
			return o.write(cmd, "", setup.LevelFiles(levels))
		})
}

// chooseLevels finds levels by their names, in that order; without names it is all.
func chooseLevels(names []string) ([]setup.Level, error) {
	if len(names) == 0 {
		return setup.Levels, nil
	}
	var chosen []setup.Level
	for i, name := range names {
		at := slices.IndexFunc(setup.Levels, func(l setup.Level) bool { return l.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("%s: no such level (--list tells all)", name)
		}
		if !slices.Contains(names[:i], name) {
			chosen = append(chosen, setup.Levels[at])
		}
	}
	return chosen, nil
}

// newSetupContainer writes what a container's process 1 needs.
func newSetupContainer() *cobra.Command {
	const use = "container [--list] [--dry-run] [--force] [--root DIR]"
	return setupKind(use, "write the stages and the level of a container",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			if len(args) > 0 {
				return misuse{"", "runitbox setup " + use, 100}
			}
			levels, err := chooseLevels([]string{"solo"})
			if err != nil {
				return err
			}
			files := stageFiles("container")
			for i := range files {
				files[i].Path = setup.StagesDir + "/" + files[i].Path
			}
			files = append(files, setup.LevelFiles(levels)...)
			if o.list {
				for _, f := range files {
					fmt.Fprintln(cmd.OutOrStdout(), "/"+f.Path)
				}
				return nil
			}
			return o.write(cmd, "", files)
		})
}

// write makes the files in dir below the root, as the options tell.
func (o *setupOptions) write(cmd *cobra.Command, dir string, files []setup.File) error {
	return write(cmd.OutOrStdout(), o.root, dir, files, o.dry, o.force)
}
