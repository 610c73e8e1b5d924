package applets

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/loaders"
	"runitbox/applets/slim/fmt"
)

// box is runitbox called by its own name: an applet as the first argument, or
// what concerns the suite as a whole.
func box(argv []string) error {
	if len(argv) > 1 && known(argv[1]) {
		switch argv[1] {
		case "runsvdir", "runsv", "svlogd": // pidof looks for them by argv[0]
			if self, err := self(); err == nil {
				syscall.Exec(self, argv[1:], os.Environ())
			}
		}
		return call(argv[1], argv[1:])
	}
	root := newBox()
	root.SetOut(os.Stdout)
	return execute(root, argv[1:])
}

// newBox is the command runitbox, with all that it can be called as.
func newBox() *cobra.Command {
	root := &cobra.Command{
		Use:     "runitbox applet [arg ...]",
		Short:   "all of runit in one executable",
		Version: version,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fatal{"runitbox", 127, fmt.Errorf("%s: applet not found", args[0])}
			}
			return showHelp(cmd)
		},
	}
	getoptErrors(root, "runitbox", "runitbox [--help | --version | applet [arg ...]]", 100)
	root.Flags().SetInterspersed(false) // what follows an unknown applet is not ours
	for _, c := range commands {
		root.AddCommand(rename(c.build(c.name), c.name)) // cobra sorts them
	}
	for _, l := range loaders.All {
		root.AddCommand(&cobra.Command{Use: l.Name, Short: l.Short, Run: func(*cobra.Command, []string) {}})
	}
	root.AddCommand(newInstall(), newUninstall(), newSetupCommand(), newProbe(), newCompletion(), newComplete(), newHelp())
	return root
}

// rename makes cmd appear under its applet's name, whatever its usage line is.
func rename(cmd *cobra.Command, name string) *cobra.Command {
	cmd.Use = name
	return cmd
}

// names lists the applets in order.
func names() []string {
	var all []string
	for _, c := range commands {
		all = append(all, c.name)
	}
	for _, l := range loaders.All {
		all = append(all, l.Name)
	}
	slices.Sort(all)
	return all
}

// newInstall makes the links by which the applets are called.
func newInstall() *cobra.Command {
	const use = "install [--hard] [--force] [--no-init] [--restart] dir|--over-runit"
	const line = "runitbox " + use
	var hard, force, noInit, again, overRunit bool
	cmd := &cobra.Command{
		Use:   use,
		Short: "link every applet's name to this executable",
		Args: func(_ *cobra.Command, args []string) error {
			if overRunit && len(args) == 0 {
				return nil
			}
			if overRunit || len(args) != 1 || args[0] == "" { // an unset variable is not this directory
				return misuse{"", line, 100}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := self()
			if err != nil {
				return fatal{"runitbox", 111, fmt.Errorf("unable to find the executable: %w", err)}
			}
			names := names()
			if noInit {
				names = slices.DeleteFunc(names, ofInit)
			}
			dir := filepath.Dir(self)
			if overRunit {
				err = over(cmd.OutOrStdout(), self, noInit)
			} else {
				dir = args[0]
				err = install(self, dir, names, hard, force)
			}
			if err != nil {
				return fatal{"runitbox", 111, err}
			}
			if again {
				if err := restart(self, dir, names); err != nil {
					return fatal{"runitbox", 111, fmt.Errorf("unable to find what runs: %w", err)}
				}
			}
			return nil
		},
	}
	getoptErrors(cmd, "runitbox", line, 100)
	cmd.Flags().BoolVar(&hard, "hard", false, "make hard links")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that are not such links")
	cmd.Flags().BoolVar(&again, "restart", false, "have process 1 and runsvdir become this executable")
	cmd.Flags().BoolVar(&overRunit, "over-runit", false, "in the place of runit's programs, which are kept aside")
	cmd.Flags().BoolVar(&noInit, "no-init", false, "leave out init, halt, poweroff, reboot and shutdown")
	return cmd
}

// restart has process 1 and every runsvdir become self, where they run a file
// that was at its path before, or at that of a hard link to it in dir.
func restart(self, dir string, names []string) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	processes, err := proc.Readdirnames(-1)
	if err == nil && !slices.Contains(processes, "self") {
		err = unix.ENOENT
	}
	if err != nil {
		return err
	}
	for _, number := range processes {
		pid, err := strconv.Atoi(number)
		process := "/proc/" + number
		comm, _ := os.ReadFile(process + "/comm")
		name := strings.TrimSpace(string(comm))
		if err != nil || name != "runsvdir" && (name != "runit" || pid != 1) || same(process+"/exe", self) {
			continue
		}
		exe, _ := os.Readlink(process + "/exe")
		exe = strings.TrimSuffix(exe, " (deleted)")
		if exe == self || same(filepath.Dir(exe), dir) && slices.Contains(names, filepath.Base(exe)) {
			unix.Kill(pid, unix.SIGUSR2) // it may have ended
		}
	}
	return nil
}

// ofInit says whether name is one that every init has, so that where the
// machine has another its own are meant.
func ofInit(name string) bool {
	return slices.Contains([]string{"init", "halt", "poweroff", "reboot", "shutdown"}, name)
}

// install links the applets' names in dir to self. A name that is such a link
// already stays. One that is something else stays too, unless force is set,
// and then nothing is linked at all: half a suite would be a surprise.
func install(self, dir string, names []string, hard, force bool) error {
	var foreign []string
	advice := "--force replaces it"
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil && !same(path, self) {
			foreign = append(foreign, path)
			if ofInit(name) {
				advice = "--force replaces it, --no-init leaves out what is the machine's own init's"
			}
		}
	}
	if len(foreign) > 0 && !force {
		return fmt.Errorf("unable to link %s: not a link to runitbox (%s)", strings.Join(foreign, ", "), advice)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if at, err := os.Lstat(path); err == nil && same(path, self) && (at.Mode()&os.ModeSymlink == 0) == hard {
			continue
		}
		if err := link(self, path, hard); err != nil {
			return fmt.Errorf("unable to link %s: %w", path, err)
		}
	}
	return nil
}

// link makes path a link to self, by a name that is renamed into place, so
// that path leads to a program at every moment.
func link(self, path string, hard bool) error {
	dir, name := filepath.Split(path)
	next := filepath.Join(dir, fmt.Sprintf(".%s.%d", name, os.Getpid()))
	target := self
	if same(filepath.Clean(dir), filepath.Dir(self)) {
		target = filepath.Base(self) // beside it: the directory may be moved, or be part of a root to be
	}
	make := os.Symlink
	if hard {
		target, make = self, os.Link
	}
	if err := make(target, next); err != nil {
		return cause(err)
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return cause(err)
	}
	os.Remove(next) // rename(2) leaves it where both were links to one file
	return nil
}

// same says whether a and b lead to one file.
func same(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Ino == y.Ino && x.Dev == y.Dev
}

// cause takes the names off an error: they are temporary, or told already.
func cause(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		return p.Err
	}
	if l, ok := err.(*os.LinkError); ok {
		return l.Err
	}
	return err
}
