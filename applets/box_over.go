package applets

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/fmt"
)

// places are where distributions have runit's programs.
var places = []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin", "/lib/runit", "/usr/lib/runit"}

// ofRunit are the names that are a program of runit's wherever they are found.
var ofRunit = []string{"chpst", "runit", "runit-init", "runsv", "runsvchdir", "runsvdir", "sv", "svlogd", "utmpset"}

// aside is what the name of a program ends with that was moved out of the way: what
// Debian calls it too.
const aside = ".distrib"

// What the package managers know of us.
const (
	dpkgDivert     = "/usr/bin/dpkg-divert"
	dpkgDiversions = "/var/lib/dpkg/diversions"
	xbpsConf       = "/etc/xbps.d/runitbox.conf"
	packageName    = "runitbox"
)

// program is a program of runit's, by all the names that places give it: where /sbin is
// a link to /usr/sbin a package may know it by either.
type program []string

// runitPrograms finds the names in places, one after the other, whether they are runit's
// or replaced. Without init, those that every init has count only in runit's own directories.
func runitPrograms(names []string, init bool) []program {
	var all []program
	dirs := map[string][]string{} // by the real directory
	var order []string
	for _, dir := range places {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if dirs[real] == nil {
			order = append(order, real)
		}
		dirs[real] = append(dirs[real], dir)
	}
	for _, real := range order {
		for _, name := range names {
			if ofInit(name) && !init && filepath.Base(real) != "runit" {
				continue
			}
			if name == "init" && filepath.Base(real) == "runit" {
				continue
			}
			var p program
			for _, dir := range dirs[real] {
				p = append(p, filepath.Join(dir, name))
			}
			all = append(all, p)
		}
	}
	return all
}

// bootsRunit says whether the machine's init is runit's, or this executable.
func bootsRunit(self string) bool {
	for _, dir := range places {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "init"))
		if name := filepath.Base(real); err == nil && (name == "runit-init" || name == "runit" || same(real, self)) {
			return true
		}
	}
	return false
}

// over puts links to self in the place of runit's programs, which it keeps beside them,
// and has the package manager leave the links alone. Where it cannot go on, all is as
// it was before.
func over(out io.Writer, self string, noInit bool) (err error) {
	names := slices.Clone(ofRunit)
	if !noInit {
		names = append(names, "init", "halt", "poweroff", "reboot", "shutdown")
	}
	var undo []func()
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			undo[i]()
		}
	}()
	had, err := diversions()
	if err != nil {
		return err
	}
	var taken []program
	found := false
	for _, p := range runitPrograms(names, bootsRunit(self)) {
		if _, err := os.Lstat(p[0]); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		found = true
		for _, path := range p {
			if had == nil || slices.Contains(had, path) {
				continue
			}
			if err := divert("--divert", path+aside, "--add", path); err != nil {
				return err
			}
			undo = append(undo, func() { divert("--remove", path) })
		}
		taken = append(taken, p)
	}
	if !found {
		return fmt.Errorf("unable to find programs of runit's in %s", strings.Join(places, ", "))
	}
	before, readErr := os.ReadFile(xbpsConf)
	undo = append(undo, func() {
		if os.Remove(xbpsConf); readErr == nil {
			os.WriteFile(xbpsConf, before, 0o644)
		}
	})
	if err := tellXbps(taken); err != nil {
		return err
	}
	for _, p := range taken {
		path := p[0]
		if linkToBox(path, self) {
			fmt.Fprintf(out, "kept %s\n", path)
			continue
		}
		if err := keepAside(path); err != nil {
			return fmt.Errorf("unable to keep %s: %w", path, cause(err))
		}
		undo = append(undo, func() { os.Rename(path+aside, path) })
		if err := link(self, path, false); err != nil {
			return fmt.Errorf("unable to link %s: %w", path, err)
		}
		fmt.Fprintf(out, "linked %s, runit's is %s%s\n", path, path, aside)
	}
	if had == nil && !fileExists(xbpsConf) {
		fmt.Fprintln(out, "warning: an update of runit's package may replace the links: its manager is neither dpkg nor xbps")
	}
	return nil
}

