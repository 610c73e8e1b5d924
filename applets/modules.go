package applets

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/sys"
)

// moduleDirs hold files of the kernel modules that are to be loaded. A file
// hides those of the same name in the directories behind its own.
var moduleDirs = [...]string{"/etc/modules-load.d", "/run/modules-load.d", "/usr/lib/modules-load.d"}

// newModulesLoad loads kernel modules when the machine starts: it becomes
// modprobe, if there are any.
func newModulesLoad(argv0 string) *cobra.Command {
	var dry, verbose bool
	line := filepath.Base(argv0) + " [-nv]"
	cmd := &cobra.Command{
		Use:   line,
		Short: "load the kernel modules that modules-load.d and the kernel's command line name",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse{line: line, status: 1}
			}
			cmdline, err := os.ReadFile("/proc/cmdline")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fatal{"modules-load", 111, fmt.Errorf("unable to %w", err)}
			}
			names, err := modules(string(cmdline), moduleDirs[:])
			if err != nil {
				return fatal{"modules-load", 111, fmt.Errorf("unable to %w", err)}
			}
			if len(names) == 0 {
				return nil
			}
			argv := []string{"modprobe", "-ab"}
			if dry {
				argv = append(argv, "-n")
			}
			if verbose {
				argv = append(argv, "-v")
			}
			return fatal{"modules-load", 111, fmt.Errorf("unable to run modprobe: %w", runProgram(append(argv, names...)))}
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "load nothing (modprobe -n)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell what is loaded (modprobe -v)")
	cmd.Flags().Bool("help", false, "print this help")
	getoptErrors(cmd, argv0, line, 1)
	return cmd
}

// modules are the names of modules on the kernel's command line and in the
// files of dirs, each once, the files by name.
func modules(cmdline string, dirs []string) ([]string, error) {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for word := range strings.FieldsSeq(cmdline) {
		key, list, _ := strings.Cut(word, "=")
		key = strings.TrimPrefix(strings.ReplaceAll(key, "_", "-"), "rd.") // the kernel makes no difference
		if key != "modules-load" {
			continue
		}
		for name := range strings.SplitSeq(strings.Trim(list, `"`), ",") {
			if name != "" {
				add(name)
			}
		}
	}
	files := map[string]string{} // by their names
	for _, dir := range slices.Backward(dirs) {
		entries, err := sys.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				files[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	order := make([]string, 0, len(files))
	for name := range files {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, file := range order {
		text, err := os.ReadFile(files[file])
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // else a link that leads nowhere
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' || line[0] == ';' {
				continue
			}
			for name := range strings.FieldsSeq(line) {
				add(name)
			}
		}
	}
	return names, nil
}

// runProgram makes this process the program argv, found in PATH or where
// administrators' programs are. It returns why that cannot be.
func runProgram(argv []string) error {
	path := os.Getenv("PATH")
	for _, dir := range append(filepath.SplitList(path), "/usr/sbin", "/sbin", "/usr/bin", "/bin") {
		file := filepath.Join(dir, argv[0])
		if unix.Access(file, unix.X_OK) != nil {
			continue
		}
		if err := syscall.Exec(file, argv, os.Environ()); !errors.Is(err, unix.EACCES) { // it may be a directory
			return err
		}
	}
	return unix.ENOENT
}
