package survey

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/proc"
	"runitbox/supervise/sys"
)

// LogDirs are the directories into which the log service of a service writes, found by
// what its process has open, then by its command line, and where nobody runs, or rights
// do not allow to look, by its run script and by where logs are by custom. Of what a process
// has open that others share, it is what the script, custom or its name tell to be its own.
func LogDirs(s *Service) []string {
	if s.Log == nil {
		return nil
	}
	home := s.Log.Path
	shared := s.Log.Number > 0 || s.Log.Unsure
	var open, dirs []string
	if s.Log.Err == nil && s.Log.Record.PID != 0 {
		pid := s.Log.Record.PID
		for _, p := range append([]int{pid}, children(pid, 2)...) {
			open = append(open, openLogs(p)...)
		}
		switch {
		case shared:
		case len(open) > 0:
			dirs = open
		default:
			dirs = named(proc.Arguments(pid), []string{proc.Path(pid, "cwd"), home})
		}
	}
	own := func(some []string) []string { // where it is known what may be
		if !shared || len(open) == 0 {
			return some
		}
		return slices.DeleteFunc(some, func(dir string) bool {
			real, err := filepath.EvalSymlinks(dir)
			return err != nil || !slices.Contains(open, real)
		})
	}
	script := func() []string { return named(scriptWords(home+"/run"), []string{home}) }
	base := filepath.Base(s.Path)
	if real, err := filepath.EvalSymlinks(s.Path); err == nil {
		base = filepath.Base(real)
	}
	custom := func() []string {
		return named([]string{"main", ".", "/var/log/" + base, "/var/log/sv/" + base, "/var/log/runit/" + base}, []string{home})
	}
	byName := func() []string {
		return slices.DeleteFunc(slices.Clone(open), func(dir string) bool { return !strings.Contains(dir+"/", "/"+base+"/") })
	}
	for _, find := range []func() []string{
		func() []string { return own(script()) },
		func() []string { return own(custom()) },
		byName,
		script, // it may have ended a moment ago, while others go on in its process
		custom,
	} {
		if len(dirs) == 0 {
			dirs = find()
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// openLogs are the directories of logs that a process writes: where it has current open.
func openLogs(pid int) (dirs []string) {
	d, err := os.Open(proc.Path(pid, "fd"))
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		target, err := os.Readlink(d.Name() + "/" + name)
		if dir, ok := strings.CutSuffix(target, "/current"); err == nil && ok && isLogDir(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// named are those of the words that name a directory of logs.
func named(words, from []string) (dirs []string) {
	for _, word := range words {
		if word == "" || word[0] == '-' {
			continue
		}
		if filepath.IsAbs(word) {
			if isLogDir(word) {
				dirs = append(dirs, filepath.Clean(word))
			}
			continue
		}
		for _, base := range from {
			if path := base + "/" + word; isLogDir(path) {
				if real, err := filepath.EvalSymlinks(path); err == nil {
					path = real
				}
				dirs = append(dirs, path)
				break
			}
		}
	}
	return dirs
}

// isLogDir says whether a logger has written there.
func isLogDir(dir string) bool {
	var st unix.Stat_t
	return unix.Stat(dir+"/current", &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// scriptWords are the words of a script, without quotes.
func scriptWords(path string) []string {
	text, err := sys.Slurp(unix.AT_FDCWD, path, 16<<10)
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\n;\"'&|()", r) })
}