// takeBack undoes what over has done: what was kept aside is in its place again, and the
// package manager knows nothing of us any more.
func takeBack(out io.Writer, self string) error {
	had, err := diversions()
	if err != nil {
		return err
	}
	names := append(slices.Clone(ofRunit), "init", "halt", "poweroff", "reboot", "shutdown")
	for _, p := range runitPrograms(names, true) {
		path := p[0]
		diverted := slices.ContainsFunc(p, func(path string) bool { return slices.Contains(had, path) })
		kept := fileExists(path + aside)
		switch _, err := os.Lstat(path); {
		case !diverted && (!kept || !linkToBox(path, self)):
			continue // never taken
		case err == nil && !linkToBox(path, self):
			fmt.Fprintf(out, "left %s: it is no link to runitbox\n", path)
			continue
		case err == nil && !kept && filepath.Base(path) == "init":
			fmt.Fprintf(out, "left %s: there is no other to boot with\n", path)
			continue
		case kept:
			if err := os.Rename(path+aside, path); err != nil {
				return fmt.Errorf("unable to restore %s: %w", path, cause(err))
			}
			fmt.Fprintf(out, "restored %s\n", path)
		case err == nil:
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("unable to remove %s: %w", path, cause(err))
			}
			fmt.Fprintf(out, "removed %s\n", path)
		}
		for _, path := range p {
			if slices.Contains(had, path) {
				if err := divert("--remove", path); err != nil {
					return err
				}
			}
		}
	}
	if err := os.Remove(xbpsConf); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unable to remove %s: %w", xbpsConf, cause(err))
	}
	return nil
}

// keepAside gives what is at path a second name, so that path leads to a program at
// every moment.
func keepAside(path string) error {
	next := fmt.Sprintf("%s%s.%d", path, aside, os.Getpid())
	if err := os.Link(path, next); err != nil {
		return err
	}
	if err := os.Rename(next, path+aside); err != nil {
		os.Remove(next)
		return err
	}
	os.Remove(next) // rename(2) leaves it where both were one file
	return nil
}

// linkToBox says whether path itself is a link to runitbox, not to another link.
func linkToBox(path, self string) bool {
	target, err := os.Readlink(path)
	if err != nil {
		return same(path, self)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	return filepath.Base(target) == "runitbox" || target == self
}

// fileExists says whether there is something at path.
func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// diversions are the paths of which dpkg knows that they are ours; nil without dpkg.
// The file has three lines for each: the path, where it goes, and whose it is.
func diversions() ([]string, error) {
	if !fileExists(dpkgDivert) {
		return nil, nil
	}
	text, err := os.ReadFile(dpkgDiversions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := []string{}
	lines := strings.Split(string(text), "\n")
	for ; len(lines) >= 3; lines = lines[3:] {
		if lines[2] == packageName {
			all = append(all, lines[0])
		}
	}
	return all, nil
}

// divert has dpkg note, or forget, that packages write somewhere else than to a path.
// It does not touch the files.
func divert(args ...string) error {
	argv := append([]string{dpkgDivert, "--quiet", "--package", packageName, "--no-rename"}, args...)
	p, err := os.StartProcess(dpkgDivert, argv, &os.ProcAttr{Files: []*os.File{nil, os.Stderr, os.Stderr}})
	if err != nil {
		return err
	}
	if state, err := p.Wait(); err != nil {
		return err
	} else if !state.Success() {
		return fmt.Errorf("unable to divert %s: dpkg-divert: %v", args[len(args)-1], state)
	}
	return nil
}

// tellXbps has Void's package manager not extract what would replace a link.
func tellXbps(taken []program) error {
	if info, err := os.Stat("/var/db/xbps"); err != nil || !info.IsDir() {
		return nil
	}
	var text strings.Builder
	for _, p := range taken {
		for _, path := range p {
			fmt.Fprintf(&text, "noextract=%s\n", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(xbpsConf), 0o755); err != nil {
		return err
	}
	return os.WriteFile(xbpsConf, []byte(text.String()), 0o644)
}

// newUninstall takes back what install has done.
func newUninstall() *cobra.Command {
	const line = "runitbox uninstall [dir ...]"
	cmd := &cobra.Command{
		Use:   "uninstall [dir ...]",
		Short: "restore runit's programs, remove the links in dir",
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") {
				return misuse{"", line, 100}
			}
			self, err := self()
			if err != nil {
				return fatal{"runitbox", 111, fmt.Errorf("unable to find the executable: %w", err)}
			}
			if err := takeBack(cmd.OutOrStdout(), self); err != nil {
				return fatal{"runitbox", 111, err}
			}
			for _, dir := range args {
				for _, name := range names() {
					path := filepath.Join(dir, name)
					if !fileExists(path) || !linkToBox(path, self) || filepath.Clean(path) == self {
						continue
					}
					if err := os.Remove(path); err != nil {
						return fatal{"runitbox", 111, fmt.Errorf("unable to remove %s: %w", path, cause(err))}
					}
					fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", path)
				}
			}
			return nil
		},
	}
	getoptErrors(cmd, "runitbox", line, 100)
	return cmd
}
