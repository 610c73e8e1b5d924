package applets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/setup"
	"runitbox/fmt"
)

// newSetupUser writes what a tree of one user's needs: his own files or, with names, a
// service of the system's for each.
func newSetupUser() *cobra.Command {
	const use = "user [--dry-run] [--force] [--login] [--session] [--systemd] [--x] | [--root DIR] [--x] name ..."
	starts := map[string]*bool{"login": new(bool), "session": new(bool), "systemd": new(bool), "x": new(bool)}
	cmd := setupKind(use, "a tree of services of one user's: the caller's own, or of those named",
		func(cmd *cobra.Command, o *setupOptions, args []string) error {
			var options []string
			for _, name := range []string{"login", "session", "systemd", "x"} {
				if *starts[name] {
					options = append(options, name)
				}
			}
			switch {
			case o.list:
				fmt.Fprint(cmd.OutOrStdout(), userList)
				return nil
			case len(args) > 0 && (len(options) > 1 || len(options) == 1 && !*starts["x"]), len(args) == 0 && o.root != "/":
				return misuse{"", "runitbox setup " + use, 100}
			case len(args) == 0:
				return setupOwn(cmd, o, options)
			}
			var files []setup.File
			for _, name := range args {
				if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" || name[0] == '-' || name[0] == '.' {
					return fmt.Errorf("%s: no name of a user", name)
				}
				files = append(files, setup.ForUser(name, *starts["x"])...)
			}
			return write(cmd.OutOrStdout(), o.root, setup.ServiceDir, files, o.dry, o.force)
		})
	f := cmd.Flags()
	f.BoolVar(starts["login"], "login", false, "start it at a login, by ~/.profile")
	f.BoolVar(starts["session"], "session", false, "start it with a desktop's session")
	f.BoolVar(starts["systemd"], "systemd", false, "have systemd's manager of the user start it")
	f.BoolVar(starts["x"], "x", false, "~/.xinitrc; with names, a service that is the user's X session")
	return cmd
}

// userList is what --list tells.
const userList = `(nothing)       ~/.config/runitbox/tree, which starts the services in ~/.config/service
--login         a line of ~/.profile that calls it
--session       an entry of the desktop's autostart that calls it
--systemd       a unit of the user's manager that calls it
--x             ~/.xinitrc, which calls it and a window manager
NAME            /etc/sv/user-NAME: that user's tree as a service of the system's
--x NAME        /etc/sv/x-NAME: that user's X session as a service of the system's
`

// setupOwn writes the caller's own files.
func setupOwn(cmd *cobra.Command, o *setupOptions, options []string) error {
	home, err := filepath.EvalSymlinks(os.Getenv("HOME"))
	if err != nil || !filepath.IsAbs(home) {
		return errors.New("unable to find the home directory: HOME must name it")
	}
	var at unix.Stat_t // sudo may leave HOME as it was, and root's files there would help nobody
	if err := unix.Stat(home, &at); err != nil || int(at.Uid) != os.Geteuid() {
		return fmt.Errorf("HOME: %s is another user's", home)
	}
	config, err := xdg("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	if err != nil {
		return err
	}
	below, err := filepath.Rel(home, config)
	if err != nil || !filepath.IsLocal(below) {
		return fmt.Errorf("XDG_CONFIG_HOME: %s is not below %s", config, home)
	}
	state, err := xdg("XDG_STATE_HOME", filepath.Join(home, ".local/state"))
	if err != nil {
		return err
	}
	self, err := self()
	if err != nil {
		return fmt.Errorf("unable to find the executable: %w", err)
	}
	for _, path := range []string{home, config, state, self} {
		if strings.ContainsAny(path, "'\"\\$`%\n") {
			return fmt.Errorf("%s: no path that a script takes as it stands", path)
		}
	}
	whole, lines := setup.Own(setup.Home{Dir: home, Config: below, State: state, Runitbox: self}, options...)
	target, err := setup.Open(home, "")
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", home, err)
	}
	defer target.Close()
	steps, err := target.Plan(whole)
	if err != nil {
		return err
	}
	for _, line := range lines {
		more, err := target.PlanLine(line)
		if err != nil {
			return err
		}
		steps = append(steps, more...)
	}
	return carryOut(cmd.OutOrStdout(), target, home, steps, o.dry, o.force)
}

// xdg is the directory that a variable names, or the usual one. A link on the way is
// followed, as far as it exists.
func xdg(variable, usual string) (string, error) {
	dir := os.Getenv(variable)
	if dir == "" {
		dir = usual
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s: %s is no absolute path", variable, dir)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real, nil
	}
	return filepath.Clean(dir), nil
}
