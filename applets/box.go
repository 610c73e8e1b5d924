package applets

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// box is runitbox called by its own name: an applet as the first argument, or
// what concerns the suite as a whole.
func box(argv []string) error {
	if len(argv) > 1 && known(argv[1]) {
		return call(argv[1], argv[1:])
	}
	root := &cobra.Command{
		Use:   "runitbox",
		Short: "all of runit in one executable",
		Long: "runitbox is all of runit in one executable. It does what the name it is called\n" +
			"with says: link it under these names, or give one as the first argument.",
		Version: version,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fatal{"runitbox", 127, fmt.Errorf("%s: applet not found", args[0])}
			}
			return cmd.Help()
		},
	}
	for _, name := range names() {
		if build := commands[name]; build != nil {
			root.AddCommand(rename(build(name), name))
		} else {
			root.AddCommand(&cobra.Command{Use: name, Short: "run a program with a changed process state (a form of chpst)", Run: func(*cobra.Command, []string) {}})
		}
	}
	root.AddCommand(newInstall())
	root.SetArgs(argv[1:])
	root.SilenceErrors, root.SilenceUsage = true, true
	return root.Execute()
}

// rename makes cmd appear under its applet's name, whatever its usage line is.
func rename(cmd *cobra.Command, name string) *cobra.Command {
	cmd.Use = name
	return cmd
}

// names lists the applets in order.
func names() []string {
	all := slices.Collect(maps.Keys(commands))
	all = slices.AppendSeq(all, maps.Keys(loaders))
	slices.Sort(all)
	return all
}

// newInstall makes the links by which the applets are called.
func newInstall() *cobra.Command {
	var hard, force bool
	cmd := &cobra.Command{
		Use:   "install [--hard] [--force] dir",
		Short: "link every applet's name to this executable",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fatal{"runitbox", 111, fmt.Errorf("unable to find the executable: %w", err)}
			}
			for _, name := range names() {
				if err := link(self, filepath.Join(args[0], name), hard, force); err != nil {
					return fatal{"runitbox", 111, err}
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&hard, "hard", false, "make hard links")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are not such links")
	return cmd
}

// link makes path a link to self. What is such a link already stays; another
// file stays too and is an error unless force is set.
func link(self, path string, hard, force bool) error {
	var at, it unix.Stat_t
	if err := unix.Stat(self, &it); err != nil {
		return fmt.Errorf("unable to stat %s: %w", self, err)
	}
	err := unix.Stat(path, &at)
	if err == nil && at.Ino == it.Ino && at.Dev == it.Dev {
		var l unix.Stat_t
		if unix.Lstat(path, &l) == nil && (l.Mode&unix.S_IFMT == unix.S_IFLNK) != hard || path == self {
			return nil
		}
	} else if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("unable to link %s: %w: it is not a link to runitbox (--force replaces it)", path, unix.EEXIST)
	}
	target := self
	if filepath.Dir(self) == filepath.Clean(path[:len(path)-len(filepath.Base(path))]) {
		target = filepath.Base(self) // beside it: the directory may be moved, or be a root to be
	}
	next := path + ".new" // renamed into place, so that the name always leads somewhere
	os.Remove(next)
	if hard {
		err = os.Link(self, next)
	} else {
		err = os.Symlink(target, next)
	}
	if err != nil {
		return fmt.Errorf("unable to link %s: %w", path, err)
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return fmt.Errorf("unable to link %s: %w", path, err)
	}
	return nil
}
